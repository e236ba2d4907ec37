"""For the Trainer of Hugging Face transformers: the first steps of training, as it takes them."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from wellposed.loops.callback import Reporting


class TrainerCheckup(Reporting, TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[TrainerCheckup()]): the losses of the first step on the batches that training gets, with
    accumulation, precision and clipping as the Trainer does them.

    `fail`, `show` and `options` as for `Reporting`; `report` has the result.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._begin(first=state.is_world_process_zero, during="_inner_training_loop")

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._stepped()

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._end()
