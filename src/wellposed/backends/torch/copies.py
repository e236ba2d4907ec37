"""Copies of the user's objects, to be changed and thrown away: each copy knows the others, and none of the
originals.
"""

from __future__ import annotations

import copy
import functools
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from wellposed.backends.closures import foreign, mutable_variables, named_globals, reachable
from wellposed.backends.torch.state import parameters_at

Change = Callable[[torch.Tensor], torch.Tensor]
_MOST_ITEMS = 10_000  # items of a container that is copied: a longer one is a data set, and shared
_OF_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that was made at run time
_CONTAINERS = (list, dict, OrderedDict, defaultdict, set, frozenset, tuple, deque)


def copy_together(*things: Any, change: Change = torch.clone, shared: Sequence[Any] = ()) -> tuple[Any, ...]:
    """The things, copied together. `change` makes the data of each tensor's copy; what is `shared` is not copied.

    Copied are modules, tensors, arrays, containers, objects of Python classes, and functions that close over any of
    these or name them as globals; everything else (locks, files, generators of random numbers) is shared. A class's own
    `__deepcopy__` is respected.
    """
    copies = _Copies(change, shared)
    return tuple(copies.of(thing) for thing in things)


class _Copies:
    def __init__(self, change: Change, shared: Sequence[Any]) -> None:
        self._change = change
        self._made: dict[int, Any] = {id(thing): thing for thing in shared}
        self._originals: list[Any] = []  # kept, so that no other object gets the identity of one
        self._bound: dict[int, bool] = {}

    def of(self, thing: Any) -> Any:
        if thing is None or isinstance(
            thing, bool | int | float | complex | str | bytes | type | types.ModuleType | torch.dtype | torch.device
        ):
            return thing
        if id(thing) in self._made:
            return self._made[id(thing)]
        return self._known(thing, self._copy(thing))

    def _known(self, thing: Any, made: Any) -> Any:
        self._originals.append(thing)
        self._made[id(thing)] = made
        return made

    def _copy(self, thing: Any) -> Any:
        if isinstance(thing, torch.Tensor):
            return self._tensor(thing)
        if isinstance(thing, np.ndarray):
            return thing.copy() if type(thing) is np.ndarray and thing.dtype.kind != "O" else thing
        if type(thing) in _CONTAINERS or (_named_tuple(thing)):
            return thing if len(thing) > _MOST_ITEMS else self._container(thing)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, types.MethodType):
            return types.MethodType(self.of(thing.__func__), self.of(thing.__self__))
        if isinstance(thing, functools.partial):
            return functools.partial(self.of(thing.func), *self.of(thing.args), **self.of(thing.keywords))
        if isinstance(thing, weakref.ReferenceType) or type(thing) in weakref.ProxyTypes:
            return thing
        return self._object(thing)

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if type(tensor) not in (torch.Tensor, nn.Parameter, nn.Buffer):
            return copy.deepcopy(tensor)
        with torch.no_grad():
            data = self._change(tensor.detach())
        made: torch.Tensor = nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data
        if tensor.is_leaf and tensor.requires_grad and not isinstance(tensor, nn.Parameter):
            made.requires_grad_()
        self._known(tensor, made)
        vars(made).update({key: self.of(value) for key, value in vars(tensor).items()})
        for hook in (tensor._backward_hooks or {}).values():
            if made.requires_grad:
                made.register_hook(self.of(hook))
        for hook in (getattr(tensor, "_post_accumulate_grad_hooks", None) or {}).values():
            made.register_post_accumulate_grad_hook(self.of(hook))
        return made

    def _container(self, thing: Any) -> Any:
        if isinstance(thing, tuple):
            parts = [self.of(part) for part in thing]
            return type(thing)(*parts) if _named_tuple(thing) else tuple(parts)
        if isinstance(thing, dict):
            made = self._known(
                thing, defaultdict(thing.default_factory) if isinstance(thing, defaultdict) else type(thing)()
            )
            made.update({self.of(key): self.of(value) for key, value in thing.items()})
        elif isinstance(thing, frozenset):
            return frozenset(self.of(part) for part in thing)
        else:
            made = self._known(thing, deque(maxlen=thing.maxlen) if isinstance(thing, deque) else type(thing)())
            (made.update if isinstance(thing, set) else made.extend)([self.of(part) for part in thing])
        return made

    def _function(self, function: types.FunctionType) -> Any:
        """Itself, unless it reaches something that is copied."""
        if foreign(function) or not self._binds(function):
            return function
        names = [
            name
            for name in named_globals(function)
            if isinstance(function.__globals__[name], list | dict | set | deque)
            or self._binds(function.__globals__[name])
        ]
        scope = dict(function.__globals__) if names else function.__globals__
        cells = tuple(
            self._made.get(id(cell)) or self._known(cell, types.CellType()) for cell in function.__closure__ or ()
        )
        made = types.FunctionType(function.__code__, scope, function.__name__, None, cells)
        self._known(function, made)
        made.__qualname__, made.__module__ = function.__qualname__, function.__module__
        made.__defaults__, made.__kwdefaults__ = self.of(function.__defaults__), self.of(function.__kwdefaults__)
        vars(made).update({key: self.of(value) for key, value in vars(function).items()})
        scope.update({name: self.of(function.__globals__[name]) for name in names})
        for cell, other in zip(function.__closure__ or (), cells, strict=True):
            try:
                other.cell_contents = self.of(cell.cell_contents)
            except ValueError:  # a variable that has no value yet
                continue
        return made

    def _binds(self, thing: Any) -> bool:
        """Whether it is, or reaches, something whose copy another copy may know, or that is written to."""
        if id(thing) not in self._bound:
            found = any(
                isinstance(part, nn.Module | torch.Tensor)
                or (isinstance(part, types.FunctionType) and not foreign(part) and bool(mutable_variables(part)))
                for _, part in (("", thing), *reachable(thing))
            )
            self._originals.append(thing)
            self._bound[id(thing)] = found
        return self._bound[id(thing)]

    def _object(self, thing: Any) -> Any:
        kind = type(thing)
        if isinstance(thing, DistributedDataParallel):
            raise TypeError("a module that is spread over processes cannot be copied")
        if isinstance(thing, DataLoader | Dataset):  # as a trainer has them, that a model knows
            return thing
        if hasattr(kind, "__deepcopy__"):
            made = copy.deepcopy(thing, {})
            return made._apply(self._change) if isinstance(made, nn.Module) and made is not thing else made
        held = getattr(thing, "__dict__", None)  # not every object has attributes of its own
        plain = (
            vars(kind).get("__new__", kind.__new__) is object.__new__
            and bool(kind.__flags__ & _OF_PYTHON)  # code that is run by exec says it is of builtins
            and isinstance(held, dict)
        )
        if not plain or not (isinstance(thing, nn.Module | torch.optim.Optimizer) or self._binds(thing)):
            return thing
        made = self._known(thing, object.__new__(kind))
        for key, value in list((held or {}).items()):
            if isinstance(thing, torch.optim.Optimizer) and callable(value):
                continue  # a schedule's wrapper of `step` is bound to the user's own optimizer
            vars(made)[key] = None if key == "_compiled_call_impl" else self.of(value)
        if (
            kind.__name__ == "OptimizedModule"
        ):  # what torch.compile made (its class takes seconds to import): the eager original is as good
            vars(made)["forward"] = made._orig_mod.__call__
        return made


@contextmanager
def originals_gone(parameters: Sequence[torch.Tensor]) -> Iterator[None]:
    """Within it the originals are NaN: a copy that still uses one of them shows it. No memory is needed for that."""
    real = [p for p in parameters if p.dtype.is_floating_point]
    nothing = [(p, torch.full((), torch.nan, dtype=p.dtype, device=p.device).expand(p.shape)) for p in real]
    with parameters_at(nothing):
        yield


def _named_tuple(thing: Any) -> bool:
    return isinstance(thing, tuple) and hasattr(thing, "_fields")
