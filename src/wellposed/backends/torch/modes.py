"""What depends on the mode that a model is in: batch normalisation and dropout, seen in one pass as it is and one in
evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from wellposed.backends.lines import find_caller
from wellposed.backends.structure.shown import Modes, Statistics
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.tracing.function_mode import Watcher

_DROPOUT = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
_ATTENTION = "scaled_dot_product_attention"


def modes_of(model: nn.Module, run: Callable[[], Any]) -> Modes:
    """`run` is a pass through the model, which is left in evaluation mode."""
    training, wholly = model.training, all(module.training for module in model.modules())  # a part may be frozen
    here = _Dropouts()
    with torch.no_grad(), _statistics(model) as found, here:
        run()
    in_use = _Dropouts()
    model.eval()
    with torch.no_grad(), suppress(Exception), in_use:  # in a mode that it may not be made for
        run()
    passive = tuple(here.passive) if wholly else ()
    return Modes(training, tuple(found), tuple(in_use.active), passive)


@contextmanager
def _statistics(model: nn.Module) -> Iterator[list[Statistics]]:
    trains = any(parameter.requires_grad for parameter in model.parameters())
    found: list[Statistics] = []
    seen: set[str] = set()

    def note(module: Any, inputs: tuple[Any, ...], name: str) -> None:
        if name in seen or not inputs or not isinstance(inputs[0], torch.Tensor) or not trains:
            return
        seen.add(name)
        x = inputs[0].detach()
        if x.dim() < 2 or not x.is_floating_point():
            return
        found.append(_of(module, x, name))

    handles = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: note(module, inputs, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _of(module: Any, x: torch.Tensor, name: str) -> Statistics:
    values = x.double().transpose(0, 1).flatten(1)
    mean, variance = values.mean(1), values.var(1, correction=0)
    running = module.running_mean is not None and module.running_var is not None
    center = module.running_mean.double() if running else torch.zeros_like(mean)
    spread = module.running_var.double() if running else torch.ones_like(variance)
    untouched = running and not bool(module.running_mean.any()) and bool((module.running_var == 1).all())
    offset = float(((mean - center).abs() / spread.sqrt().clamp(min=1e-12)).max())
    over = (variance / spread.clamp(min=1e-12)).clamp(min=1e-12)
    ratio = float(torch.maximum(over, 1 / over).max())
    uses_batch = module.training or not running
    return Statistics(name, uses_batch, untouched, offset, ratio, values.shape[1], x.shape[0], module.momentum)


def apart_in(model: nn.Module, inputs: Any) -> float:
    """How far outputs by the running statistics are from those by the batch's own, over how far examples are apart; no
    dropout is active. The model is left in neither mode.
    """
    made = []
    model.eval()
    for by_batch in (False, True):
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(by_batch)
        with torch.no_grad():
            leaves = tree_flatten(forward(model, inputs))[0]
        made.append(
            next(leaf.double() for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point())
        )
    spread = float(made[1].std(0).mean())
    return float((made[0] - made[1]).abs().mean()) / spread if spread else float("nan")


class _Dropouts(Watcher):
    """Dropout with a chance above 0: where it is active, and where not."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []
        self.passive: list[str] = []

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in _DROPOUT:
            chance = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
            active = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
            if isinstance(chance, int | float) and chance > 0:
                self._note(self.active if active else self.passive)
        elif name == _ATTENTION:
            chance = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
            if isinstance(chance, int | float) and chance > 0:
                self._note(self.active)
        return function(*args, **kwargs)

    def _note(self, where: list[str]) -> None:
        line = find_caller(("torch", "wellposed"))
        if line and line not in where:
            where.append(line)
