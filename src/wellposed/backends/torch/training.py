"""Steps of the user's optimizer, taken where the parameters are, and undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wellposed.backends.interrupts import interruptible
from wellposed.backends.snapshot import Snapshot
from wellposed.backends.torch.backup import Backup, backed_up
from wellposed.backends.torch.backward import gradients_of
from wellposed.backends.torch.groups import groups_of
from wellposed.backends.torch.shards import in_shards, own_part
from wellposed.backends.torch.state import parameters_at


def trained_by(optimizer: Any) -> list[torch.Tensor]:
    """The parameters that the optimizer knows and that carry a gradient."""
    groups = groups_of(optimizer)
    return [parameter for group in groups for parameter in group["params"] if parameter.requires_grad]


def _laid_out_as(parameter: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """As `backward` would leave it in `grad`: in the parameter's own order in memory."""
    if part.layout is not torch.strided or part.stride() == parameter.stride():
        return part
    return torch.empty_like(parameter).copy_(part)


class Training:
    """`optimizer` takes its steps on `loss`, with `factor` times the learning rate that it begins with.

    Where weight decay is to be left out, `decayed` is False. `passed_on` is what is done to the gradients, which the
    parameters have, before each step.
    """

    def __init__(
        self,
        optimizer: Any,
        loss: Callable[[], torch.Tensor],
        *,
        factor: float,
        decayed: bool,
        passed_on: Callable[[list[torch.Tensor]], None] | None = None,
    ) -> None:
        self._optimizer, self._loss, self._factor, self._decayed = optimizer, loss, factor, decayed
        self._passed_on = passed_on
        self._own = trained_by(optimizer)

    @contextmanager
    def taken(self, count: int, parameters: list[torch.Tensor]) -> Iterator[None]:
        """Within it that many steps were taken. The user's own memory of the parameters is never written to; what the
        optimizer keeps, and what its groups say, is as before afterwards."""
        lent = list({id(p): p for p in [*parameters, *self._own]}.values())
        known = {id(p) for p in lent}
        held = Snapshot(self._optimizer)
        kept = [own_part(t) for t in held.things if isinstance(t, torch.Tensor) and id(t) not in known]
        state = Backup(filter(backed_up, kept))
        # What lies in shards is kept and put back by the rank that has it.
        with parameters_at([(p, p.detach() if in_shards(p) else p.detach().clone()) for p in lent]):
            try:
                self._prepare()
                for _ in range(count):
                    self._optimizer.step(self._closure)
                yield
            finally:
                held.restore()
                state.restore(all_of_them=True)

    def _prepare(self) -> None:
        for group in self._optimizer.param_groups:
            if "lr" in group:
                group["lr"] = (
                    group.get("initial_lr", group["lr"]) * self._factor
                )  # a schedule may begin with a rate of 0
            if "weight_decay" in group and not self._decayed:
                group["weight_decay"] = 0.0

    def _closure(self) -> torch.Tensor:
        for parameter in self._own:  # before there are others: they are as large as the model
            parameter.grad = None
        with torch.enable_grad():
            value = self._loss()
            if not value.requires_grad or not self._own:
                return value
            with (
                interruptible()
            ):  # not by backward(), which would write to parameters that this optimizer does not know
                parts = gradients_of(value, self._own)
        for parameter, part in zip(self._own, parts, strict=True):
            parameter.grad = None if part is None else _laid_out_as(parameter, part)
        if self._passed_on is not None:
            self._passed_on(self._own)
        return value.detach()
