"""How one weight is to be drawn: the rule, the size, and what its output should be."""

from __future__ import annotations

from dataclasses import dataclass

from wellposed.weights.draw import Draw, normal


@dataclass(frozen=True)
class Recipe:
    """A weight of standard deviation `size` by `draw`; its bias is `shift` less `centre` times the sums over the weight's rows.

    `output`: the root mean square of what it makes, less `shift`, for inputs as they are expected; None where that is not known or a
    normalisation behind makes it arbitrary. `why` is for the reader of the plan.
    """

    rule: str
    size: float
    why: str
    draw: Draw = normal
    centre: float = 0.0
    shift: float = 0.0
    output: float | None = None
