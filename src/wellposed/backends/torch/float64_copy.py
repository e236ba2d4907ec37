"""The float64 copy of a problem: its parameters in one memory, and a mode in which what it computes stays in
float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_map

from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Layout

_DRAWN = {"rand", "randn", "rand_like", "randn_like"}
_DRAWN_FROM = {"bernoulli", "poisson"}
_DRAWN_INTO = {"normal_", "uniform_", "exponential_", "log_normal_", "cauchy_", "geometric_"}


DRAWN_FROM = "_wellposed_drawn_from"
"""What a draw in float64 says of itself before it is detached: its mean and its deviation."""


class Twin:
    """`held`: the parameters that the original's optimizer does not know. `theta`: the copy's parameters, which it
    gives one memory; None where they are not all on the CPU. They are those of the original to begin with, whatever a
    forward pass has written to them.
    """

    def __init__(
        self,
        layout: Layout,
        parameters: Mapping[str, torch.Tensor],
        originals: Mapping[str, torch.Tensor],
        held: tuple[str, ...],
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
        """Whatever a forward pass writes to the copy's parameters, or puts in their place, they are those of the
        original after.
        """
        try:
            yield
        finally:
            for name, view in self._views.items():
                self._parameters[name].data = view.copy_(self._originals[name].data)


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """A copy, in float64 where it holds real numbers."""
    return tensor.to(torch.float64, copy=True) if tensor.is_floating_point() else tensor.clone()


class Wide(Watcher):
    """Within, what casts a float64 tensor to float32 returns it as it is. A cast is linear: no gradient is right or
    wrong by it.

    Random numbers are drawn in float32, as generators give others for float64, and lifted.
    """

    def gathering(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A sharded layer casts its inputs as its own policy says."""
        if function is torch.Tensor.to and _is_double(args[0]):
            return args[0]
        return super().gathering(function, args, kwargs)

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        double = isinstance(first, torch.Tensor) and first.dtype is torch.float64
        if double and (name == "float" or (name in ("to", "type") and _to_float32([*args[1:], *kwargs.values()]))):
            return first
        if double and name == "type_as" and args[1].dtype is torch.float32:
            return first
        if name in _DRAWN and kwargs.get("dtype") in (None, torch.float32, torch.float64):
            if kwargs.get("dtype") is None and name.endswith("_like") and not double:
                return function(*args, **kwargs)
            return function(*args, **{**kwargs, "dtype": torch.float32}).double()
        if name == "normal" and any(map(_is_double, (*args, *kwargs.values()))):
            return _normal(*args, **kwargs)
        if name in _DRAWN_FROM and any(map(_is_double, (*args, *kwargs.values()))):
            return tree_map(_lifted, function(*tree_map(_lowered, args), **tree_map(_lowered, kwargs)))
        if name in _DRAWN_INTO and isinstance(first, torch.Tensor) and double:
            drawn = getattr(torch.empty(first.shape, dtype=torch.float32, device=first.device), name)(
                *args[1:], **kwargs
            )
            with torch.no_grad():
                return first.copy_(drawn)
        if kwargs.get("dtype") is torch.float32:
            kwargs = {**kwargs, "dtype": torch.float64}
        if any(map(_is_double, _flat(args))) or any(map(_is_double, _flat(tuple(kwargs.values())))):
            writes = name.endswith("_") and not name.endswith("__")
            args = (*args[:1], *tree_map(_lifted, args[1:])) if writes or double else tree_map(_lifted, args)
            kwargs = tree_map(_lifted, kwargs)
        if name in _SINGLE_ONLY and double:
            return _SINGLE_ONLY[name](*args, **kwargs)
        result = function(*args, **kwargs)
        return result if result is first else tree_map(_lifted, result)


def _normal(mean: Any, std: Any = 1.0, **kwargs: Any) -> torch.Tensor:
    """`torch.normal` of float64: the same numbers of the generator, shifted and scaled without rounding. No gradient
    passes, as none but 0 does there.
    """
    given = tuple(one for one in (mean, std) if isinstance(one, torch.Tensor))
    middle = torch.zeros(torch.broadcast_shapes(*(one.shape for one in given)), device=given[0].device)
    drawn: torch.Tensor = mean + std * torch.normal(middle, 1.0, generator=kwargs.get("generator")).double()
    setattr(drawn, DRAWN_FROM, given)
    return drawn.detach()


def _grouped_mm(
    a: torch.Tensor, b: torch.Tensor, offs: torch.Tensor | None = None, bias: torch.Tensor | None = None, **_: Any
) -> torch.Tensor:
    """torch's grouped product, whose kernels take no float64: one product for each group, whose ends along a jagged
    side `offs` holds.
    """
    if offs is None:
        result = a @ b
    else:
        ends = offs.tolist()
        groups = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        if a.dim() == 2 and b.dim() == 2:
            result = torch.stack([a[:, group] @ b[group] for group in groups])
        elif a.dim() == 2:
            result = torch.cat(
                [a[group] @ b[i] for i, group in enumerate(groups)] + [a.new_zeros(a.shape[0] - ends[-1], b.shape[-1])]
            )
        else:
            result = torch.cat([a[i] @ b[:, group] for i, group in enumerate(groups)], dim=1)
    return result if bias is None else result + bias


_SINGLE_ONLY: dict[str, Callable[..., torch.Tensor]] = {"_grouped_mm": _grouped_mm, "grouped_mm": _grouped_mm}


def _flat(args: tuple[Any, ...]) -> list[Any]:
    return [part for arg in args for part in (arg if isinstance(arg, list | tuple) else (arg,))]


def _to_float32(asked: list[Any]) -> bool:
    return any(
        given is torch.float32 or (isinstance(given, torch.Tensor) and given.dtype is torch.float32) for given in asked
    )


def _is_double(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor) and thing.dtype is torch.float64


def _lifted(thing: Any) -> Any:
    return thing.double() if isinstance(thing, torch.Tensor) and thing.dtype is torch.float32 else thing


def _lowered(thing: Any) -> Any:
    return thing.float() if _is_double(thing) else thing
