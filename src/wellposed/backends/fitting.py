"""What each weight makes, given the size that is asked for as it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_SILENT = 1e-30


class Fitting:
    """`factors` holds (factor, size reached) by weight. `size` is the root mean square of a framework's array."""

    def __init__(self, targets: Mapping[str, float], size: Callable[[Any], float]) -> None:
        self.factors: dict[str, tuple[float, float]] = {}
        self._targets, self._size = targets, size

    def scaled(self, name: str, made: Any) -> Any:
        """The array times the weight's factor, which its first use decides; as it is where nothing is asked for or
        nothing arrived.
        """
        if name not in self._targets:
            return made
        if name not in self.factors:
            had = self._size(made)
            if not _SILENT < had < 1 / _SILENT:
                return made
            factor = self._targets[name] / had
            scaled = made * factor
            self.factors[name] = (factor, self._size(scaled))
            return scaled
        return made * self.factors[name][0]
