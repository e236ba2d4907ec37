"""Steps of the user's optimizer on a copy of the problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.state import model_restored


class Training:
    """`optimizer` knows the parameters of the copy, whose loss is `loss`. `lent` are modules of the user's own that the loss runs through.

    It draws its random numbers where it stopped the last time; outside of a step the generators are as they were.
    """

    def __init__(
        self, optimizer: Any, loss: Callable[[], torch.Tensor], random: Randomness, lent: Sequence[Any], *, factor: float, decayed: bool
    ) -> None:
        self._optimizer, self._loss, self._random, self._lent = optimizer, loss, random, lent
        self._states: list[Any] = []
        for group in optimizer.param_groups:
            if "lr" in group:
                group["lr"] = group.get("initial_lr", group["lr"]) * factor  # a schedule may begin with a rate of 0
            if "weight_decay" in group and not decayed:
                group["weight_decay"] = 0.0
        self._own = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad]

    def steps(self, count: int) -> None:
        with self._random.fixed(), torch.enable_grad(), model_restored(*self._lent):
            if self._states:
                self._random.put(self._states)
            for _ in range(count):
                self._optimizer.step(self._closure)
            self._states = self._random.states()
        for parameter in self._own:
            parameter.grad = None

    def _closure(self) -> torch.Tensor:
        value = self._loss()
        if not value.requires_grad:
            return value
        # Not by backward(), which would write to parameters outside the copy too.
        for parameter, part in zip(self._own, torch.autograd.grad(value, self._own, allow_unused=True), strict=True):
            parameter.grad = part
        return value.detach()
