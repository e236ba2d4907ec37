"""How a model is called on what a user gives as its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def forward(model: nn.Module, inputs: Any) -> Any:
    """The model's outputs: a mapping holds keyword arguments, a tuple positional ones."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)
