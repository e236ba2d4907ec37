"""The calls of custom `autograd.Function`s in one run: what went in, and what gradient came back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


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
    functions = _functions(loss())
    if not functions:
        return []
    calls: list[Call] = []
    with module_names(model) as within, _recorded(functions, within, calls):
        value = loss()
    needed = [p for p in _leaves(value) if p.requires_grad]
    torch.autograd.grad(value, needed, allow_unused=True)  # the hooks on the outputs note what comes back
    return calls


def _functions(loss: torch.Tensor) -> set[type]:
    """The custom functions whose nodes are in the graph."""
    waiting, seen, found = [loss.grad_fn], set(), set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        owner = getattr(type(node), "_forward_cls", None)
        if owner is not None:
            found.add(owner)
        waiting += [parent for parent, _ in node.next_functions]
    return found


def _leaves(loss: torch.Tensor) -> list[torch.Tensor]:
    waiting, seen, found = [loss.grad_fn], set(), []
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [parent for parent, _ in node.next_functions]
    return found


@contextmanager
def module_names(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules that are running, innermost last."""
    running: list[str] = []
    handles = []
    for name, module in model.named_modules():
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
    """While this lasts, `apply` of each function notes its calls."""
    own = {function: vars(function).get("apply") for function in functions}
    try:
        for function in functions:
            _replace(function, within, calls)
        yield
    finally:
        for function, apply in own.items():
            if apply is None:
                del function.apply  # type: ignore[attr-defined]
            else:
                function.apply = apply  # type: ignore[attr-defined]


def _replace(function: Any, within: list[str], calls: list[Call]) -> None:
    original = function.apply

    def noted(*args: Any, **kwargs: Any) -> Any:
        returned = original(*args, **kwargs)
        outputs = [out for out in (returned if isinstance(returned, tuple) else (returned,)) if isinstance(out, torch.Tensor)]
        call = Call(
            f"{function.__name__}.backward", within[-1] if within else "", original, tuple(map(_copied, args)), [None] * len(outputs)
        )
        if not kwargs:
            calls.append(call)
            for number, output in enumerate(outputs):
                if output.requires_grad:
                    output.register_hook(lambda gradient, number=number: _note(call, number, gradient))
        return returned

    function.apply = staticmethod(noted)


def _note(call: Call, number: int, gradient: torch.Tensor) -> None:
    call.cotangents[number] = gradient.detach().clone()


def _copied(argument: Any) -> Any:
    return argument.detach().clone().requires_grad_(argument.requires_grad) if isinstance(argument, torch.Tensor) else argument
