"""Two ways to the same outputs and gradients, as arrays: what a framework gives to hold one against the other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from wellposed.numerics.arrays import Array

Way = Literal["exact", "reference", "candidate"]
"""The reference in float64; in the candidate's format, or in float64 with every result rounded to it; the candidate.
"""
Twist = Literal["", "again", "redrawn", "contiguous", "no-cast-cache", "kept", "float64", "off-zero", "dithered"]
"""What is done otherwise, to see what an error comes from: nothing; other random numbers; inputs and incoming gradients
laid out in one piece; autocast without its cache of weights; what the backward pass needs, and gets, copied; the
candidate's own arithmetic in float64; inputs without zeros; of the reference, every result rounded otherwise at each
call.
"""


Variation = Literal[
    "not in one piece", "broadcast", "summed", "large", "small", "zero rows", "masked", "unmasked", "repeated"
]
"""Other inputs of the same shapes: laid out otherwise; of one row for all; with the incoming gradient of a sum; a
hundred times as large; a millionth; every other row zero; all of a mask off, or on; one whole number throughout.
"""
NUDGE = 12
"""Units in the last place by which inputs and parameters are moved at most, up or down, in a coarse format: enough that
the rounding of a mean over a hundred numbers is another one.
"""
LEAST_NUDGE = 0.01
"""Relative: the same in a fine format, where longer sums are taken."""
ALONE = "output"
"""The name of an output that is the only one; of several it comes before where each stands."""
SCALED = 1024.0
"""The incoming gradient of a loss in float16, as a scaler passes it, for gradients may be too small for that format."""


@dataclass(frozen=True)
class Passed:
    """One forward and backward pass, in float64 numbers: outputs, and the gradient by each tensor. A tensor that got
    none has a gradient of zeros, and is in `unreached`.
    """

    outputs: Mapping[str, Array]
    gradients: Mapping[str, Array]
    unreached: frozenset[str] = frozenset()
    drew: bool = False
    """Whether the backward pass drew random numbers."""


class Ways(Protocol):
    """`format` is the coarsest format that the candidate computes in, `unit` its unit roundoff, `least` its smallest
    number above 0; `runs` counts forward and backward passes. `beside` names the tensors that one of the functions
    closes over and the other does not, whose gradients are not compared. `why` is what the reference raised where it
    could not be run in float64, `refuses` what the candidate raised for incoming gradients that do not lie in one
    piece; it is given no others then.
    """

    format: str
    unit: float
    least: float
    runs: int
    beside: tuple[str, ...]
    why: str
    refuses: str

    def left_as_it_was(self) -> AbstractContextManager[None]:
        """Within it passes may be made; after it all that is the user's is as before."""
        ...

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the axes of inputs."""
        ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the inputs that are tensors, in order."""
        ...

    @property
    def of_inputs_alone(self) -> bool:
        """Whether nothing else is differentiated by: the functions have no parameters."""
        ...

    @property
    def other_sizes(self) -> int:
        """How many it is worth while to try."""
        ...

    def cut(self, size: int, to: int) -> Ways | None:
        """The same on inputs of which every axis of this size is cut; None where that cannot be, as where a number in
        the inputs or the code may be about that size.
        """
        ...

    def varied(self, variation: Variation) -> Ways | None:
        """The same on other inputs; None where that makes none other, or the candidate does not take them."""
        ...

    def values(self, name: str, point: int) -> Array | None:
        """Of a tensor that is differentiated by, at a point."""
        ...

    def come_nearer(self) -> bool:
        """Moves the points to within a unit of where the inputs are; False where they are."""
        ...

    def passed(self, way: Way, point: int, twist: Twist = "") -> Passed | None:
        """Of one way near the inputs: at `point` 0 as they are, at others moved by up to `NUDGE` units in the last
        place of `format`, and `LEAST_NUDGE` at least. None where the way cannot be gone: in float64, or with this
        twist. What the user's code raises goes through for the candidate.
        """
        ...
