"""For Keras 3 on torch or JAX: the check-up on a batch, before training."""

from __future__ import annotations

from typing import Any

import keras

from wellposed.backends.protocol import Problem
from wellposed.errors import InputError
from wellposed.loops.callback import Reporting


class KerasCheckup(Reporting, keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """model.fit(..., callbacks=[KerasCheckup(x[:64], y[:64])]): the check-up on that batch, before training begins.

    The loss is the one that the model was compiled with, on outputs of `model(x, training=True)`. With the torch
    backend everything is checked; with JAX inputs, gradients, and what a JAX program shows of its layers. Raises
    `InputError` on TensorFlow's backend. `fail`, `show` and `options` as for `Once`; `report` has the result.
    """

    def __init__(self, x: Any, y: Any, *, fail: bool = False, show: bool = True, **options: Any) -> None:
        super().__init__(fail=fail, show=show, **options)
        if keras.backend.backend() not in ("torch", "jax"):
            raise InputError(
                f"KerasCheckup works with the torch and jax backends, and this is {keras.backend.backend()}",
                hint="set KERAS_BACKEND=torch before keras is imported",
            )
        self._batch = x, y

    def on_train_begin(self, logs: Any = None) -> None:
        self._once(lambda: _problem(self.model, *self._batch))


def _problem(model: Any, x: Any, y: Any) -> Problem:
    inputs, targets = (keras.tree.map_structure(keras.ops.convert_to_tensor, part) for part in (x, y))
    if not model.built:
        model(inputs)
    if keras.backend.backend() == "torch":
        from wellposed.backends.torch import TorchProblem

        return TorchProblem(
            model, lambda outputs, wanted: model.compute_loss(y=wanted, y_pred=outputs), ((inputs,), targets)
        )
    from wellposed.backends.jax import JaxProblem

    others = [variable.value for variable in model.non_trainable_variables]

    def loss(parameters: dict[str, Any], inputs: Any, targets: Any) -> Any:
        trained = [
            parameters[variable.path] for variable in model.trainable_variables
        ]  # JAX sorts dictionaries by their keys
        outputs, _ = model.stateless_call(trained, others, inputs, training=True)
        return model.compute_loss(y=targets, y_pred=outputs)

    return JaxProblem(loss, {variable.path: variable.value for variable in model.trainable_variables}, inputs, targets)
