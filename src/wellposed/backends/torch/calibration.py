"""One forward pass in which every weight that has a target is given the factor that reaches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from wellposed.backends.fitting import Fitting
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.backends.torch.tracing.weight_use import Uses


class Calibration(Watcher):
    """Enter it around a forward pass; the fitting then holds the factors.

    What a weight makes is scaled as it is made, so the layers behind see what they will see; the weights themselves
    stay as they are.
    """

    def __init__(self, model: nn.Module, fitting: Fitting, added: Mapping[str, str]) -> None:
        """`added`: the bias that is added by itself to what a weight makes, by the weight."""
        super().__init__()
        self._fitting, self._added = fitting, added
        self._uses = Uses(model)
        self._bare: dict[int, tuple[torch.Tensor, str]] = {}

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        use = self._uses.of(name, args, kwargs)
        result = function(*args, **kwargs)
        if args:
            self._uses.note(name, args[0], result)
        if not isinstance(result, torch.Tensor) or not result.numel():
            return result
        if use is not None:
            if use.name not in self._added or use.bias:
                return self._fitting.scaled(use.name, result)
            self._bare[id(result)] = (result, use.name)
        elif len(args) > 1:
            for made, added in (args[:2], args[1::-1]):
                _, weight = self._bare.get(id(made), (None, ""))
                if weight and isinstance(added, torch.Tensor) and self._uses.name(added) == self._added[weight]:
                    return self._fitting.scaled(weight, result)
        return result
