"""For the Trainer of Hugging Face transformers: the check-up on the first examples, before training."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch import TorchProblem
from wellposed.backends.torch.state import torch_generators
from wellposed.errors import InputError
from wellposed.loops.callback import Reporting


class TrainerCheckup(Reporting, TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Trainer(callbacks=[TrainerCheckup()]): the check-up on the first examples of the training set, collated as a
    batch is.

    The sampler is not asked, so that the order of training stays what it was. The loss is the model's own, as
    `model(**batch).loss`. `fail`, `show` and `options` as for `Once`; `report` has the result.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._once.show &= state.is_world_process_zero
        self._once(lambda: _problem(args, **given))


def _problem(
    args: Any, model: Any = None, optimizer: Any = None, train_dataloader: Any = None, **_others: Any
) -> TorchProblem:
    dataset = train_dataloader.dataset
    if not hasattr(dataset, "__len__"):
        raise InputError(
            "the training set is a stream, whose first examples training would miss",
            hint="build a wp.TorchProblem of a batch",
        )
    with Randomness(*torch_generators()).fixed():  # examples and collators may draw
        rows = [dataset[i] for i in range(min(args.per_device_train_batch_size, len(dataset)))]
        batch = {
            name: part.to(args.device) if hasattr(part, "to") else part
            for name, part in train_dataloader.collate_fn(rows).items()
        }
    targets = batch.get("labels", batch.get("label"))
    if targets is None:
        raise InputError(
            "the batch has no labels, so the model gives no loss",
            hint="build a wp.TorchProblem with the loss of your own",
        )
    return TorchProblem(
        model,
        lambda outputs, _targets: outputs.loss,
        (batch, targets),
        optimizer=getattr(optimizer, "optimizer", optimizer),
    )
