"""A torch model's state, kept and put back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from wellposed.backends.randomness import generators_restored


@contextmanager
def torch_generators_restored() -> Iterator[None]:
    """The generators of Python, NumPy and torch (every device in use) come out as they went in."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with generators_restored(), torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def buffers_restored(model: nn.Module) -> Iterator[None]:
    """BatchNorm statistics, power-iteration vectors and the like: the same tensors with the same bits."""
    kept = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, bits in kept:
                if buffer is not None and bits is not None:
                    buffer.copy_(bits)
                module._buffers[name] = buffer


@contextmanager
def model_restored(model: nn.Module) -> Iterator[None]:
    """Parameters, their gradients, buffers and train/eval modes: the same objects with the same bits."""
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(parameter, parameter.detach().clone(), parameter.grad, _bits(parameter.grad)) for parameter in model.parameters()]
    try:
        with buffers_restored(model), torch_generators_restored():
            yield
    finally:
        with torch.no_grad():
            for parameter, bits, gradient, gradient_bits in parameters:
                parameter.copy_(bits)
                parameter.grad = gradient
                if gradient is not None and gradient_bits is not None:
                    gradient.copy_(gradient_bits)
        for module, training in modes:
            module.training = training


def _bits(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.detach().clone()
