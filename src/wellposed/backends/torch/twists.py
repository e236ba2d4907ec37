"""What is done otherwise while a function runs forward and backward, to see what an error comes from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from wellposed.backends.patches import Patches
from wellposed.backends.ways import Twist


@contextmanager
def without_cast_cache() -> Iterator[None]:
    was = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(was)


@contextmanager
def saved_by(keep: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """What the backward pass needs is kept as `keep` gives it back."""
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda packed: packed):
        yield


@contextmanager
def passed_through(
    given: Callable[[torch.Tensor], torch.Tensor], incoming: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Custom functions get what `given` makes of their inputs, and `incoming` of the gradients of their outputs."""

    def of_strided(change: Callable[[torch.Tensor], torch.Tensor], thing: Any) -> Any:
        return change(thing) if isinstance(thing, torch.Tensor) and thing.layout is torch.strided else thing

    def listening(thing: Any) -> Any:
        if isinstance(thing, torch.Tensor) and thing.requires_grad:
            thing.register_hook(functools.partial(of_strided, incoming))
        return thing

    def custom(own: Any) -> Any:
        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            args, kwargs = tree_map(functools.partial(of_strided, given), (args, kwargs))
            return tree_map(listening, own.__get__(None, cls)(*args, **kwargs))

        return classmethod(apply)

    with Patches() as patches:
        patches.put(torch.autograd.Function, "apply", custom)
        yield


def in_one_piece(tensor: torch.Tensor) -> torch.Tensor:
    """A copy."""
    return tensor.clone(memory_format=torch.contiguous_format)


@contextmanager
def within(twist: Twist) -> Iterator[None]:
    """What is done otherwise while a way is gone, forward and backward."""
    if twist == "no-cast-cache":
        with without_cast_cache():
            yield
    elif twist == "kept":
        with saved_by(torch.Tensor.clone), passed_through(lambda tensor: tensor, torch.Tensor.clone):
            yield
    elif twist == "contiguous":
        with passed_through(torch.Tensor.contiguous, in_one_piece):
            yield
    else:
        yield


class Draws(TorchDispatchMode):
    """`seen`: whether anything within drew random numbers."""

    seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen |= torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))
