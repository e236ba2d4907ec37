"""A torch model's state, kept and put back bit for bit."""

from __future__ import annotations

import sys
import warnings
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
def attributes_restored(*modules: Any) -> Iterator[None]:
    """What modules keep, as caches, counters, lists and parts made within: the same objects, with the same contents."""
    owned = {id(part): part for owner in modules for part in owner.modules()}.values()
    kept = [(vars(part), {name: (value, _contents(value)) for name, value in vars(part).items()}) for part in owned]
    try:
        yield
    finally:
        for attributes, before in kept:
            for name in attributes.keys() - before.keys():
                del attributes[name]
            for name, (value, contents) in before.items():
                _refill(value, contents)
                if attributes.get(name, _NOTHING) is not value:
                    attributes[name] = value


_NOTHING = object()


def _contents(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, dict | list | set) else None


def _refill(value: Any, contents: Any) -> None:
    if isinstance(value, torch.Tensor):
        if not torch.equal(value.detach(), contents):
            value.data.copy_(contents)
    elif isinstance(value, list):
        value[:] = contents
    elif isinstance(value, dict | set):
        value.clear()
        value.update(contents)
