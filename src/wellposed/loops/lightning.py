"""For PyTorch Lightning: the first steps of training, as the Trainer takes them."""

from __future__ import annotations

import sys
from typing import Any

from wellposed.loops.callback import Reporting

if "lightning" in sys.modules and "pytorch_lightning" not in sys.modules:
    from lightning.pytorch import Callback
else:
    try:
        from pytorch_lightning import Callback
    except ModuleNotFoundError:
        from lightning.pytorch import Callback


class LightningCheckup(Reporting, Callback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[LightningCheckup()]): the losses of the first step and what is done with their gradients,
    precision, clipping and accumulation as the Trainer does them, also in modules that optimise by hand.

    What the module logs and counts is what it would be without. `fail`, `show` and `options` as for `Reporting`;
    `report` has the result.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin(first=trainer.is_global_zero)

    def on_train_batch_end(self, *_arguments: Any, **_named: Any) -> None:
        self._stepped()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._raised()
