"""The calls of custom `autograd.Function`s in one run: what went in, and what gradient came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from wellposed.backends.torch.backward import gradients_of
from wellposed.backends.torch.leaves import detached, leaves, nodes


@dataclass
class Call:
    """One call of `function` with `inputs`; the cotangent of every output as the real backward pass brought it."""

    name: str
    where: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    cotangents: list[torch.Tensor | None] = field(default_factory=list)


def custom_calls(model: nn.Module, loss: Callable[[], torch.Tensor]) -> list[Call]:
    """Runs the loss forwards and backwards, and once more where its graph holds custom functions."""
    functions = functions_in(loss())
    if not functions:
        return []
    calls: list[Call] = []
    with module_names(model) as within, _recorded(functions, within, calls):
        value = loss()
        gradients_of(value, leaves(value))
    return calls


def reverses(call: Call) -> bool:
    """Whether a call passes its one trained input on as it is, and a negative multiple of the gradient back."""
    (given,) = (one for one in call.inputs if isinstance(one, torch.Tensor) and one.requires_grad)
    back = call.cotangents[0]
    made = call.function(*call.inputs)
    if len(call.cotangents) != 1 or back is None or not isinstance(made, torch.Tensor) or not torch.equal(made, given):
        return False
    (gradient,) = torch.autograd.grad(made, given, back)
    factor = float((gradient * back).sum() / back.square().sum())
    return factor < 0 and torch.allclose(gradient, factor * back, rtol=1e-5, atol=0.0)


def functions_in(loss: torch.Tensor) -> set[type]:
    """The custom functions whose nodes are in the graph, but for those that bring shards together."""
    found = {owner for node in nodes(loss) if (owner := getattr(type(node), "_forward_cls", None)) is not None}
    return {function for function in found if not function.__module__.startswith("torch.distributed.")}


@contextmanager
def module_names(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules that are running, innermost last."""
    running: list[str] = []
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
            continue
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        handles.append(module.register_forward_hook(lambda *_: _left(running), always_call=True))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


def _left(running: list[str]) -> None:
    running.pop()


@contextmanager
def _recorded(functions: set[type], within: list[str], calls: list[Call]) -> Iterator[None]:
    """While this lasts, `forward` and `backward` of each function note what they are given."""
    with patched(functions):
        for function in functions:
            _watch(function, within, calls)
        yield


@contextmanager
def patched(functions: set[type]) -> Iterator[None]:
    """What becomes of the methods of custom functions is put back; `apply` may have been taken before."""
    own = {
        function: {name: vars(function).get(name) for name in ("forward", "backward", "setup_context")}
        for function in functions
    }
    try:
        yield
    finally:
        for function, methods in own.items():
            for name, method in methods.items():
                if method is not None:
                    setattr(function, name, method)
                elif name in vars(function):
                    delattr(function, name)


def _watch(function: Any, within: list[str], calls: list[Call]) -> None:
    forward, backward, setup = function.forward, function.backward, function.setup_context
    separate = setup is not torch.autograd.Function.setup_context  # forward then gets no context
    of_context: dict[int, Call] = {}

    def noted(context: Any, arguments: tuple[Any, ...]) -> None:
        call = Call(
            f"{function.__name__}.backward",
            within[-1] if within else "",
            function.apply,
            tuple(map(detached, arguments)),
        )
        calls.append(call)
        of_context[id(context)] = call

    def forwards(context: Any, *arguments: Any, **named: Any) -> Any:
        if not named:
            noted(context, arguments)
        return forward(context, *arguments, **named)

    def set_up(context: Any, inputs: Any, output: Any) -> Any:
        noted(context, tuple(inputs))
        return setup(context, inputs, output)

    def backwards(context: Any, *cotangents: Any) -> Any:
        if id(context) in of_context:
            of_context[id(context)].cotangents = [None if g is None else g.detach().clone() for g in cotangents]
        return backward(context, *cotangents)

    if separate:
        function.setup_context = staticmethod(set_up)
    else:
        function.forward = staticmethod(forwards)
    function.backward = staticmethod(backwards)
