"""The five notes as short chapters that run, and one on the training step."""

from __future__ import annotations

from collections.abc import Callable

from wellposed.tour import depth, derivatives, gradients, inputs, step, weights
from wellposed.tour.chapter import Chapter

CHAPTERS: tuple[Callable[[], Chapter], ...] = (
    inputs.chapter,
    depth.chapter,
    weights.chapter,
    derivatives.chapter,
    gradients.chapter,
    step.chapter,
)
