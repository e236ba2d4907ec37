"""For Keras 3: the first step of training on torch, a batch before training on JAX."""

from __future__ import annotations

from typing import Any

import keras

from wellposed.backends.protocol import Problem
from wellposed.errors import InputError
from wellposed.loops.callback import Reporting


class KerasCheckup(Reporting, keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """model.fit(..., callbacks=[KerasCheckup()]): the loss of the first step, on torch.

    Keras compiles a step for JAX before anybody can look at it. There the check-up runs before training, on a batch
    that is given, KerasCheckup(x[:64], y[:64]), with the loss that the model was compiled with: inputs, gradients, and
    what a JAX program shows of its layers. Raises `InputError` without that batch, and on TensorFlow's backend. `fail`,
    `show` and `options` as for `Reporting`; `report` has the result.
    """

    def __init__(self, x: Any = None, y: Any = None, *, fail: bool = False, show: bool = True, **options: Any) -> None:
        super().__init__(fail=fail, show=show, **options)
        if keras.backend.backend() not in ("torch", "jax"):
            raise InputError(
                f"KerasCheckup works with the torch and jax backends, and this is {keras.backend.backend()}",
                hint="set KERAS_BACKEND=torch before keras is imported",
            )
        if keras.backend.backend() == "jax" and (x is None or y is None):
            raise InputError(
                "on JAX, KerasCheckup takes a batch, as Keras compiles its steps", hint="KerasCheckup(x[:64], y[:64])"
            )
        self._batch = x, y

    def on_train_begin(self, logs: Any = None) -> None:
        if keras.backend.backend() == "torch":
            self._begin(during="fit")
        else:
            self._check(lambda: _problem(self.model, *self._batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._stepped()

    def on_train_end(self, logs: Any = None) -> None:
        self._end()


def _problem(model: Any, x: Any, y: Any) -> Problem:
    from wellposed.backends.jax import JaxProblem

    inputs, targets = (keras.tree.map_structure(keras.ops.convert_to_tensor, part) for part in (x, y))
    if not model.built:
        model(inputs)
    others = [variable.value for variable in model.non_trainable_variables]

    def loss(parameters: dict[str, Any], inputs: Any, targets: Any) -> Any:
        trained = [
            parameters[variable.path] for variable in model.trainable_variables
        ]  # JAX sorts dictionaries by their keys
        outputs, _ = model.stateless_call(trained, others, inputs, training=True)
        return model.compute_loss(y=targets, y_pred=outputs)

    return JaxProblem(loss, {variable.path: variable.value for variable in model.trainable_variables}, inputs, targets)
