"""What the float64 copy of a problem knows of the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Layout


class Twin:
    """`held`: the parameters that the original's optimizer does not know. `theta`: the copy's parameters, which it gives one memory; None
    where they are not all on the CPU. They are those of the original to begin with, whatever a forward pass has written to them.
    """

    def __init__(
        self, layout: Layout, parameters: Mapping[str, torch.Tensor], originals: Mapping[str, torch.Tensor], held: tuple[str, ...]
    ) -> None:
        self.held = held
        self.theta: Vector | None = None
        self._layout, self._parameters, self._originals = layout, parameters, originals
        self._views: dict[str, torch.Tensor] = {}  # of theta
        if all(p.device.type == "cpu" and p.dtype is torch.float64 for p in parameters.values()):
            self.theta = self._joined()
        with self.restored():
            pass

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


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    """A copy, in float64 where it holds real numbers."""
    return tensor.to(torch.float64, copy=True) if tensor.is_floating_point() else tensor.clone()
