"""One forward pass in which every weight that has a target is given the factor that reaches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from wellposed.backends.torch.composed import COMPOSED, seen_inside
from wellposed.backends.torch.sizes import root_mean_square
from wellposed.backends.torch.uses import Uses

_LEAST = 1e-30


class Calibration(TorchFunctionMode):
    """Enter it around a forward pass; `factors` then holds (factor, size reached) by weight.

    What a weight makes is scaled as it is made, so the layers behind see what they will see; the weights themselves stay as they are. A
    weight that is used again has the factor of its first use.
    """

    def __init__(self, model: nn.Module, targets: Mapping[str, float]) -> None:
        super().__init__()
        self.factors: dict[str, tuple[float, float]] = {}
        self._targets = targets
        self._uses = Uses(model)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in COMPOSED:
            return seen_inside(self, function, args, kwargs)
        name = getattr(function, "__name__", "")
        use = self._uses.of(name, args, kwargs)
        result = function(*args, **kwargs)
        if args:
            self._uses.note(name, args[0], result)
        if use is None or use.name not in self._targets or not isinstance(result, torch.Tensor) or not result.numel():
            return result
        if use.name in self.factors:
            return result * self.factors[use.name][0]
        had = root_mean_square(result)
        if not _LEAST < had < 1 / _LEAST:
            return result
        factor = self._targets[use.name] / had
        scaled = result * factor
        self.factors[use.name] = (factor, root_mean_square(scaled))
        return scaled
