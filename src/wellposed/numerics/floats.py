"""The floating-point formats that networks are trained in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format (IEEE 754-2019; bfloat16: Kalamkar et al. 2019).

    `eps` is the gap between 1 and the next number, `tiny` the smallest normal number, `max` the largest.
    """

    name: str
    eps: float
    tiny: float
    max: float

    @property
    def smallest(self) -> float:
        """The smallest positive number, subnormal."""
        return self.tiny * self.eps


FORMATS = {
    "float64": Format("float64", 2.0**-52, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023),
    "float32": Format("float32", 2.0**-23, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float16": Format("float16", 2.0**-10, 2.0**-14, 65504.0),
    "bfloat16": Format("bfloat16", 2.0**-7, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
}


def format_of(dtype: str) -> Format:
    """The format of that name; a mixture such as "bfloat16+float32" counts as its coarsest member."""
    members = [FORMATS[name] for name in dtype.split("+") if name in FORMATS]
    return max(members, key=lambda member: member.eps) if members else FORMATS["float64"]


WIDE_INTEGER = 8
"""Bytes of integers that float64 does not hold exactly."""
