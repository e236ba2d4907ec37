"""The five notes as five short chapters that run."""

from __future__ import annotations

from collections.abc import Callable

from wellposed.tour import depth, derivatives, gradients, inputs, weights
from wellposed.tour.chapter import Chapter

CHAPTERS: tuple[Callable[[], Chapter], ...] = (
    inputs.chapter,
    depth.chapter,
    weights.chapter,
    derivatives.chapter,
    gradients.chapter,
)
