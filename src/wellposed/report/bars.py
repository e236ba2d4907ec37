"""Numbers as bars within a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log10, nan

_HEIGHTS, _ACROSS, _LENGTH = "▁▂▃▄▅▆▇█", 48, 24


def profile(values: Sequence[float]) -> str:
    """An upright bar for each, on a logarithmic scale from the smallest to the largest; a dot for what is not finite or
    not positive.
    """
    logs = [log10(value) if isfinite(value) and value > 0 else nan for value in values]
    known = [value for value in logs if value == value]
    low, span = min(known, default=0.0), max(max(known, default=0.0) - min(known, default=0.0), 1.0)
    return "".join(
        "·" if value != value else _HEIGHTS[round((value - low) / span * (len(_HEIGHTS) - 1))] for value in logs
    )


def thin(values: Sequence[float]) -> Sequence[float]:
    """As many as fit into a line, evenly chosen, with both ends."""
    if len(values) <= _ACROSS:
        return values
    return [values[round(i * (len(values) - 1) / (_ACROSS - 1))] for i in range(_ACROSS)]


def beside(values: Sequence[float]) -> list[str]:
    """A lying bar for each, on one scale from 0; none where one is negative or not finite."""
    most = max(values)
    if not all(map(isfinite, values)) or min(values) < 0 or most == 0:
        return []
    return ["█" * round(_LENGTH * value / most) or "▏" for value in values]
