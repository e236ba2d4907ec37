"""The same problem with other arguments for its loss function: scores in place of what an activation made of them,
another shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.objective import DIFFERENCES, ENDINGS, LOSSES, PASSING
from wellposed.backends.torch.tracing.function_mode import Watcher

Route = Literal["scores", "logits", "shape", "classes"]
_LOGITS: dict[str, Callable[..., Any]] = {
    "nll_loss": functional.cross_entropy, "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
}  # fmt: skip


class Rerouted:
    """A loss of the model alone, over the batch.

    "scores": the loss function gets what the last activation or softmax was given. "logits": it is the one that takes
    scores in place of probabilities. "shape": targets get the shape of the outputs, where they have as many entries.
    "classes": targets become class indices from 0 on.
    """

    def __init__(self, loss: Callable[..., Any], batch: Any, route: Route) -> None:
        self.loss, self.batch, self.route = loss, batch, route

    def __call__(self, model: nn.Module) -> Any:
        inputs, targets = self.batch
        with _Route(self.route):
            return self.loss(forward(model, inputs), targets)


class _Route(Watcher):
    def __init__(self, route: Route) -> None:
        super().__init__()
        self._route = route
        self._before: dict[
            int, tuple[torch.Tensor, torch.Tensor]
        ] = {}  # by the id of a tensor: itself, and what it was made of

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in LOSSES and len(args) > 1:
            return self._called(name, function, args, kwargs)
        if self._route == "shape" and name in DIFFERENCES and all(isinstance(one, torch.Tensor) for one in args[:2]):
            one, other = args[:2]
            if one.numel() == other.numel() and one.shape != other.shape:
                return function(one, other.reshape(one.shape), *args[2:], **kwargs)
        result = function(*args, **kwargs)
        first = args[0] if args else None
        if self._route == "scores" and isinstance(result, torch.Tensor) and isinstance(first, torch.Tensor):
            known, before = self._before.get(id(first), (None, first))
            before = before if known is first else first
            if name in ENDINGS:
                self._before[id(result)] = (result, before)
            elif name in PASSING and known is first:
                self._before[id(result)] = (result, function(before, *args[1:], **kwargs))
        return result

    def _called(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs, targets, *rest = args
        if self._route == "scores":
            known, before = self._before.get(id(outputs), (None, outputs))
            outputs = before if known is outputs else outputs
        elif self._route == "logits" and name in _LOGITS:
            if name == "nll_loss" and bool((outputs >= 0).all()):
                outputs = outputs.log()
            function = _LOGITS[name]
        elif self._route == "shape" and targets.numel() == outputs.numel():
            targets = targets.reshape(outputs.shape)
        elif self._route == "classes" and name in ("cross_entropy", "nll_loss"):
            targets = indices(outputs, targets)
        return function(outputs, targets, *rest, **kwargs)


def indices(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Class indices from 0 on, of one-hot rows, real numbers, indices from 1 on, or as few values (0 and 192) as there
    are classes.
    """
    found = targets.argmax(1) if targets.dim() > 1 and targets.shape == outputs.shape else targets.long()
    classes = outputs.shape[1]
    if bool(found.min() == 1) and bool(found.max() == classes):
        return found - 1
    if bool(found.max() >= classes):
        values, places = torch.unique(found, return_inverse=True)
        return places if len(values) <= classes else found
    return found
