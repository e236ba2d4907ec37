"""Parameters or their gradients where they lie: on their device, in their own dtype."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import sqrt

import torch

from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.shards import spread_as, whole_of
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Separate


class Tensors(Separate):
    """By name; `present` says that they are the parameters as they are now."""

    def __init__(self, tensors: Mapping[str, torch.Tensor | None], *, present: bool = False) -> None:
        self.tensors, self.present = dict(tensors), present

    def __getitem__(self, name: str) -> Vector | None:
        tensor = self.tensors[name]
        return None if tensor is None else as_numpy(tensor)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def known(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, tensor) for name, tensor in self.tensors.items() if tensor is not None)

    def plus(self, other: Separate, factor: float) -> Tensors:
        assert isinstance(other, Tensors)
        moved = dict(self.tensors)
        for name, change in other.known():
            mine = moved[name]
            assert mine is not None
            moved[name] = torch.add(mine, change.to(mine), alpha=factor)
        return Tensors(moved)

    def moved(self, names: Iterable[str], least: float) -> Tensors:
        moved = dict(self.tensors)
        for number, name in enumerate(names):
            mine = moved[name]
            assert mine is not None
            size = max(norm_of(mine) / sqrt(mine.numel()), least) if mine.numel() else 0.0
            random = torch.Generator(mine.device).manual_seed(number)
            drawn = torch.empty(mine.shape, dtype=mine.dtype, device=mine.device).normal_(generator=random)
            moved[name] = spread_as(mine, drawn.mul_(size or 1.0)).add_(mine)
        return Tensors(moved)

    def scaled(self, names: Iterable[str], factor: float) -> Tensors:
        wanted = set(names)
        return Tensors({name: tensor * factor if name in wanted else tensor for name, tensor in self.known()})

    def moves(self, after: Separate) -> dict[str, tuple[float, float]]:
        assert isinstance(after, Tensors)
        matrices = {name: tensor for name, tensor in self.known() if tensor.dim() > 1}
        return {name: (norm_of(tensor), _apart(tensor, after.tensors[name])) for name, tensor in matrices.items()}

    @property
    def missing(self) -> list[str]:
        return [name for name, tensor in self.tensors.items() if tensor is None]

    @property
    def norm(self) -> float:
        return sqrt(sum(norm_of(tensor) ** 2 for _, tensor in self.known()))

    @property
    def finite(self) -> bool:
        return all(bool(torch.isfinite(whole_of(tensor)).all()) for _, tensor in self.known())


def _apart(one: torch.Tensor, other: torch.Tensor | None) -> float:
    return 0.0 if other is None or one is other else norm_of(other - one)


def norm_of(tensor: torch.Tensor) -> float:
    """The Euclidean norm, summed up in float64."""
    plain = whole_of(tensor) if tensor.layout is torch.strided else tensor.coalesce().values()
    return float(torch.linalg.vector_norm(plain, dtype=torch.float64))
