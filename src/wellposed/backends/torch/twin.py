"""What the float64 copy of a problem knows of the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_map

from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Layout


class Twin:
    """`held`: the parameters that the original's optimizer does not know. `theta`: the copy's parameters, which it gives one memory; None
    where they are not all its own (`own` are the ids of those that are), or not on the CPU.
    """

    def __init__(
        self,
        layout: Layout,
        parameters: Mapping[str, torch.Tensor],
        originals: Mapping[str, torch.Tensor],
        own: set[int],
        held: tuple[str, ...],
    ) -> None:
        self.held = held
        self.theta: Vector | None = None
        self._layout, self._parameters, self._originals = layout, parameters, originals
        self._views: dict[str, torch.Tensor] = {}  # of theta
        if all(id(p) in own and p.device.type == "cpu" and p.dtype is torch.float64 for p in parameters.values()):
            self.theta = self._joined()

    def _joined(self) -> Vector:
        whole = torch.empty(self._layout.size, dtype=torch.float64)
        for name, place in self._layout.slices.items():
            parameter = self._parameters[name]
            self._views[name] = parameter.data = whole[place].view(parameter.shape).copy_(parameter.data)
        theta: Vector = whole.numpy()
        return theta

    @contextmanager
    def moved(self, u: Vector, t: float) -> Iterator[None]:
        """The copy at theta + t u, without memory for another point."""
        moves = self._layout.unpack(u)
        with self.restored(), torch.no_grad():
            for name, view in self._views.items():
                torch.add(self._originals[name], torch.from_numpy(moves[name]), alpha=t, out=view)
            with torch.enable_grad():
                yield

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Whatever a forward pass writes to the copy's parameters, or puts in their place, they are those of the original after."""
        try:
            yield
        finally:
            for name, view in self._views.items():
                self._parameters[name].data = view.copy_(self._originals[name].data)


def to_double(batch: Any) -> Any:
    """A batch with its real tensors in float64."""

    def double(leaf: Any) -> Any:
        return leaf.double() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return tree_map(double, batch)
