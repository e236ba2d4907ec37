"""Calls that a recording takes whole: modules, custom functions, functional calls, data loaders."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch._functorch.apis
import torch._functorch.eager_transforms
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from wellposed.backends.patches import Patches
from wellposed.backends.torch.watching.record import Record


class Told(Protocol):
    """Who hears of what happens."""

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module was called, by no other one."""

    def fetched(self, iterator: Any) -> None:
        """A loader's iterator gave a batch."""


@contextmanager
def calls_taken_whole(record: Record, told: Told) -> Iterator[None]:
    """While this lasts, these calls are noted as one each; what happens within them is not looked at."""
    process = os.getpid()
    patches = Patches()

    def watched() -> bool:  # a compiler sees no watcher
        return not torch.compiler.is_compiling() and not record.paused and os.getpid() == process

    def module(own: Any) -> Any:
        @functools.wraps(own)
        def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not watched():
                return own(self, *args, **kwargs)
            told.called(self, args, kwargs)
            with patches.lifted(nn.Module, "__call__"):  # a compiler may look at what it calls
                return record.whole(functools.partial(own, self), self, args, kwargs)

        return call

    def custom(own: Any) -> Any:
        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            bound = own.__get__(None, cls)
            return record.whole(bound, _Applied(cls), args, kwargs) if watched() else bound(*args, **kwargs)

        return classmethod(apply)

    def plain(own: Any) -> Any:
        @functools.wraps(own)
        def call(*args: Any, **kwargs: Any) -> Any:
            return record.whole(own, own, args, kwargs) if watched() else own(*args, **kwargs)

        return call

    def data(own: Any) -> Any:
        @functools.wraps(own)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not watched():
                return own(self, *args, **kwargs)
            with record.off():
                made = own(self, *args, **kwargs)
            told.fetched(self)
            return made

        return call

    with patches:
        patches.put(nn.Module, "__call__", module)
        patches.put(torch.autograd.Function, "apply", custom)
        patches.put(torch.nn.utils.stateless, "_functional_call", plain)
        patches.put(torch, "compile", lambda own: _compiling(own, plain))
        for owner, name in _TRANSFORMS:
            patches.put(owner, name, plain)
        patches.put(DataLoader, "__iter__", data)
        patches.put(_BaseDataLoaderIter, "__next__", data)
        yield


_TRANSFORMS: tuple[tuple[Any, str], ...] = (
    (torch._functorch.apis, "vmap_impl"),
    (torch._functorch.eager_transforms, "grad_impl"),
    (torch._functorch.eager_transforms, "grad_and_value_impl"),
)
"""What `torch.func.vmap`, `grad` and `grad_and_value` come down to, whoever has imported them."""


def _compiling(own: Any, plain: Callable[[Any], Any]) -> Any:
    """Functions that are compiled are taken whole; a compiled module is one."""

    @functools.wraps(own)
    def compile_(model: Any = None, **options: Any) -> Any:
        if model is None:
            return lambda given: compile_(given, **options)
        made = own(model, **options)
        return made if isinstance(model, nn.Module) else functools.wraps(model)(plain(made))

    return compile_


class _Applied:
    """A custom function, to be applied again."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function.apply(*args, **kwargs)
