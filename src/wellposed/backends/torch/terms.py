"""The sum at the end of a loss, taken apart: additions and scalings of single numbers, back to what computed each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from wellposed.backends.lines import find_caller
from wellposed.backends.structure.shown import Term
from wellposed.backends.torch.backward import gradients_of
from wellposed.backends.torch.leaves import nodes
from wellposed.backends.torch.objective import LOSSES
from wellposed.backends.torch.shards import whole_of
from wellposed.backends.torch.tensors import norm_of
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.numerics.theta import MANY

_SUMS = {"add", "__add__", "__radd__", "__iadd__", "add_"}
_DIFFERENCES = {"sub": (1, -1), "__sub__": (1, -1), "__isub__": (1, -1), "rsub": (-1, 1), "__rsub__": (-1, 1)}
_PRODUCTS = {"mul", "__mul__", "__rmul__", "__imul__", "mul_"}
_QUOTIENTS = {"div", "__truediv__", "true_divide", "__itruediv__", "div_"}
_IN_PLACE = {"add_": "add", "sub_": "sub", "mul_": "mul", "div_": "div"}  # what `+=` and the like come down to
_SAME = {"view", "reshape", "squeeze", "unsqueeze", "clone", "to", "float", "double", "contiguous", "requires_grad_"}
_STACKS = {"stack", "cat"}
_CUTS = {"detach", "detach_", "item", "__float__", "tolist", "numpy", "cpu"}
_REDUCING = LOSSES | {"gaussian_nll_loss"}
_MOST = 12  # terms that are told of

_Slopes = Sequence[torch.Tensor | None]


@dataclass
class _Call:
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    line: str


class _Ends(Watcher):
    """Calls whose results are single numbers, or a few of them stacked; what was cut; what gradients were taken."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, _Call] = {}
        self.cut: list[tuple[torch.Tensor, Any, str]] = []  # what, what came out, and where
        self._of_gradients: dict[int, Any] = {}  # what a gradient without a graph, and all that follows, came to
        self._lost: dict[
            int, tuple[weakref.ref[torch.Tensor], frozenset[int]]
        ] = {}  # which losses of a gradient it knows

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in _IN_PLACE and isinstance(args[0], torch.Tensor) and args[0].numel() == 1:
            return self._in_place(name, function, args, kwargs)
        result = function(*args, **kwargs)
        if (name == "grad" and not kwargs.get("create_graph")) or (
            self._of_gradients and any(id(one) in self._of_gradients for one in tree_leaves((args, kwargs)))
        ):
            self._of_gradients |= {id(one): one for one in tree_leaves(result) if isinstance(one, torch.Tensor)}
        self._note_lost(result, tree_leaves((args, kwargs)))
        first = args[0] if args else None
        if name in _CUTS and isinstance(first, torch.Tensor) and first.requires_grad:
            self.cut.append((first, result, find_caller(("torch", "wellposed"))))
        if isinstance(result, torch.Tensor) and (result.numel() == 1 or (name in _STACKS and result.dim() == 1)):
            self.calls[id(result)] = _Call(name, args, kwargs, result, find_caller(("torch", "wellposed")))
        return result

    def _in_place(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The sum so far is kept beside the one that it becomes."""
        before = args[0].clone()
        known = self.calls.get(id(args[0]))
        if known is not None:
            self.calls[id(before)] = replace(known, result=before)
        result = function(*args, **kwargs)
        line = find_caller(("torch", "wellposed"))
        self.calls[id(result)] = _Call(_IN_PLACE[name], (before, *args[1:]), kwargs, result, line)
        return result

    def _note_lost(self, result: Any, given: list[Any]) -> None:
        """What is made of something without its gradient, by a detach or where none is recorded, and what follows."""
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return
        known = frozenset[int]().union(*(self.lost(one) for one in given))
        if not result.requires_grad and any(map(_carries, given)):
            known |= {len(self._lost)}
        if known:
            self._lost[id(result)] = weakref.ref(result), known

    def lost(self, thing: Any) -> frozenset[int]:
        known = self._lost.get(id(thing))
        return known[1] if known is not None and known[0]() is thing else frozenset()

    def meant(self, part: _Part, parts: Sequence[_Part]) -> bool:
        """Whether what lost its gradient there is used so by a term that has one, or is the difference to it."""
        kept = [other.thing for other in parts if _carries(other.thing)]
        known = self.lost(part.thing)
        if known and any(known <= self.lost(other) for other in kept):
            return True
        sources = [source for source, result, _ in self.cut if result is part.thing]
        return any(other.grad_fn in set(nodes(source)) for source in sources for other in kept)

    def by_gradient(self, tensor: Any) -> bool:
        return id(tensor) in self._of_gradients


@dataclass
class _Part:
    """A number of the sum: a tensor or one of Python's, and what it is multiplied by."""

    thing: Any
    factor: float

    @property
    def value(self) -> float:
        return self.factor * float(self.thing.detach() if isinstance(self.thing, torch.Tensor) else self.thing)


def terms_of(loss: Callable[[], torch.Tensor], parameters: Sequence[torch.Tensor]) -> list[Term]:
    """Those of a loss that is a sum; empty where it is one term."""
    ends = _Ends()
    with ends:
        whole = loss()
    parts = list(_apart(whole, 1.0, ends))
    if len(parts) < 2 or len(parts) > _MOST:
        return []

    def slopes_of(part: _Part) -> _Slopes | None:
        return gradients_of(part.thing, parameters, again=True) if _carries(part.thing) else None

    if sum(map(torch.Tensor.numel, parameters)) > MANY:  # one gradient at a time
        return [_told(part, parts, ends, slopes_of(part), nan) for part in parts]
    slopes = [slopes_of(part) for part in parts]
    along = _cosines(parts, slopes)
    return [_told(part, parts, ends, one, cosine) for part, one, cosine in zip(parts, slopes, along, strict=True)]


def _cosines(parts: Sequence[_Part], slopes: Sequence[_Slopes | None]) -> list[float]:
    """Between the gradient of each and that of all together."""
    whole: dict[int, torch.Tensor] = {}
    for part, one in zip(parts, slopes, strict=True):
        for place, slope in enumerate(one or ()):
            if slope is not None:
                whole[place] = whole.get(place, 0.0) + part.factor * whole_of(slope.to_dense()).double()
    size = sqrt(sum(float(total.square().sum()) for total in whole.values()))
    found = []
    for part, one in zip(parts, slopes, strict=True):
        known = [(whole[place], slope) for place, slope in enumerate(one or ()) if slope is not None]
        own = abs(part.factor) * sqrt(sum(norm_of(slope) ** 2 for _, slope in known))
        inner = sum(float((total * whole_of(slope.to_dense())).sum()) for total, slope in known)
        found.append(part.factor * inner / (own * size) if own * size > 0 else nan)
    return found


def _apart(thing: Any, factor: float, ends: _Ends) -> Iterator[_Part]:
    if not isinstance(thing, torch.Tensor):
        if float(thing) != 0.0:  # where a sum begins
            yield _Part(thing, factor)
        return
    call = ends.calls.get(id(thing))
    if call is None or any(one is thing for one in call.args):  # written to where it lay
        yield _Part(thing, factor)
        return
    name, args = call.name, call.args
    numbers = [one for one in args if _single(one)]
    if name in _SUMS and len(numbers) == 2:
        alpha = float(call.kwargs.get("alpha", 1))
        yield from _apart(args[0], factor, ends)
        yield from _apart(args[1], factor * alpha, ends)
    elif name in _DIFFERENCES and len(numbers) == 2:
        signs = _DIFFERENCES[name]
        yield from _apart(args[0], factor * signs[0], ends)
        yield from _apart(args[1], factor * signs[1], ends)
    elif name in _PRODUCTS and len(numbers) == 2 and (split := _scaled(args)) is not None:
        yield from _apart(split[0], factor * split[1], ends)
    elif name in _QUOTIENTS and len(numbers) == 2 and not _carries(args[1]) and float(args[1]):
        yield from _apart(args[0], factor / float(args[1]), ends)
    elif name in ("neg", "__neg__"):
        yield from _apart(args[0], -factor, ends)
    elif name in _SAME and isinstance(args[0], torch.Tensor) and args[0].numel() == 1:
        yield from _apart(args[0], factor, ends)
    elif name in ("sum", "mean") and (stacked := ends.calls.get(id(args[0]))) is not None and stacked.name in _STACKS:
        each = [one for one in stacked.args[0] if _single(one)]
        share = 1 / len(each) if name == "mean" and each else 1.0
        for one in each:
            yield from _apart(one, factor * share, ends)
    else:
        yield _Part(thing, factor)


def _single(thing: Any) -> bool:
    if isinstance(thing, torch.Tensor):
        return thing.numel() == 1
    return isinstance(thing, int | float) and not isinstance(thing, bool)


def _carries(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor) and thing.requires_grad


def _scaled(args: tuple[Any, ...]) -> tuple[Any, float] | None:
    """What a product scales, and by how much: a number that no gradient passes."""
    one, other = args[:2]
    if _carries(one) and _carries(other):
        return None
    if not _carries(one) and not _carries(other):
        one, other = (one, other) if isinstance(one, torch.Tensor) else (other, one)
        return (one, float(other)) if isinstance(one, torch.Tensor) and not isinstance(other, torch.Tensor) else None
    kept, factor = (one, other) if _carries(one) else (other, one)
    return kept, float(factor)


def _told(part: _Part, parts: Sequence[_Part], ends: _Ends, slopes: _Slopes | None, along: float) -> Term:
    thing = part.thing
    call = ends.calls.get(id(thing)) if isinstance(thing, torch.Tensor) else None
    gradient = None
    if slopes is not None:
        gradient = abs(part.factor) * sqrt(sum(norm_of(one) ** 2 for one in slopes if one is not None))
    where, function = ("", "a number") if call is None else (call.line, call.name)
    if gradient is None:
        where = _cut_at(part, ends) or where
    mean_of, sum_of = (0, 0) if call is None else _counted(call)
    return Term(
        where,
        function,
        part.value,
        part.factor,
        gradient,
        mean_of=mean_of,
        sum_of=sum_of,
        by_gradient=ends.by_gradient(thing),
        of_loss=function in _REDUCING,
        along=along,
        meant=gradient is None and ends.meant(part, parts),
    )


def _cut_at(part: _Part, ends: _Ends) -> str:
    """Where what has no gradient lost it: the cut that came to this number, else the only one."""
    for _, result, line in ends.cut:
        if result is part.thing or (isinstance(result, float) and result == part.thing):
            return line
    scaled = [
        line
        for source, _, line in ends.cut
        if source.numel() == 1 and float(source.detach()) and not isinstance(part.thing, torch.Tensor)
    ]
    return scaled[0] if len(set(scaled)) == 1 else ""


def _counted(call: _Call) -> tuple[int, int]:
    first = call.args[0] if call.args else call.kwargs.get("input")
    count = first.numel() if isinstance(first, torch.Tensor) else 0
    if call.name in _REDUCING:
        if call.name in ("cross_entropy", "nll_loss") and isinstance(first, torch.Tensor) and first.dim() > 1:
            count //= first.shape[1]
        reduction = call.kwargs.get("reduction", "mean")
        return (count, 0) if reduction in ("mean", "batchmean") else (0, count)
    if call.name == "mean":
        return count, 0
    return (0, count) if call.name == "sum" else (0, 0)
