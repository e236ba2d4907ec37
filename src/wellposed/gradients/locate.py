"""From a failing tensor to its wrong entries, in far fewer evaluations than entries.

A residual is linear in the error e. Where one entry alone is wrong, the ratio of two residuals, of which one weights
every entry by its index along an axis, is that index. Where several are, their set is halved, and a part's residual
gives the other's by subtraction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, prod

import numpy as np

from wellposed.gradients.residuals import Residual, Residuals, flat_of, signed_weights
from wellposed.numerics.arrays import Array, Vector

_SAMPLE = 6  # entries measured one by one where no single place explains the residual, to see whether most are wrong
_MORE = 24  # entries of a dense error, to tell the fraction
_DENSE = 0.25  # of a sample: from here on the error counts as dense
_LOCATING_GROUPS = 8
_SEARCHES_AGAIN = 3  # times that all but what was found is searched once more, by other weights
# of a position: the bar up to which an index is read; entries are measured afterwards, so that a misreading costs
# little
_READABLE = 0.9
_SURE = 0.05  # of a block's residual: a bar below which what a half leaves for the other is taken without measuring it
_LEAST_RATIO = 4.0  # residual over bar below which nothing is read

Block = tuple[Array, ...]
"""The indices along each axis of a product set of entries."""


@dataclass(frozen=True, slots=True)
class WrongEntry:
    """One entry: its index, what is missing in its claim (true - claimed), and the bar of that."""

    index: tuple[int, ...]
    error: float
    bar: float


@dataclass(frozen=True, slots=True)
class WrongSlice:
    """All or most entries of a slice: the index along each axis, None where all of them belong to it."""

    index: tuple[int | None, ...]


@dataclass
class Located:
    """`entries` and `slices` are wrong, and nothing else where `complete`; `fraction` of all entries where so many are
    wrong that a sample says more (NaN else), `sample` being what was measured for it: (flat index, error, bar)."""

    entries: list[WrongEntry] = field(default_factory=list)
    slices: list[WrongSlice] = field(default_factory=list)
    fraction: float = float("nan")
    sample: list[tuple[int, float, float]] = field(default_factory=list)
    complete: bool = True
    evaluations: int = 0

    @property
    def dense(self) -> bool:
        return self.fraction == self.fraction


def locate(residuals: Residuals, shape: tuple[int, ...], budget: int = 400, seed: int = 0) -> Located:
    """The wrong entries of a tensor of that shape, within about `budget` evaluations of the loss."""
    search = _Search(residuals, shape, budget, np.random.default_rng(seed))
    search.run()
    search.found.evaluations = residuals.evaluations
    return search.found


class _Search:
    def __init__(self, residuals: Residuals, shape: tuple[int, ...], budget: int, random: np.random.Generator) -> None:
        self._residuals, self._shape, self._budget, self._random = residuals, shape or (1,), budget, random
        self._weights = signed_weights(random, prod(self._shape))
        self._order = list(range(len(self._shape)))
        self.found = Located()

    def run(self) -> None:
        whole = tuple(np.arange(length) for length in self._shape)
        self._search(whole)
        for _ in range(_SEARCHES_AGAIN):  # two errors of a block may have cancelled
            known = len(self.found.entries) + len(self.found.slices)
            if known < 2 or not self.found.complete:
                return
            self._weights = signed_weights(self._random, self._weights.size) * self._unknown()
            self._search(whole)
            if known == len(self.found.entries) + len(self.found.slices):
                return

    def _search(self, whole: Block) -> None:
        waiting = [(whole, self._of(whole), self.found == Located())]
        while waiting:
            if self._residuals.evaluations >= self._budget:
                self.found.complete = False
                return
            block, residual, root = waiting.pop()
            waiting += self._explored(block, residual, root)
            if self.found.dense:
                return

    def _unknown(self) -> Vector:
        """0 at each entry found wrong, 1 at the others."""
        left = np.ones(self._shape)
        for entry in self.found.entries:
            left[entry.index] = 0.0
        for piece in self.found.slices:
            left[tuple(slice(None) if i is None else i for i in piece.index)] = 0.0
        return left.ravel()

    def _explored(self, block: Block, residual: Residual, root: bool) -> Iterator[tuple[Block, Residual, bool]]:
        """What is wrong in this block, or smaller blocks to be looked at."""
        if residual.zero:
            return
        if abs(residual.value) < _LEAST_RATIO * residual.bar:  # most of the bar may have come by subtraction
            residual = self._of(block)
            if residual.zero:
                return
        places = self._read(block, residual, root)
        if all(place is not None for place in places):
            if self._one_entry(
                tuple(int(indices[place]) for indices, place in zip(block, places, strict=True)), block, residual
            ):
                return
            places = [None if len(indices) > 1 else 0 for indices in block]
        narrowed = tuple(
            indices if place is None else indices[[place]] for indices, place in zip(block, places, strict=True)
        )
        if prod(map(len, narrowed)) < prod(map(len, block)):
            inner = self._of(narrowed)
            if self._same(inner, residual):
                if self._mostly_wrong(narrowed):
                    index = tuple(
                        None if len(n) == size else int(n[0]) for n, size in zip(narrowed, self._shape, strict=True)
                    )
                    if all(
                        i is not None or len(n) == size for i, n, size in zip(index, narrowed, self._shape, strict=True)
                    ):
                        self.found.slices.append(WrongSlice(index))
                        return
                block, residual = narrowed, inner
        elif root:
            self._sample(block)
            if self.found.dense:
                return
            if parts := self._prefer_few(block):
                yield from ((part, found, False) for part, found in parts)
                return
        yield from self._halves(block, residual)

    def _read(self, block: Block, residual: Residual, root: bool) -> list[int | None]:
        """The position along each axis at which all of the residual lies; None where it lies at several."""
        places: list[int | None] = [0 if len(indices) == 1 else None for indices in block]
        missed = False
        for axis in self._order:
            if places[axis] is None and not (missed and not root):
                places[axis] = self._position(block, axis, residual)
                missed |= places[axis] is None
        return places

    def _position(self, block: Block, axis: int, whole: Residual) -> int | None:
        """Digit by digit, in a base as large as the residual's own error lets one read."""
        count = len(block[axis])
        low, step = 0, count
        while step > 1:
            ratio = abs(whole.value) / whole.bar if whole.bar else np.inf
            base = max(2, int(min(_READABLE * ratio, step)))
            width = ceil(step / base)
            base = ceil(step / width)
            digit = np.minimum((np.arange(count) - low) // width, base - 1)
            inside = (np.arange(count) >= low) & (np.arange(count) < low + step)
            centred = np.where(inside, 2.0 * digit / max(base - 1, 1) - 1.0, 0.0)
            found = self._of(block, axis, centred)
            q = found.value / whole.value
            doubt = (base - 1) / 2 * (found.bar + abs(q) * whole.bar) / abs(whole.value)
            place = (q + 1) / 2 * (base - 1)
            nearest = round(place)
            if not 0 <= nearest < base or abs(place - nearest) > min(max(2 * doubt, 1e-9), 0.45) or doubt > 1:
                return None
            low, step = low + nearest * width, min(width, low + step - (low + nearest * width))
        return low

    def _one_entry(self, index: tuple[int, ...], block: Block, residual: Residual) -> bool:
        """Whether one entry's error accounts for all of the block's residual."""
        flat = int(np.ravel_multi_index(index, self._shape))
        share = self._weights[flat] * self._residuals.sizes[flat]
        error = self._residuals.of_entry(flat)
        if error.zero:
            return False
        if not self._same(error.times(share), residual):  # the bend of either may be more than its bar
            error, residual = self._residuals.entry(flat, error), self._residuals.twice(self._weighted(block), residual)
            if error.zero or not self._same(error.times(share), residual):
                return False
        self.found.entries.append(WrongEntry(index, error.value, error.bar))
        return True

    def _mostly_wrong(self, block: Block) -> bool:
        flats = flat_of(block, self._shape)
        drawn = self._random.choice(flats, min(4, flats.size), replace=False)
        return sum(not self._residuals.entry(int(flat)).zero for flat in drawn) > len(drawn) / 2

    def _sample(self, block: Block) -> None:
        """Whether so many entries are wrong that a sample meets them."""
        flats = self._random.permutation(flat_of(block, self._shape))[:_MORE]
        measured: list[tuple[int, float, float]] = []
        for count, flat in enumerate(flats, 1):
            error = self._residuals.entry(int(flat))
            measured.append((int(flat), error.value, error.bar))
            wrong = sum(abs(value) > bar for _, value, bar in measured)
            if count == _SAMPLE and not wrong:
                break
        if measured and wrong >= _DENSE * len(measured):
            self.found.fraction = wrong / len(measured)
            self.found.complete = False
        self.found.sample = measured

    def _prefer_few(self, block: Block) -> list[tuple[Block, Residual]]:
        """Groups along the axis whose wrong indices are fewest, which is halved first from then on: two wrong columns
        are two groups.
        """
        if len(self._shape) < 2:
            return []
        groups: dict[int, list[tuple[Block, Residual]]] = {}
        for axis, length in enumerate(self._shape):
            parts = np.array_split(self._random.permutation(length), min(_LOCATING_GROUPS, length))
            inner = [self._with(block, axis, np.sort(part)) for part in parts]
            groups[axis] = [(part, self._of(part)) for part in inner]
        hit = {axis: sum(not found.zero for _, found in parts) / len(parts) for axis, parts in groups.items()}
        self._order = sorted(self._order, key=lambda axis: (hit[axis], -self._shape[axis]))
        return groups[self._order[0]]

    def _halves(self, block: Block, residual: Residual) -> Iterator[tuple[Block, Residual, bool]]:
        axis = next((axis for axis in self._order if len(block[axis]) > 1), None)
        if axis is None:
            self._one_entry(tuple(int(indices[0]) for indices in block), block, residual)
            return
        shuffled = self._random.permutation(block[axis])
        middle = len(shuffled) // 2
        one, other = (self._with(block, axis, np.sort(part)) for part in (shuffled[:middle], shuffled[middle:]))
        measured = self._of(one)
        yield one, measured, False
        rest = Residual(residual.value - measured.value, residual.bar + measured.bar)
        yield other, rest if rest.bar < _SURE * abs(residual.value) else self._of(other), False

    def _with(self, block: Block, axis: int, indices: Array) -> Block:
        return (*block[:axis], indices, *block[axis + 1 :])

    def _of(self, block: Block, axis: int = 0, factors: Vector | None = None) -> Residual:
        return self._residuals.of(self._weighted(block, axis, factors))

    def _weighted(self, block: Block, axis: int = 0, factors: Vector | None = None) -> Vector:
        """The weights of a block's entries, times a factor for each index along one axis."""
        flats = flat_of(block, self._shape)
        weights = np.zeros(self._weights.size)
        weights[flats] = self._weights[flats]
        if factors is not None:
            shape = [1] * len(block)
            shape[axis] = len(factors)
            weights[flats] *= np.broadcast_to(factors.reshape(shape), [len(indices) for indices in block]).ravel()
        return weights

    def _same(self, one: Residual, other: Residual) -> bool:
        return abs(one.value - other.value) <= 2 * (one.bar + other.bar)
