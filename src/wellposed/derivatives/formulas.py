"""Which of the formulas that a ladder allows is best, and how far it may be off.

Every formula is judged by the same one a rung finer: what changes is truncation, what may change is noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from wellposed.derivatives.ladder import RATIO, Ladder, Window

_MOST_RUNGS = 3  # rungs joined into one formula
_HIDDEN = 0.5  # of a change that lies within the noise, this much is counted as truncation
_LIKELY = 0.2  # of a noise bar: what the noise is likely to do, for choosing among formulas


@dataclass(frozen=True, slots=True)
class Formula:
    """A difference formula's value, and the two parts of its error."""

    value: float
    truncation: float
    noise: float
    window: Window

    @property
    def error(self) -> float:
        return self.truncation + self.noise


def best(ladder: Ladder) -> Formula:
    """The formula of least likely error, its bar widened where a finer difference, whose own error is known to be less,
    disagrees.
    """
    chosen = min(_formulas(ladder), key=lambda formula: formula.truncation + _LIKELY * formula.noise)
    truncation = max(chosen.truncation, ladder.hidden_kink(chosen.window[-1]))
    for fine, coarse in pairwise(ladder.rungs):
        # Coarse rungs can agree by accident (a step of one period of f): finer ones unmask them.
        own = ladder.slope((fine,))
        gap = abs(own - chosen.value) - ladder.bar((fine,)) - abs(ladder.slope((coarse,)) - own)
        if fine < chosen.window[-1] and gap > chosen.error:
            truncation = max(truncation, chosen.truncation + gap)
    return Formula(chosen.value, truncation, chosen.noise, chosen.window)


def _formulas(ladder: Ladder) -> Iterator[Formula]:
    rungs = ladder.rungs
    smooth = {count: ladder.smooth(count) for count in range(3, len(rungs) + 1)}
    for length in range(1, _MOST_RUNGS + 1):
        for start in range(len(rungs) - length + 1):
            window = tuple(rungs[start : start + length])
            if window[-1] - window[0] >= length:
                continue  # a rung is missing in between
            value, bar = ladder.slope(window), ladder.bar(window)
            if smooth.get(max(start + length, 3)):
                yield Formula(value, _truncation(ladder, start, window), bar, window)
            elif length == 1:
                yield Formula(value, _rough(ladder, start), bar, window)


def _truncation(ladder: Ladder, start: int, window: Window) -> float:
    rungs, length, value = ladder.rungs, len(window), ladder.slope(window)
    if start:
        finer = tuple(rungs[start - 1 : start - 1 + length])
        gap, doubt = abs(value - ladder.slope(finer)), ladder.bar(finer)
    else:  # nothing is finer: what the coarsest of them brings, or what the next one would
        shorter = window[:-1] if length > 1 else (rungs[1],)
        gap, doubt = abs(value - ladder.slope(shorter)), ladder.bar(window)
    above = rungs[start + length] if start + length < len(rungs) else None
    if above == window[-1] + 1:  # what the same formula, one rung wider, lets expect; unless what is seen refutes it
        wider = (*window[1:], above)
        expected = abs(ladder.slope(wider) - value) / RATIO ** ((1 if ladder.side else 2) * length)
        gap = max(gap, expected) if expected <= gap + doubt else gap
    return 2 * max(gap - doubt / 2, 0.0) + _HIDDEN * gap


def _rough(ladder: Ladder, index: int) -> float:
    """How far the plain difference at a rung may be off where nothing is known of how errors fall: by what finer and
    wider ones say.
    """
    slopes = [ladder.slope((rung,)) for rung in ladder.rungs]
    apart = [1.5 * abs(slopes[index] - slopes[k]) - ladder.bar((ladder.rungs[k],)) for k in range(index)]
    nearest = abs(slopes[0] - slopes[1]) if index == 0 else 0.0
    # Two finer rungs that agree are witnesses enough; with fewer, agreement may be luck, and what lies above is asked
    # too.
    wider = [abs(above - below) / RATIO for below, above in pairwise(slopes[index : index + 3])] if index < 2 else []
    return max(0.0, nearest, *apart, *wider)
