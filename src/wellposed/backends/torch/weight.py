"""What is asked of a weight, answered where its tensor lies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.shards import whole_of
from wellposed.numerics.arrays import Vector
from wellposed.numerics.weight import Weight, cosine_of_pairs

_PIECE = 1 << 20  # entries that are looked at together
_MOST_DISTINCT = 4


class TensorWeight(Weight):
    """See `Weight`. Equal bits are told by a sum of them, each times a random odd number of its own, modulo 2^64."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._held = tensor.detach()

    @property
    def _tensor(self) -> torch.Tensor:
        return whole_of(self._held)

    @property
    def numbers(self) -> Vector:
        return as_numpy(self._tensor)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._held.shape)

    @cached_property
    def any(self) -> bool:
        return bool(self._tensor.any())

    @cached_property
    def mean_square(self) -> tuple[float, float]:
        total = fourth = 0.0
        for piece in self._tensor.reshape(-1).split(_PIECE):
            squares = piece.double().square()  # of a float64 weight .double() is the user's own memory
            both = torch.stack([squares.sum(), squares.square_().sum()]).tolist()
            total, fourth = total + both[0], fourth + both[1]
        mean = total / self.size
        deviation = max(fourth / self.size - mean**2, 0.0) ** 0.5
        return mean, deviation / mean / self.size**0.5 if mean else 0.0

    @cached_property
    def constant(self) -> float | None:
        if not self.size:
            return None
        low, high = torch.stack(torch.aminmax(self._tensor)).tolist()
        return float(low) if low == high else None

    @cached_property
    def patterned(self) -> bool:
        flat = self._tensor.reshape(-1)
        return all(len(torch.unique(part)) <= _MOST_DISTINCT for part in (flat[: 16 * _MOST_DISTINCT], flat))

    @cached_property
    def digest(self) -> bytes:
        sums = [int(one.sum()) for one in _hashed(self._tensor.reshape(1, -1))]
        return repr((self.shape, sums)).encode()

    def repeated(self, axis: int) -> int:
        found = torch.cat([one.sum(1) for one in _hashed(self._rows(axis))])
        counts = torch.unique(found, return_counts=True)[1]
        return int(counts[counts > 1].sum())

    def mean_cosine(self, axis: int) -> float:
        rows = self._rows(axis)
        lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
        over = torch.where(lengths > 0, 1 / lengths, 0.0)
        together = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        for some, part in zip(_by_rows(rows), over.split(_rows_of(rows)), strict=True):
            together += part @ some.double()
        return cosine_of_pairs(float(together.square().sum()), int((lengths > 0).sum()))

    def _rows(self, axis: int) -> torch.Tensor:
        return self._tensor.movedim(axis, 0).reshape(self.shape[axis], -1)


def _hashed(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Some rows after the other: their bits times the numbers of their columns."""
    random = torch.Generator(rows.device).manual_seed(0)
    odd = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=random, device=rows.device) * 2 + 1
    for some in _by_rows(rows):
        wide = some if some.dtype is torch.float64 else some.float()
        bits = (wide + 0.0).view(torch.int64 if wide.dtype is torch.float64 else torch.int32)  # no zero has a sign
        yield bits * odd


def _by_rows(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    return iter(rows.split(_rows_of(rows)))


def _rows_of(rows: torch.Tensor) -> int:
    return max(1, _PIECE // max(rows.shape[1], 1))
