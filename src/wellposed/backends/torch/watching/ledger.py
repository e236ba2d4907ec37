"""Whose gradient is it? For every parameter, the backward passes that its gradient came from since it was cleared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch


@dataclass
class _Line:
    parameter: torch.Tensor
    from_: list[int] = field(default_factory=list)
    state: tuple[int, int] | None = None  # identity and version of the gradient as it was last seen
    zero: bool = False  # whether it is zero as it came


class Ledger:
    """Looked at before and after each backward pass and each step."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}

    def know(self, parameters: Iterable[torch.Tensor]) -> None:
        for parameter in parameters:
            if id(parameter) not in self._lines:
                self._lines[id(parameter)] = _Line(parameter, state=_state(parameter))

    def look(self) -> None:
        """What has been cleared since is let go of."""
        for line in self._lines.values():
            state = _state(line.parameter)
            cleared = bool(line.from_) and not line.zero and _is_zero(line.parameter)  # `.data` leaves no new version
            if state is None or cleared:
                line.from_ = []
            line.state = state

    def passed(self, number: int) -> list[torch.Tensor]:
        """After a backward pass: the parameters that it gave a gradient."""
        reached = []
        for line in self._lines.values():
            state = _state(line.parameter)
            if state is not None and state != line.state:
                line.from_ = [*line.from_, number]
                line.zero = _is_zero(line.parameter)
                reached.append(line.parameter)
            line.state = state
        return reached

    def held(self) -> set[int]:
        """The backward passes of which some parameter has the gradient."""
        return {number for line in self._lines.values() for number in line.from_}

    def sources(self, parameter: torch.Tensor) -> list[int]:
        line = self._lines.get(id(parameter))
        return [] if line is None else line.from_


def _state(parameter: torch.Tensor) -> tuple[int, int] | None:
    gradient = parameter.grad
    return None if gradient is None else (id(gradient), gradient._version)


def _is_zero(parameter: torch.Tensor) -> bool:
    gradient = parameter.grad
    return gradient is not None and not bool(gradient.detach().any())
