"""Random coordinates of the parameters of a large model, drawn where they lie, a piece of a tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt

import numpy as np
import torch

from wellposed.backends.reduced import PER_TENSOR, ReducedLayout
from wellposed.backends.torch.float64_copy import to_float64
from wellposed.backends.torch.shards import spread_as, whole_of
from wellposed.backends.torch.tensors import Tensors, norm_of
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient

_PIECE = PER_TENSOR << 17  # entries that are looked at together: 4 MB in float32
_POOL = 4 * _PIECE  # normal numbers that all directions are made of
_STRIDES = (1_000_003, 611_953)  # primes: where in the pool a tensor begins, and each piece of it
_ZERO = 0.1  # of its tensor's typical size: how far an entry is moved that is 0, and so tells nothing of its own
_LEAST_MOVE = 1e-3  # of that size: how far any other entry is moved at least


class TorchCoordinates:
    """See `Coordinates`. Entry i of a tensor belongs to its coordinate i modulo their number; `untrained` entries never
    move.
    """

    def __init__(self, at: Tensors, untrained: Mapping[str, Array], seed: int = 0) -> None:
        self.at, self._seed = at, seed
        self._tensors = {name: tensor.detach() for name, tensor in at.known()}
        self._number = {name: number for number, name in enumerate(self._tensors)}
        self._still = {name: torch.from_numpy(np.asarray(mask, dtype=bool).ravel()) for name, mask in untrained.items()}
        squares = {name: norm_of(tensor) ** 2 for name, tensor in self._tensors.items()}
        count = sum(tensor.numel() for tensor in self._tensors.values())
        typical = sqrt(sum(squares.values()) / max(count, 1)) or 1.0
        self._sizes = {
            name: sqrt(squares[name] / max(tensor.numel(), 1)) or typical for name, tensor in self._tensors.items()
        }
        self._with_zeros = {name for name, tensor in self._tensors.items() if not bool(whole_of(tensor).all())}
        self._pool: dict[torch.device, torch.Tensor] = {}
        shapes = {name: (min(PER_TENSOR, tensor.numel()),) for name, tensor in self._tensors.items()}
        self.layout = ReducedLayout(shapes, {name: tensor.numel() for name, tensor in self._tensors.items()})

    def moved(self, s: Vector) -> Tensors:
        changes = {name: s[place] - 1 for name, place in self.layout.slices.items() if (s[place] != 1).any()}
        return Displaced(self.at, self, changes) if changes else self.at

    def shift(self, name: str, numbers: torch.Tensor, change: Vector) -> None:
        """Adds to a tensor's numbers, in float64, what a change of its coordinates moves them by."""
        out = numbers.view(-1)
        for piece, direction in self._pieces(name):
            coefficients = torch.as_tensor(change, dtype=direction.dtype, device=direction.device)
            whole = len(direction) // len(change) * len(change)
            direction[:whole].view(-1, len(change)).mul_(coefficients)
            direction[whole:].mul_(coefficients[: len(direction) - whole])
            out[piece] += direction

    def along(self, gradient: Gradient) -> dict[str, Vector | None]:
        assert isinstance(gradient, Tensors)
        sums = {
            name: self._sums(name, slope.to_dense() if slope.layout is not torch.strided else slope)
            for name, slope in gradient.known()
        }
        found: dict[str, Vector | None] = dict.fromkeys(self.layout.names)
        for device in {one.device for one in sums.values()}:
            there = {name: one for name, one in sums.items() if one.device == device}
            numbers = torch.cat(list(there.values())).cpu().numpy()  # of all tensors in one transfer
            ends = np.cumsum([len(one) for one in there.values()])
            found |= dict(zip(there, np.split(numbers, ends[:-1]), strict=True))
        return found

    def _sums(self, name: str, slope: torch.Tensor) -> torch.Tensor:
        slopes, count = whole_of(slope).detach().reshape(-1), self.layout.shapes[name][0]
        found = torch.zeros(count, dtype=torch.float64, device=slopes.device)
        for piece, direction in self._pieces(name):
            parts = direction * slopes[piece].to(direction.dtype)
            whole = len(parts) // count * count
            found += parts[:whole].view(-1, count).sum(0, dtype=torch.float64)
            found[: len(parts) - whole] += parts[whole:]
        return found

    def _pieces(self, name: str) -> Iterator[tuple[slice, torch.Tensor]]:
        """Piece by piece: where it lies, and how far each entry is moved by a coordinate's change of 1."""
        flat, size, still = whole_of(self._tensors[name]).reshape(-1), self._sizes[name], self._still.get(name)
        for start in range(0, flat.numel(), _PIECE):
            piece = slice(start, min(start + _PIECE, flat.numel()))
            values = flat[piece]
            values = values if values.dtype is torch.float64 else values.float()
            direction = values.abs().clamp_(min=_LEAST_MOVE * size)
            if name in self._with_zeros:
                direction.masked_fill_(values == 0, _ZERO * size)
            direction.mul_(self._drawn(name, start // _PIECE, len(values), flat.device))
            if still is not None:
                direction[still[piece].to(flat.device)] = 0.0
            yield piece, direction

    def _drawn(self, name: str, piece: int, length: int, device: torch.device) -> torch.Tensor:
        """Normal numbers: a stretch of those that were drawn once, from a place of its own."""
        if device not in self._pool:
            random = torch.Generator(device).manual_seed(self._seed)
            self._pool[device] = torch.randn(_POOL, device=device, generator=random)
        start = (self._number[name] * _STRIDES[0] + piece * _STRIDES[1]) % (_POOL - _PIECE)
        return self._pool[device][start : start + length]


class Displaced(Tensors):
    """A point at which some coordinates are others, by their changes; its tensors are those at the point that they are
    changed from, and made where they are read.
    """

    def __init__(self, at: Tensors, coordinates: TorchCoordinates, changes: Mapping[str, Vector]) -> None:
        super().__init__(at.tensors, present=at.present)
        self._coordinates, self._changes, self.origin = coordinates, changes, at

    def shift(self, name: str, numbers: torch.Tensor) -> None:
        """Makes of a tensor's numbers, which are contiguous, those at this point."""
        if name in self._changes:
            self._coordinates.shift(name, numbers, self._changes[name])

    def without(self, name: str) -> Displaced:
        """The point with this tensor as it is where the others are changed from."""
        changes = {other: change for other, change in self._changes.items() if other != name}
        return Displaced(self.origin, self._coordinates, changes)

    def displaces(self, name: str) -> bool:
        return name in self._changes

    def made(self) -> Tensors:
        """In the parameters' own dtypes."""
        made: dict[str, torch.Tensor | None] = dict(self.tensors)
        for name in self._changes:
            tensor = self._coordinates.at.tensors[name]
            assert tensor is not None
            numbers = lifted(whole_of(tensor))
            self.shift(name, numbers)
            made[name] = spread_as(tensor, numbers)
        return Tensors(made)


class Exactly:
    """A point at which some tensors hold these numbers, which their own memory is too coarse for, or does not have."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def shift(self, name: str, numbers: torch.Tensor) -> None:
        if name in self._arrays:
            numbers.copy_(torch.from_numpy(self._arrays[name]))

    def displaces(self, name: str) -> bool:
        return name in self._arrays


def lifted(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous copy in float64 that may be written to."""
    return to_float64(tensor).contiguous()
