"""What a figure shows: frozen numbers that know nothing of how they were measured or how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["line", "points", "bars", "dashes"]


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers beside each other: `y` over `x`, with the half width of an error bar each where `error` is given.

    Bars reach from 0 (the lowest tick of a logarithmic axis) to y and are as wide as the steps of x. NaN leaves a gap.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    mark: Mark = "line"
    error: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes; `names` stand below x = 0, 1, 2, ... in place of numbers."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that say one thing; `text` says it in words, with the numbers that matter. `rules` are those it is
    evidence for.
    """

    name: str
    title: str
    text: str
    panels: tuple[Panel, ...]
    rules: tuple[str, ...] = ()
