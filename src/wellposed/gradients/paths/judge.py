"""WP509: one way held against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wellposed.backends.ways import Passed, Twist, Ways
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.gradients.paths.apart import ABOVE, COSTS, Apart, floor_of
from wellposed.gradients.paths.held import Held, Kind
from wellposed.gradients.paths.pattern import clearest, last_begins
from wellposed.gradients.paths.tail import in_the_last_block
from wellposed.gradients.rules.paths import PATHS
from wellposed.printable import listed

_LATE = -0.15  # of a gradient's move: a term that is missing, and what is too small for a format, move too
_STEADY = 0.3  # of a difference: two runs that are further apart than that explain it
_TWISTS: tuple[tuple[Twist, str], ...] = (
    ("kept", "in-place"),
    ("contiguous", "stride"),
    ("no-cast-cache", "stale-cache"),
)
"""What makes a difference go away, and what it comes from then."""


def judge(ways: Ways, costs: float = COSTS) -> list[Finding]:
    """One finding, on what is wrong first: the outputs, else the gradient that says most. Precision alone is told of
    from `costs` of a tensor on.
    """
    held = Held(ways)
    if held.exact is None:
        return [PATHS.undecided("The reference does not run in float64: there is nothing exact to hold against.")]
    told = _other_shapes(held.exact[0], held.candidate[0]) or _not_finite(held)
    if told is not None:
        return [told]
    outputs, gradients = (held.measured(held.candidate, kind) for kind in ("outputs", "gradients"))
    found = _outputs(held, outputs) or _gradients(held, gradients)
    if found is not None and found.cause == "precision" and max(one.over_all for one in (*outputs, *gradients)) < costs:
        found = None
    found = found or _unsteady(held, gradients)
    return [found or _holds(ways, outputs, gradients)]


def _other_shapes(exact: Passed, candidate: Passed) -> Finding | None:
    if list(exact.outputs) != list(candidate.outputs):
        text = f"The reference returns {len(exact.outputs)} outputs, the candidate {len(candidate.outputs)}."
        return PATHS.found(Verdict.FAILS, text, where="output", cause="forward")
    for name, value in exact.outputs.items():
        if value.shape != candidate.outputs[name].shape:
            text = f"The shape of `{name}` is {candidate.outputs[name].shape}, the reference's is {value.shape}."
            return PATHS.found(Verdict.FAILS, text, where=name, cause="forward")
    return None


def _not_finite(held: Held) -> Finding | None:
    for kind in ("outputs", "gradients"):
        for name in getattr(held.candidate[0], kind):
            candidate, exact, reference = (
                [getattr(one, kind)[name] for one in runs or ()]
                for runs in (held.candidate, held.exact, held.reference)
            )
            sound = all(np.isfinite(one).all() for one in (*exact, *reference))
            if sound and all(np.isfinite(one).all() for one in candidate):
                continue
            if sound:
                text = f"`{name}` is not finite on this path, and is on the reference's."
                return PATHS.found(Verdict.FAILS, text, where=name, cause="forward" if kind == "outputs" else "")
            return PATHS.undecided(f"`{name}` is not finite on the reference's path either.", where=name)
    return None


def _outputs(held: Held, outputs: Sequence[Apart]) -> Finding | None:
    wrong = [one for one in outputs if one.wrong]
    if not wrong:
        return None
    worst = max(wrong, key=_excess)
    redrawn = held.ways.passed("candidate", 0, "redrawn")
    if redrawn is not None and _runs_apart(held, redrawn, worst, "outputs") > worst.distance:
        text = f"`{worst.name}` is random, and on this path other random numbers are drawn (as in another layout)."
        return PATHS.undecided(text, where=worst.name, remedies=(Remedy("Compare without dropout: model.eval()"),))
    cause = _confirmed(held, worst, wrong, "outputs") or "forward"
    size = f"{worst.worst:.2g} of its size where it is worst, {worst.distance:.2g} over all"
    return _told(worst, cause, f"`{worst.name}` is another on this path: {size}.")


def _gradients(held: Held, gradients: Sequence[Apart]) -> Finding | None:
    wrong = [one for one in gradients if one.wrong]
    if not wrong:
        return None
    lost = [one for one in wrong if one.name in held.candidate[0].unreached]
    if lost:
        worst, shown, words = lost[0], "missing-term", "nothing of it arrives"
    else:
        worst, shown, words = clearest([one for one in wrong if one.beyond] or wrong)
    cause = _confirmed(held, worst, wrong, "gradients") or _in_blocks(held, worst, shown)
    if cause == "precision" and lost:
        cause = "stale-cache"  # a cast that was made without a graph
    others = [one.name for one in wrong if one is not worst]
    text = f"The gradient by `{worst.name}` is another on this path: {words}."
    if others:
        names = ", ".join(f"`{name}`" for name in others[:4])
        text += f" So {'are' if len(others) > 1 else 'is'} {names}{' and others' if len(others) > 4 else ''}."
    return _told(worst, cause, text)


def _in_blocks(held: Held, worst: Apart, shown: str) -> str:
    """What a difference looks like, where it looks like the last block's or like nothing else: is it that?"""
    if shown not in ("missing-term", "tail"):
        return shown
    there = in_the_last_block(held, worst.name, "gradients", tuple(last_begins(worst)))
    if shown == "tail":
        return "wrong-rows" if there is False else "tail"
    return "tail" if there else shown


def _confirmed(held: Held, worst: Apart, wrong: Sequence[Apart], kind: Kind) -> str:
    """The cause that another run shows; "" where none does."""
    if held.again is not None and _runs_apart(held, held.again, worst, kind) > max(
        _STEADY * max(worst.distance, worst.noise), ABOVE * worst.rounding
    ):
        return "nondeterministic"
    late = [one for one in wrong if one.stale and (kind == "outputs" or one.behind < _LATE)]
    if any(one.first <= ABOVE * max(floor_of(held.ways.unit), one.rounding) for one in late):
        return "stale-cache"  # right where it was called first
    for twist, cause in _TWISTS:
        if held.right_with(twist, worst.name, kind):
            return cause
    if kind == "gradients" and held.again is not None and held.again.drew:
        return "new-dropout"
    if held.right_with("float64", worst.name, kind):
        return "precision"
    return "stale-cache" if late else ""


def _runs_apart(held: Held, again: Passed, one: Apart, kind: Kind) -> float:
    """How far two runs at the same point are apart, relative."""
    apart = np.linalg.norm(getattr(again, kind)[one.name] - getattr(held.candidate[0], kind)[one.name])
    return float(apart) / one.size if one.size else 0.0


def _unsteady(held: Held, gradients: Sequence[Apart]) -> Finding | None:
    """Two runs at the same point that are apart by more than rounding."""
    if held.again is None:
        return None
    for one in gradients:
        apart = _runs_apart(held, held.again, one, "gradients")
        usual = ABOVE * max(floor_of(held.ways.unit), one.rounding)
        if apart > usual and apart * one.size > held.ways.least * np.sqrt(one.exact.size):
            text = (
                f"Two runs on the same inputs give gradients by `{one.name}` that are {apart:.2g} of its size apart,"
                f" where rounding makes {max(one.rounding, held.ways.unit):.1g}."
            )
            evidence = (Evidence("two runs apart, relative", apart, one.name, "", f"below {usual:.1g}"),)
            return PATHS.found(Verdict.FAILS, text, where=one.name, cause="nondeterministic", evidence=evidence)
    return None


def _told(worst: Apart, cause: str, text: str) -> Finding:
    verdict = Verdict.SUSPECT if cause == "precision" else Verdict.FAILS
    return PATHS.found(verdict, text, where=worst.name, cause=cause, evidence=_evidence(worst))


def _excess(one: Apart) -> float:
    return one.worst / one.usual if one.usual else 0.0


def _evidence(one: Apart) -> tuple[Evidence, ...]:
    usual = f"1; the reference's {one.usual_slope:.5g}"
    return (
        Evidence("slope against float64", one.slope, one.name, "", usual, one.slope_error),
        Evidence("systematic distance, relative", one.distance, one.name, "", f"below {one.usual:.1g}"),
        Evidence("rounding at one point, relative", one.noise, one.name, "", f"about {one.rounding:.1g}"),
        Evidence("share of a move that is followed", 1 + one.behind, one.name, "", "1"),
    )


def _holds(ways: Ways, outputs: Sequence[Apart], gradients: Sequence[Apart]) -> Finding:
    worst = max(gradients, key=lambda one: one.usual)
    text = (
        f"{len(outputs)} outputs and {len(gradients)} gradients are those of the reference up to the rounding of"
        f" {ways.format}: a term of {100 * worst.usual:.2g} % of any of them would have been seen."
    )
    if ways.beside:
        text += (
            f" Not compared: {listed(ways.beside)}, which the functions close over; give them as inputs, or modules."
        )
    return PATHS.holds(_evidence(max(gradients, key=lambda one: one.distance)), text)
