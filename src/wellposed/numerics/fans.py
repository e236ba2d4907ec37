"""Fans: how many inputs a weight sums into one output, and how many outputs one input reaches.

Weights of variance 1 / fan_in keep the mean square of independent inputs on the way forward, of variance 1 / fan_out
that of the gradient on the way back (Glorot & Bengio 2010; He et al. 2015). A convolution is counted tap by tap, so
that groups, strides, dilation and the zeros of its padding are in the figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod


@dataclass(frozen=True)
class Fan:
    """`fan_in`: inputs per output; `fan_out`: outputs per input; both means over positions where these differ.

    `weights` holds the fans of each weight by name where a layer has several; `fan_in` and `fan_out` are then those of
    the first.
    """

    fan_in: float
    fan_out: float
    weights: Mapping[str, Fan] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution along one axis: kernel size, stride, dilation, and padding before and behind the input."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    behind: int = 0
    extra: int = 0  # what a transposed convolution adds to its output's end

    @classmethod
    def same(cls, kernel: int, stride: int, dilation: int) -> Window:
        """Padded so that a stride of 1 keeps the size, an odd tap behind."""
        lost = dilation * (kernel - 1)
        return cls(kernel, stride, dilation, lost // 2, lost - lost // 2)

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def outputs(self, size: int) -> int:
        """How many positions a window over `size` inputs has."""
        return (size + self.before + self.behind - self.reach) // self.stride + 1

    def outputs_transposed(self, size: int) -> int:
        return (size - 1) * self.stride - self.before - self.behind + self.reach + self.extra

    def taps(self, wide: int, narrow: int) -> int:
        """How many pairs of a narrow position and a tap meet one of `wide` positions rather than padding.

        Tap t of position p reads place p s + t d - before.
        """
        found = 0
        for tap in range(self.kernel):
            shift = tap * self.dilation - self.before
            first, last = max(-(shift // self.stride), 0), min((wide - 1 - shift) // self.stride, narrow - 1)
            found += max(last - first + 1, 0)
        return found


def convolution(
    channels: tuple[int, int],
    windows: Sequence[Window],
    groups: int = 1,
    *,
    transposed: bool = False,
    size: Sequence[int] | None = None,
    zeros: bool = True,
) -> Fan:
    """The fans of a convolution from channels[0] to channels[1].

    fan_in = (C_in / g) prod(k) and fan_out = (C_out / g) prod(k) / prod(s), the other way round where it is transposed.
    With the `size` of the input's axes the taps that fall on padding are left out, if the padding is `zeros`.
    """
    into, out = channels[0] / groups, channels[1] / groups
    kernel = float(prod(window.kernel for window in windows))
    strides = float(prod(window.stride for window in windows))
    if size is None:
        return Fan(into * kernel / strides, out * kernel) if transposed else Fan(into * kernel, out * kernel / strides)
    per_input = per_output = 1.0
    for window, n in zip(windows, size, strict=True):
        m = window.outputs_transposed(n) if transposed else window.outputs(n)
        wide, narrow = (m, n) if transposed else (n, m)
        taps = window.taps(wide, narrow) if zeros else window.kernel * narrow
        per_input *= taps / n
        per_output *= taps / m
    return Fan(into * per_output, out * per_input)
