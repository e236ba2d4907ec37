"""One forward pass in which every weight that has a target is given the factor that reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from wellposed.backends.fitting import Fitting
from wellposed.backends.torch.composed import Watcher
from wellposed.backends.torch.uses import Uses


class Calibration(Watcher):
    """Enter it around a forward pass; the fitting then holds the factors.

    What a weight makes is scaled as it is made, so the layers behind see what they will see; the weights themselves stay as they are.
    """

    def __init__(self, model: nn.Module, fitting: Fitting) -> None:
        super().__init__()
        self._fitting = fitting
        self._uses = Uses(model)

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        use = self._uses.of(name, args, kwargs)
        result = function(*args, **kwargs)
        if args:
            self._uses.note(name, args[0], result)
        fitted = use is not None and isinstance(result, torch.Tensor) and result.numel()
        return self._fitting.scaled(use.name, result) if use is not None and fitted else result
