"""For PyTorch Lightning: the check-up on the first batch of training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wellposed.backends.torch import TorchProblem
from wellposed.errors import InputError
from wellposed.loops.once import Once

if "lightning" in sys.modules and "pytorch_lightning" not in sys.modules:
    from lightning.pytorch import Callback
else:
    try:
        from pytorch_lightning import Callback
    except ModuleNotFoundError:
        from lightning.pytorch import Callback


class LightningCheckup(Callback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[LightningCheckup()]): the check-up of `training_step` on the first batch, before the first step.

    What `training_step` logs during it is thrown away, and every weight, buffer and random generator is put back. `fail`, `show` and
    `options` as for `Once`; `report` has the result.
    """

    def __init__(self, *, fail: bool = False, show: bool = True, **options: Any) -> None:
        self._once = Once(fail=fail, show=show, **options)

    @property
    def report(self) -> Any:
        return self._once.report

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._once.done:
            return
        self._once.show &= trainer.is_global_zero
        with _alone(trainer, pl_module):
            self._once(lambda: _problem(trainer, pl_module, batch, batch_idx))


def _problem(trainer: Any, module: Any, batch: Any, index: int) -> TorchProblem:
    def loss(model: Any) -> Any:
        found = model.training_step(batch, index)
        found = found.get("loss") if isinstance(found, dict) else found
        if found is None:
            raise InputError("training_step returned no loss", hint="manual optimisation is not checked: build a wp.TorchProblem yourself")
        return found

    return TorchProblem(module, loss, batch, optimizer=trainer.optimizers[0] if len(trainer.optimizers) == 1 else None)


@contextmanager
def _alone(trainer: Any, module: Any) -> Iterator[None]:
    """Within, nothing is logged, and a copy of the module has the same trainer, not a copy of it."""
    module.log = module.log_dict = lambda *_args, **_kwargs: None
    trainer.__deepcopy__ = lambda _memo: trainer
    try:
        yield
    finally:
        del module.log, module.log_dict, trainer.__deepcopy__
