"""Where a training loop passes by: backward passes, steps, clearing, clipping, scaling."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from wellposed.backends.patches import Patches


class Passed(NamedTuple):
    """What a backward pass begins at, with what it is weighted by, and the leaves that it is for; None for all."""

    roots: list[torch.Tensor]
    weights: list[torch.Tensor | None]
    inputs: list[torch.Tensor] | None


class Heard(Protocol):
    """Who hears of it."""

    def backward(self, passed: Passed, run: Callable[[], None]) -> None: ...

    def about_to_step(self, optimizer: Any) -> None: ...

    def in_step(self, begins: bool) -> None: ...

    def stepped(self, optimizer: Any) -> None: ...

    def cleared(self, thing: Any) -> None: ...

    def clipped(self, parameters: list[torch.Tensor], limit: float) -> None: ...

    def unscaled(self, optimizer: Any, scale: float) -> None: ...

    def skipped(self) -> None: ...


@contextmanager
def heard_by(ear: Heard) -> Iterator[Patches]:
    """While this lasts. Optimizers and functions that were imported by name before are heard too."""
    with Patches() as patches:
        steps = _Steps(ear)
        patches.put(torch.autograd, "backward", lambda own: _backward(own, ear))
        for owner in (torch.optim.Optimizer, nn.Module):
            patches.put(owner, "zero_grad", lambda own: _clearing(own, ear))
        for owner, name in _CLIPS:
            patches.put(owner, name, lambda own: _clipping(own, ear))
        patches.put(GradScaler, "unscale_", lambda own: _unscaling(own, ear))
        patches.put(GradScaler, "step", lambda own: _scaled_step(own, ear, steps))
        before = register_optimizer_step_pre_hook(steps.before)
        after = register_optimizer_step_post_hook(steps.after)
        try:
            yield patches
        finally:
            before.remove()
            after.remove()


_CLIPS: tuple[tuple[Any, str], ...] = (
    (torch.nn.utils.clip_grad, "_clip_grads_with_norm_"),  # which clip_grad_norm_ calls, whoever has imported it
    (torch.nn.utils.clip_grad, "clip_grad_value_"),
    (torch.nn.utils, "clip_grad_value_"),
)


class _Steps:
    """Of optimizers; one within another's, as a wrapper takes it, is not looked at."""

    def __init__(self, ear: Heard) -> None:
        self._ear, self._depth = ear, 0
        self.count = 0

    def before(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._depth += 1
        if self._depth > 1:
            return None
        self._ear.in_step(True)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if not callable(closure):
            self._about(optimizer)
            return None
        watched = self._first_watched(closure, optimizer)
        return ((args[0], watched, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": watched})

    def _first_watched(self, closure: Callable[[], Any], optimizer: Any) -> Callable[[], Any]:
        """Within a step the closure is the user's own again; after its first call the gradient is there."""
        first = True

        def watched() -> Any:
            nonlocal first
            self._ear.in_step(False)
            try:
                result = closure()
                if first:
                    first = False
                    self._about(optimizer)
            finally:
                self._ear.in_step(True)
            return result

        return watched

    def _about(self, optimizer: Any) -> None:
        """Steps that a check takes meanwhile, and that may raise, are none of the loop's."""
        depth = self._depth
        self._ear.about_to_step(optimizer)
        self._depth = depth

    def after(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if not self._depth:  # it began before anybody watched
            return
        self._depth -= 1
        if not self._depth:
            self.count += 1
            self._ear.in_step(False)
            self._ear.stepped(optimizer)


def _backward(own: Any, ear: Heard) -> Any:
    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
        roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        weights = [grad_tensors] if isinstance(grad_tensors, torch.Tensor) else list(grad_tensors or ())
        inputs = kwargs.get("inputs")
        inputs = [inputs] if isinstance(inputs, torch.Tensor) else None if inputs is None else list(inputs)
        passed = Passed(roots, weights or [None] * len(roots), inputs)
        ear.backward(passed, lambda: own(roots, weights or None, *args, **kwargs))

    return backward


def _clearing(own: Any, ear: Heard) -> Any:
    def zero_grad(this: Any, *args: Any, **kwargs: Any) -> Any:
        ear.cleared(this)
        return own(this, *args, **kwargs)

    return zero_grad


def _clipping(own: Any, ear: Heard) -> Any:
    @functools.wraps(own)
    def clip(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(own).bind(*args, **kwargs).arguments
        first, limit = list(given)[:2]
        parameters = given[first]
        if not isinstance(parameters, torch.Tensor):
            parameters = given[first] = list(parameters)  # which may be gone through once only
        ear.clipped([parameters] if isinstance(parameters, torch.Tensor) else parameters, float(given[limit]))
        return own(**given)

    return clip


def _unscaling(own: Any, ear: Heard) -> Any:
    def unscale_(scaler: Any, optimizer: Any) -> Any:
        ear.unscaled(optimizer, float(scaler.get_scale()))
        return own(scaler, optimizer)

    return unscale_


def _scaled_step(own: Any, ear: Heard, steps: _Steps) -> Any:
    def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        before = steps.count
        result = own(scaler, optimizer, *args, **kwargs)
        if scaler.is_enabled() and steps.count == before:  # the gradient was not finite
            ear.skipped()
        return result

    return step
