"""What cuts the graph of a run (detach, .data, no_grad, Python numbers, NumPy), and the run with what passes a cut held
as it was.

A gradient takes what passes a cut for a constant. So does the loss in which it is one: held against that, a gradient
that is right but for a deliberate cut agrees, and one that is wrong beside a cut does not.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from wellposed.backends.lines import place_of, within_package
from wellposed.backends.measured import Cut
from wellposed.backends.protocol import Differentiation, Network, Problem, Training, Variants
from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.float64_copy import DRAWN_FROM
from wellposed.backends.torch.tracing.calls import module_names
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.users_code import ask

_DATA: Any = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_NUMBERS = {"item", "tolist", "numpy", "__float__", "__int__", "__array__", "__complex__"}
_ASKING = {
    "__bool__",
    "__len__",
    "__repr__",
    "__format__",
    "size",
    "dim",
    "numel",
    "__get__",
    "__set__",
    "is_floating_point",
}
_DIFFERENCES = {"sub", "__sub__", "__rsub__", "rsub"}
_RENORMED = {"embedding", "embedding_bag"}
_INSIDE = ("torch", "wellposed")
LIFTED = "_wellposed_lifted"
"""What marks the float64 numbers that a parameter is read as."""
_NUDGE = 1e-3  # of a Python number: enough to see in a gradient whether it depends on it


class HeldCuts(Watcher):
    """Within `recording()` cuts are noted, with what passed them; within `replaying()` the same passes them again.

    `cuts` are those whose values something with a gradient was computed from, in the order in which they were met.
    `broken`: a replay met other calls than the recording did, so that nothing can be told from it.
    """

    def __init__(self, model: nn.Module, trained: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._model, self._trained = model, {id(p) for p in trained.values()}
        self._values: list[Any] = []
        self._sources: list[Cut] = []  # of each value
        self._marked: dict[int, tuple[weakref.ref[torch.Tensor], Cut]] = {}
        self._drawn_from: dict[int, set[int]] = {}  # where the mean and the deviation of a draw lie
        self._compared: tuple[Any, ...] = ()  # what is subtracted just now
        self._bases: dict[int, torch.Tensor] = {}  # of an alias of a trained parameter
        self._within: list[str] = []
        self._off = ""  # where gradients were switched off
        self._next, self._replays = 0, False
        self._enabled = True  # whether Python code has gradients switched on
        self._free: tuple[Cut, ...] = ()
        self._nudged_cut: Cut | None = None
        self.broken = False

    @property
    def cuts(self) -> tuple[Cut, ...]:
        return tuple(dict.fromkeys(self._sources))

    @contextmanager
    def recording(self) -> Iterator[None]:
        self._start(replays=False)
        with module_names(self._model) as self._within, self:
            yield

    @contextmanager
    def replaying(self, free: tuple[Cut, ...] = (), nudged: Cut | None = None) -> Iterator[None]:
        """`free` are cuts that let pass what comes, `nudged` is one whose number is changed by a thousandth."""
        self._start(replays=True)
        self._free, self._nudged_cut = free, nudged
        with self:
            yield
        self.broken |= self._next != len(self._values)

    def _start(self, *, replays: bool) -> None:
        self._next, self._replays, self._enabled = 0, replays, torch.is_grad_enabled()
        self._marked.clear()
        self._drawn_from.clear()
        self._bases.clear()

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name == "_set_grad_enabled":
            self._enabled = bool(args[0])
            if not args[0] and not self._replays:
                self._off = place_of(_INSIDE)
            return function(*args, **kwargs)
        if (
            self._enabled and not torch.is_grad_enabled()
        ):  # within a custom Function's forward pass: it has its own back
            return function(*args, **kwargs)
        if name in _ASKING:
            return self._alias(function, args, kwargs) if function == _DATA else function(*args, **kwargs)
        if name in _NUMBERS and args and self._passes(args[0]):
            return self._number(name, function, args, kwargs)
        if name == "detach":
            result = function(*args, **kwargs)
            given = getattr(args[0], DRAWN_FROM, ())
            if any(map(self._passes, given)):
                self._mark_drawn(result, given)
            else:
                self._mark(result, args, "detach()")
            return result
        if name == "normal" and torch.is_grad_enabled() and any(map(self._passes, _tensors(args, kwargs))):
            result = function(*self._held(args), **self._held(kwargs)).detach()
            self._mark_drawn(result, _tensors(args, kwargs))
            return result
        if name in _RENORMED and kwargs.get("max_norm") is not None:
            return self._renormed(function, args, kwargs)
        writes = (
            (name.endswith("_") and not name.endswith("__")) or name.startswith(("__i", "__set")) or "out" in kwargs
        )
        if not torch.is_grad_enabled():
            if writes and args and self._base(args[0]) is not None:
                return self._written(function, args, kwargs)
            result = function(*args, **kwargs)
            if any(self._passes(arg) for arg in _tensors(args, kwargs)):
                tree_map(lambda one: self._mark(one, (), "no_grad"), result)
                if name == "normal":
                    self._mark_drawn(result, _tensors(args, kwargs))
            return result
        if writes:
            return function(*args[:1], *self._held(args[1:]), **kwargs)
        self._compared = args if name in _DIFFERENCES else ()
        return function(*self._held(args), **self._held(kwargs))

    def _mark_drawn(self, result: torch.Tensor, given: Iterable[torch.Tensor]) -> None:
        """Of `torch.normal`, whose gradient by its mean and deviation is 0."""
        if self._enabled:
            cut = Cut("normal()", "" if self._replays else place_of(_INSIDE), sampled=True)
            self._marked[id(result)] = (weakref.ref(result), cut)
        else:
            self._mark(result, (), "no_grad")
        self._drawn_from[id(result)] = {ask(one.data_ptr, 0) for one in given} - {0}

    def _is_scored(self, tensor: torch.Tensor) -> bool:
        """As an action is, in a log-probability: of a distribution, or by hand from its distance to the mean."""
        given = self._drawn_from.get(id(tensor), set[int]())
        others = {ask(one.data_ptr, 0) for one in self._compared if isinstance(one, torch.Tensor)}
        return within_package("torch.distributions") or bool(given & others)

    def _alias(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self._mark(result, args, ".data")
            if id(args[0]) in self._trained:
                self._bases[id(result)] = args[0]
        return result

    def _base(self, tensor: Any) -> torch.Tensor | None:
        """The trained parameter that a tensor is, or shares its memory with."""
        if id(tensor) in self._trained or hasattr(tensor, LIFTED):
            return tensor  # type: ignore[no-any-return]
        return self._bases.get(id(tensor)) if self._is_marked(tensor) else None

    def _passes(self, tensor: Any) -> bool:
        return isinstance(tensor, torch.Tensor) and (tensor.requires_grad or self._is_marked(tensor))

    def _is_marked(self, tensor: Any) -> bool:
        known = self._marked.get(id(tensor))
        return known is not None and known[0]() is tensor

    def _mark(self, result: Any, given: tuple[Any, ...], what: str) -> None:
        """Of what is made where no gradient passes, from what carries one."""
        if (
            not isinstance(result, torch.Tensor)
            or not result.is_floating_point()
            or (given and not self._passes(given[0]))
        ):
            return
        self._drawn_from.pop(id(result), None)  # of another that was there before
        # A draw that is detached too is meant to pass nothing.
        if given and self._is_marked(given[0]) and id(given[0]) not in self._drawn_from:
            self._marked[id(result)] = (weakref.ref(result), self._marked[id(given[0])][1])
            return
        where = "" if self._replays else self._off if what == "no_grad" else place_of(_INSIDE)
        within = self._within[-1] if self._within else ""
        sampled = not self._replays and within_package("torch.distributions")
        self._marked[id(result)] = (weakref.ref(result), Cut(what, where, within, sampled=sampled))

    def _held(self, given: Any) -> Any:
        return tree_map(self._held_one, given)

    def _held_one(self, tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor) or tensor.requires_grad or not self._is_marked(tensor):
            return tensor
        cut = self._marked[id(tensor)][1]
        if not self._replays and cut.sampled and self._is_scored(tensor):
            cut = cut._replace(scored=True)
        return self._passed(tensor, cut, lambda value: value.detach().clone(), _as_it_is)

    def _number(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        if self._replays:
            return self._passed(result, None, _as_it_is, _copied)
        known = self._marked.get(id(args[0]))
        spelled = {"__float__": "float()", "__int__": "int()", "__array__": "np.asarray()"}.get(name, f"{name}()")
        cut = Cut(spelled, place_of(_INSIDE), self._within[-1] if self._within else "", number=True)
        if known is not None and self._is_marked(args[0]) and known[1].sampled:
            cut = cut._replace(sampled=True)
        return self._passed(result, cut, _copied, _copied)

    def _passed(self, value: Any, cut: Cut | None, keep: Callable[[Any], Any], give: Callable[[Any], Any]) -> Any:
        """The value is recorded, or the one that was recorded here is given in its place."""
        if not self._replays:
            assert cut is not None
            self._values.append(keep(value))
            self._sources.append(cut)
            return value
        index, self._next = self._next, self._next + 1
        if index >= len(self._values):
            self.broken = True
            return value
        if self._sources[index] in self._free:
            return value
        kept = self._values[index]
        if getattr(kept, "shape", None) != getattr(value, "shape", None):  # Python's numbers have none
            self.broken = True
            return value
        return _changed(kept) if self._sources[index] == self._nudged_cut else give(kept)

    def _written(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A trained parameter changed in place with no gradient: by as much as it was in the recording."""
        parameter = self._base(args[0])
        assert parameter is not None
        if self._replays:
            parameter.data.add_(self._passed(parameter, None, _as_it_is, _as_it_is))
            return args[0]
        with self._change_noted(parameter, "an edit in place", place_of(_INSIDE)):
            return function(*args, **kwargs)

    def _renormed(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An embedding whose rows are made shorter in place before they are looked up."""
        weight = args[1]
        if self._base(weight) is None:
            return function(*self._held(args), **kwargs)
        if self._replays:
            weight.data.add_(self._passed(weight, None, _as_it_is, _as_it_is))
            return function(*args, **{**kwargs, "max_norm": None})
        with self._change_noted(weight, "max_norm", place_of(_INSIDE)):
            return function(*args, **kwargs)

    @contextmanager
    def _change_noted(self, parameter: torch.Tensor, what: str, where: str) -> Iterator[None]:
        """What the call within changes of a parameter passes a cut."""
        before = parameter.detach().clone()
        yield
        cut = Cut(what, where, self._within[-1] if self._within else "")
        self._passed(parameter.detach() - before, cut, torch.clone, torch.clone)


class Replayable(Problem, Differentiation, Network, Training, Variants):
    """A problem whose evaluations call the user's code within `_replay`, where there is one."""

    channel_axis = 1
    _random: Randomness
    _replay: Callable[[], AbstractContextManager[None]] | None = None

    def _replaying(self) -> AbstractContextManager[None]:
        return nullcontext() if self._replay is None else self._replay()


class HeldProblem:
    """A problem with what passes its cuts held; see `backends.protocol.Held`."""

    def __init__(self, problem: Replayable, watch: HeldCuts) -> None:
        self._problem, self._watch = problem, watch
        self.problem = self._with(watch.replaying)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        return self._watch.cuts

    @property
    def broken(self) -> bool:
        return self._watch.broken

    def freed(self, *cuts: Cut) -> Problem:
        return self._with(partial(self._watch.replaying, cuts))

    def nudged(self, cut: Cut) -> Problem:
        return self._with(partial(self._watch.replaying, (), cut))

    def _with(self, replay: Callable[[], AbstractContextManager[None]]) -> Replayable:
        other = copy.copy(self._problem)
        other._replay, other.first = replay, None
        return other


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray | list) else value


def _changed(value: Any) -> Any:
    """By a thousandth."""
    if isinstance(value, list):
        return [_changed(part) for part in value]
    if isinstance(value, np.ndarray):
        return (value * (1 + _NUDGE)).astype(value.dtype) if value.dtype.kind == "f" else value.copy()
    return value * (1 + _NUDGE) if isinstance(value, float) else value


def _as_it_is(value: Any) -> Any:
    return value


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    for arg in (*args, *kwargs.values()):
        if isinstance(arg, torch.Tensor):
            yield arg
        elif isinstance(arg, list | tuple):
            yield from (part for part in arg if isinstance(part, torch.Tensor))
