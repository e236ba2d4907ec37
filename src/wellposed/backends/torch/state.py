"""A torch model's state, kept and put back bit for bit."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from wellposed.backends.randomness import Generator, Randomness
from wellposed.backends.torch.shards import in_shards, shards_at

TORCH = "torch's generator"


def torch_generators() -> tuple[Generator, ...]:
    """Those of the CPU and of every CUDA device in use."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    cuda = (Generator(TORCH, partial(torch.cuda.get_rng_state, device), partial(_set_on, device)) for device in devices)
    return (Generator(TORCH, torch.get_rng_state, torch.set_rng_state), *cuda)


def _set_on(device: int, state: torch.Tensor) -> None:
    torch.cuda.set_rng_state(state, device)


@contextmanager
def buffers_lent(*modules: Any) -> Iterator[None]:
    """BatchNorm statistics and the like are copies within; outside, the same tensors with the same bits, never written
    to.
    """
    kept = [
        (module, name, buffer)
        for owner in modules
        if isinstance(owner, nn.Module)
        for module in owner.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        for module, name, buffer in kept:
            module._buffers[name] = None if buffer is None else buffer.detach().clone()
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


@contextmanager
def parameters_at(values: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """Parameters with other data within; outside, their own data, never written to (so graphs that hold them stay
    valid). What lies in shards is written to and put back, as its owner knows the memory.
    """
    lent = [(parameter, value) for parameter, value in values if not in_shards(parameter)]
    own = [(parameter, parameter.data) for parameter, _ in lent]
    with shards_at([(parameter, value) for parameter, value in values if in_shards(parameter)]):
        try:
            for parameter, value in lent:
                parameter.data = value
            yield
        finally:
            for parameter, data in own:
                parameter.data = data


@contextmanager
def power_iteration_stopped(model: nn.Module) -> Iterator[None]:
    """Spectral normalisation with its vectors as they are: in training mode they move with the weight, by design
    without gradient.
    """
    moving = [m for m in model.modules() if type(m).__name__ == "_SpectralNorm" and m.training]
    try:
        for module in moving:
            module.training = False
        yield
    finally:
        for module in moving:
            module.training = True


@contextmanager
def model_restored(*modules: Any) -> Iterator[None]:
    """Gradients, buffers, modes and generators: whatever the user's code does within, they are the same with the same
    bits after.

    Within, parameters have no gradient that code could write to.
    """
    owned = [module for owner in modules if isinstance(owner, nn.Module) for module in owner.modules()]
    modes = [(module, module.training) for module in owned]
    parameters = {id(p): p for module in owned for p in module._parameters.values() if p is not None}.values()
    gradients = [(parameter, parameter.grad) for parameter in parameters]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        with buffers_lent(*modules), Randomness(*torch_generators()).fixed():
            yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, training in modes:
            module.training = training


@contextmanager
def uncompiled() -> Iterator[None]:
    """What torch.compile has made runs as it was written: a compiled model is measured through its original."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):  # nothing is compiled
        yield
        return
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.filterwarnings("ignore", "Using `torch.compile.module.`", UserWarning)  # beside hooks on every module
        yield


@contextmanager
def modes_restored() -> Iterator[None]:
    """What a forward pass may set for the whole process: grad mode, default dtype, what watches torch, warnings and the
    like.
    """
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    watching = [torch._C._get_function_stack_at(index) for index in range(torch._C._len_torch_function_stack())]
    exact, only_warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with np.errstate(), warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_grad_enabled(grad)
            if torch.are_deterministic_algorithms_enabled() != exact:
                torch.use_deterministic_algorithms(exact, warn_only=only_warned)
            if torch.get_default_dtype() is not dtype:
                torch.set_default_dtype(dtype)
            while torch._C._len_torch_function_stack() > len(watching):
                torch._C._pop_torch_function_stack()
            for mode in watching[torch._C._len_torch_function_stack() :]:
                torch._C._push_on_torch_function_stack(mode)


@contextmanager
def flags_restored(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Whether leaves require a gradient, and which they hold."""
    kept = [(tensor, tensor.requires_grad, tensor.grad) for tensor in tensors if tensor.is_leaf]
    try:
        yield
    finally:
        for tensor, requires, gradient in kept:
            if tensor.is_leaf and tensor.requires_grad != requires:
                tensor.requires_grad_(requires)
            if tensor.grad is not gradient:
                tensor.grad = gradient


@contextmanager
def gradients_restored(parameters: Iterable[torch.Tensor]) -> Iterator[None]:
    """With their bits: what runs within may write to them, as a wrapper that holds gradients in memory of its own
    does.
    """
    kept = [
        (parameter, parameter.grad, None if parameter.grad is None else parameter.grad.detach().clone())
        for parameter in parameters
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, gradient, bits in kept:
                parameter.grad = gradient
                if gradient is not None and bits is not None and not torch.equal(gradient, bits):
                    gradient.copy_(bits)


@contextmanager
def versions_restored(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """What is written to them within counts as no change: graphs of the user's that hold them stay valid. Their numbers
    must be the same after.
    """
    with ExitStack() as kept:
        for tensor in tensors:
            kept.enter_context(_unsafe_preserve_version_counter(tensor))
        yield


@contextmanager
def attributes_restored(*owners: Any) -> Iterator[None]:
    """What objects keep as attributes, and containers hold, as caches, counters, lists and parts made within: the same
    objects, with the same contents, however deep. An owner is a module, another object or a container.
    """
    found = list(_kept(owners))
    kept = [(thing, _contents(thing)) for thing in found]
    try:
        yield
    finally:
        for thing, contents in kept:
            _refill(thing, contents)


def _kept(things: Iterable[Any]) -> Iterator[Any]:
    """What can change: attributes of modules and of the owners, containers and tensors that are no parameters."""
    seen: dict[int, Any] = {}
    waiting = [(thing, True) for thing in things]
    while waiting:
        thing, owner = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, torch.Tensor):
            foreign = isinstance(thing, nn.Parameter) or thing.is_meta or thing.is_nested or in_shards(thing)
            if not foreign and thing.numel() <= _MOST_ENTRIES:
                yield thing
        elif isinstance(thing, list | set | dict | deque):
            yield thing
            parts = list(thing.values()) if isinstance(thing, dict) else list(thing)
            if len(parts) <= _MOST_ITEMS:  # a longer one is data
                waiting += [(part, False) for part in parts]
        elif (owner or isinstance(thing, nn.Module)) and hasattr(thing, "__dict__"):
            waiting.append((vars(thing), False))


_MOST_ITEMS = 10_000
_MOST_ENTRIES = 1 << 24  # of a tensor: a larger one is a data set, which a copy of would not fit beside


def _contents(thing: Any) -> Any:
    return thing.detach().clone() if isinstance(thing, torch.Tensor) else thing.copy()


def _refill(thing: Any, contents: Any) -> None:
    if isinstance(thing, torch.Tensor):
        if not torch.equal(thing.detach(), contents):
            thing.data.copy_(contents)
    elif isinstance(thing, list | deque):
        thing.clear()
        thing.extend(contents)
    elif isinstance(thing, set) or not _same_items(thing, contents):  # what is written to is compiled anew
        thing.clear()
        thing.update(contents)


def _same_items(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    pairs = zip(one.items(), other.items(), strict=True)
    return len(one) == len(other) and all(key is k and value is v for (key, value), (k, v) in pairs)
