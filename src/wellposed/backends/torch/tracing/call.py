"""One call of torch's that was watched, with what went in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from wellposed.backends.measured import Flatness, Signal, WeightUse
from wellposed.numerics.activations import Activation


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a torch function, as it was seen before it was made."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    tensors: list[torch.Tensor]
    sources: tuple[int, ...]
    use: WeightUse | None
    source: Signal | None  # what went in, where the operation before did not make it so
    activation: Activation | None
    flat: Flatness | None


@dataclass(frozen=True)
class RecurrentCall:
    """A fused recurrent layer as it was called, and where its output is among the operations."""

    index: int
    function: str
    args: tuple[Any, ...]
