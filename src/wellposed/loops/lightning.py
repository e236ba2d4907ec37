"""For PyTorch Lightning: the check-up on the first batch of training."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch import TorchProblem
from wellposed.backends.torch.copies import copy_together
from wellposed.backends.torch.state import torch_generators
from wellposed.errors import InputError
from wellposed.loops.callback import Reporting

if "lightning" in sys.modules and "pytorch_lightning" not in sys.modules:
    from lightning.pytorch import Callback
else:
    try:
        from pytorch_lightning import Callback
    except ModuleNotFoundError:
        from lightning.pytorch import Callback


class LightningCheckup(Reporting, Callback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[LightningCheckup()]): the check-up of `training_step` on the first batch, before the first
    step.

    It is run on a copy of the module: what it logs, counts and keeps is thrown away. Modules that optimise by hand are
    not checked. `fail`, `show` and `options` as for `Once`; `report` has the result.
    """

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self._once.done:
            self._once.show &= trainer.is_global_zero
            self._once(lambda: _problem(trainer, pl_module, batch, batch_idx))


def _problem(trainer: Any, module: Any, batch: Any, index: int) -> TorchProblem:
    """Of a copy: `training_step` may keep metrics and counters."""
    if not module.automatic_optimization:
        raise InputError("the module optimises by hand", hint="build a wp.TorchProblem with the loss of your own")
    with Randomness(*torch_generators()).fixed():
        twin, _, optimizer = copy_together(
            module, None, trainer.optimizers[0] if len(trainer.optimizers) == 1 else None, shared=(trainer,)
        )
    named = len(inspect.signature(module.training_step).parameters) > 1

    def loss(model: Any) -> Any:
        model._trainer = trainer  # which a copy has left behind
        model.log = model.log_dict = _unheard
        found = model.training_step(batch, index) if named else model.training_step(batch)
        found = found.get("loss") if isinstance(found, dict) else found
        if found is None:
            raise InputError("training_step returned no loss", hint="build a wp.TorchProblem with the loss of your own")
        return found

    return TorchProblem(twin, loss, batch, optimizer=optimizer)


def _unheard(*_arguments: Any, **_named: Any) -> None:
    """In place of logging."""
