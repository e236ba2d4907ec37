"""How one weight is to be drawn: the rule, the size, and what its output should be."""

from __future__ import annotations

from dataclasses import dataclass

from wellposed.weights.draw import Draw, normal

# the root mean square of a network's outputs: near the constant prediction, and not so small that no gradient passes
HEAD = 0.3


@dataclass(frozen=True)
class Recipe:
    """A weight of standard deviation `size` by `draw`; its bias is minus `centre` times the sums over the weight's
    rows, give or take a standard deviation of `spread`.

    `output`: the root mean square of what it makes, for inputs as they are expected; None where that is not known or a
    normalisation behind makes it arbitrary. `why` is for the reader of the plan.
    """

    rule: str
    size: float
    why: str
    draw: Draw = normal
    centre: float = 0.0
    spread: float = 0.0
    output: float | None = None
