"""What a check may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf

Told = Callable[[int, float], None]
"""Is told how many evaluations were taken, and of how many."""


@dataclass(frozen=True, slots=True)
class Effort:
    """`rows` of the batch are looked at first where the model has more than `parameters`: what is right there is left
    alone. `moves` of single parameters may be spent (about a second's worth), and `evaluations` of the loss at least,
    before single tensors are left as they are, and causes untold. `closer` is how many tensors are looked at closely
    where nothing disagrees (None: all), `told` of how many wrong ones is told, `within` in how many a direction is
    looked at though nothing is doubtful. `spectrum` says whether the Jacobian's singular values are computed, `full`
    whether rules are asked that are for a full check-up alone.
    """

    rows: int | None = None
    parameters: int = 0
    moves: float = inf
    evaluations: int = 0
    closer: int | None = None
    told: int = 0
    within: int = 0
    spectrum: bool = False
    full: bool = False

    @property
    def brief(self) -> bool:
        """Whether as few evaluations are asked for as show that a gradient is right."""
        return self.closer is not None

    def budget_of(self, size: int, told: Told | None = None) -> Budget:
        """For a problem of so many parameters; `told` is called at every evaluation."""
        return Budget(max(self.moves / size, self.evaluations), told)


_AMPLE = 1000  # evaluations, for a handful of wrong tensors and their causes


_CLOSE, _CLOSE_TENSORS, _CLOSE_PER_TENSOR = 400, 50, 8
"""Evaluations of a close look at a model of up to so many tensors, and for each tensor more."""
_CLOSE_MOVES = 1e8  # of single parameters: some seconds' worth
_EACH = 110  # evaluations that a close look at a wrong tensor takes, most of the time


class Spent(Exception):
    """The budget is used up: what is known by then is told."""


class Budget:
    """Evaluations of the loss, counted together over all that looks at one point."""

    def __init__(self, most: float = inf, told: Told | None = None) -> None:
        self._most, self._taken, self._held, self._told = most, 0, False, told

    def fits(self, tensors: int, size: int) -> int:
        """How many tensors that are wrong there is room for to be looked at one by one, in a model of so many tensors
        and parameters: in a small one evaluations cost nothing, in a large one there is an end to them.
        """
        most = max(_CLOSE_MOVES / size, _CLOSE + _CLOSE_PER_TENSOR * max(0, tensors - _CLOSE_TENSORS))
        return max(1, int((most - self._taken) // _EACH))

    def take(self) -> None:
        self._taken += 1
        if self._told is not None:
            self._told(self._taken, self._most)

    @property
    def tight(self) -> bool:
        """Whether it does not do for every tensor that may be wrong."""
        return self._most < _AMPLE

    @property
    def spent(self) -> bool:
        return self._taken >= self._most

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it what is measured is given up where nothing is left, and what follows is left out."""
        before, self._held = self._held, True
        try:
            with suppress(Spent):
                yield
        finally:
            self._held = before

    def demand(self) -> None:
        """Raises `Spent` where nothing is left, and the budget is to be kept."""
        if self._held and self.spent:
            raise Spent


USUAL = Effort()
QUICK = Effort(rows=4, parameters=1_000_000, moves=20_000_000, evaluations=120, closer=4, told=3)
FULL = Effort(within=40, spectrum=True, full=True)
