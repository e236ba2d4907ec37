"""Backward passes of custom `autograd.Function`s replaced by what autograd makes of their forward passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wellposed.backends.torch.leaves import detached
from wellposed.backends.torch.tracing.calls import functions_in, patched


@contextmanager
def differentiated_by_autograd(loss: Callable[[], torch.Tensor], names: Collection[str]) -> Iterator[None]:
    """While this lasts, the functions of these names in the graph of the loss pass back what autograd makes of their
    forward pass, run again. What autograd cannot follow (NumPy, `.data`, kernels) comes out wrong or raises: whether it
    is right is for the caller to measure.
    """
    functions = {function for function in functions_in(loss()) if f"{function.__name__}.backward" in names}
    with patched(functions):
        for function in functions:
            _replace(function)
        yield


def _replace(function: Any) -> None:
    forward, setup = function.forward, function.setup_context
    separate = setup is not torch.autograd.Function.setup_context  # forward then gets no context
    given: dict[int, tuple[Any, ...]] = {}

    def forwards(context: Any, *arguments: Any) -> Any:
        given[id(context)] = tuple(map(detached, arguments))
        return forward(context, *arguments)

    def set_up(context: Any, inputs: Any, output: Any) -> Any:
        given[id(context)] = tuple(map(detached, inputs))
        return setup(context, inputs, output)

    def backwards(context: Any, *cotangents: Any) -> Any:
        arguments = given[id(context)]
        with torch.enable_grad():
            made = forward(*arguments) if separate else forward(_Context(arguments), *arguments)
        outputs = made if isinstance(made, tuple) else (made,)
        pairs = [(out, g) for out, g in zip(outputs, cotangents, strict=True) if _carries(out) and g is not None]
        moving = [argument for argument in arguments if _carries(argument)]
        found: Any = [None] * len(moving)
        if pairs and moving:
            results, weights = zip(*pairs, strict=True)
            found = torch.autograd.grad(results, moving, weights, allow_unused=True)
        each = iter(found)
        return tuple(next(each) if _carries(argument) else None for argument in arguments)

    if separate:
        function.setup_context = staticmethod(set_up)
    else:
        function.forward = staticmethod(forwards)
    function.backward = staticmethod(backwards)


def _carries(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


class _Context:
    """Takes what a forward pass leaves for a backward pass that is not asked."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(map(_carries, arguments))
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Any) -> None: ...

    def mark_non_differentiable(self, *tensors: Any) -> None: ...

    def set_materialize_grads(self, value: bool) -> None: ...
