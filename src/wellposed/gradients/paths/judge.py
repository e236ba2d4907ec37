"""WP509: one way held against another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from wellposed.backends.ways import Passed, Twist, Ways
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.gradients.paths.apart import ABOVE, COSTS, Apart, floor_of
from wellposed.gradients.paths.elsewhere import wrong_elsewhere
from wellposed.gradients.paths.held import KINDS, Held, Kind
from wellposed.gradients.paths.pattern import clearest, last_begins
from wellposed.gradients.paths.tail import in_the_last_block
from wellposed.gradients.rules.paths import PATHS
from wellposed.printable import listed

_LATE = -0.15  # of a gradient's move: a term that is missing, and what is too small for a format, move too
_EXACT = 0.02  # of what a factor is from 1: its error
_CHANCE = 0.3  # of a difference: what the largest of a few draws moves, where the difference is another draw too
_STEADY = 0.3  # of a difference: two runs that are further apart than that explain it
_TWISTS: tuple[tuple[Twist, str], ...] = (
    ("kept", "in-place"),
    ("contiguous", "stride"),
    ("no-cast-cache", "stale-cache"),
)
"""What makes a difference go away, and what it comes from then."""


def judge(ways: Ways, costs: float = COSTS, *, elsewhere: bool = False) -> list[Finding]:
    """One finding, on what is wrong first: the outputs, else the gradient that says most. Precision alone is told of
    from `costs` of a tensor on. With `elsewhere`, functions that are right are tried on other inputs of the same kind.
    """
    with ways.left_as_it_was():
        held = Held(ways)
        found = _judged(held, costs)
        if elsewhere and found.verdict is Verdict.HOLDS and ways.of_inputs_alone:
            found = wrong_elsewhere(ways, partial(_judged_there, costs, held)) or found
        return [found]


def _judged_there(costs: float, given: Held, ways: Ways, *, finite_alone: bool) -> Finding | None:
    """On other inputs: what raises is not silent, nor are other shapes. None where nothing is said."""
    held = Held(ways, given)
    if held.exact is None or _other_outputs(held.exact[0], held.candidate[0]) or _nothing_to_compare(held):
        return None
    return _not_finite(held) if finite_alone else _judged(held, costs)


def _judged(held: Held, costs: float) -> Finding:
    if held.exact is None:
        why = f" ({held.ways.why})" if held.ways.why else ""
        return PATHS.undecided(f"The reference does not run in float64{why}: there is nothing exact to hold against.")
    told = _other_outputs(held.exact[0], held.candidate[0]) or _nothing_to_compare(held) or _not_finite(held)
    if told is not None:
        return told
    outputs, gradients = _measured(held)
    if any(one.wrong for one in (*outputs, *gradients)):
        held.look_closer()
        outputs, gradients = _measured(held)
    outputs, kinks, flips = _without_kinks(held, outputs, "outputs")
    gradients, more_kinks, more_flips = _without_kinks(held, gradients, "gradients")
    found = _outputs(held, outputs) or _gradients(held, gradients)
    if found is not None and found.cause == "precision" and max(one.over_all for one in (*outputs, *gradients)) < costs:
        found = None
    found = found or _unsteady(held, gradients) or _refused(held)
    return found or _holds(held, outputs, gradients, [*kinks, *more_kinks], [*flips, *more_flips])


def _measured(held: Held) -> tuple[list[Apart], list[Apart]]:
    return held.measured(held.candidate, "outputs"), held.measured(held.candidate, "gradients")


def _without_kinks(held: Held, measured: list[Apart], kind: Kind) -> tuple[list[Apart], list[str], list[str]]:
    """What is left; the names of those that are on another side of a kink than the reference; and of those that a right
    way may be as far from.
    """
    wrong = [one for one in measured if one.wrong]
    kinks = [one.name for one in wrong if held.at_a_kink(one.name, kind)]
    flips = [one.name for one in wrong if one.name not in kinks and held.as_a_right_way(one, kind)]
    return [one for one in measured if one.name not in (*kinks, *flips)], kinks, flips


def _other_outputs(exact: Passed, candidate: Passed) -> Finding | None:
    if exact.outputs.keys() != candidate.outputs.keys():
        there, here = (
            listed([f"`{name}`" for name in one.outputs]) or "no floating-point tensor" for one in (exact, candidate)
        )
        text = f"The reference returns {there}, the candidate {here}."
        return PATHS.found(Verdict.FAILS, text, where="output", cause="forward")
    for name, value in exact.outputs.items():
        if value.shape != candidate.outputs[name].shape:
            text = f"The shape of `{name}` is {candidate.outputs[name].shape}, the reference's is {value.shape}."
            return PATHS.found(Verdict.FAILS, text, where=name, cause="forward")
    return None


def _nothing_to_compare(held: Held) -> Finding | None:
    exact, candidate = (held.exact or [])[0], held.candidate[0]
    size = sum(value.size for value in (*exact.outputs.values(), *exact.gradients.values()))
    filled = [value for value in exact.outputs.values() if value.size]
    if filled and not any(np.isfinite(value).any() for value in filled):
        return PATHS.undecided("No output is finite on the reference's path either.")
    if not size:
        return PATHS.undecided("All outputs and gradients are empty: there is nothing to compare.")
    if exact.gradients and exact.gradients.keys() == exact.unreached == candidate.unreached:
        text = (
            "No output depends on anything that requires a gradient, on either way: there are no gradients to compare."
        )
        return PATHS.undecided(text)
    return None


def _not_finite(held: Held) -> Finding | None:
    for kind in KINDS:
        for name in getattr(held.candidate[0], kind):
            if not _finite(held, kind, name):
                held.look_closer()
            if not _finite(held, kind, name):
                text = f"`{name}` is not finite on this path, and is on the reference's."
                return PATHS.found(Verdict.FAILS, text, where=name, cause="forward" if kind == "outputs" else "")
    return None


def _finite(held: Held, kind: Kind, name: str) -> bool:
    return all(bool(np.isfinite(one).all()) for one in held.numbers(held.candidate, kind, name))


def _outputs(held: Held, outputs: Sequence[Apart]) -> Finding | None:
    wrong = [one for one in outputs if one.wrong]
    if not wrong:
        return None
    worst = max(wrong, key=_excess)
    if held.moved_by_chance(worst.name, "outputs") > _CHANCE * worst.distance:
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
    if cause == "precision" and shown in ("scale", "sign") and worst.slope_error < _EXACT * abs(worst.slope - 1):
        cause = shown  # no rounding makes one factor of all: code for this format alone is wrong
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
    second, first = held.numbers([again, held.candidate[0]], kind, one.name)
    apart = np.linalg.norm(second - first)
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


def _refused(held: Held) -> Finding | None:
    """What raises is at least not silent."""
    if not held.ways.refuses:
        return None
    text = (
        "It takes only incoming gradients that lie in one piece, which those of a sum, a transpose or a slice do not:"
        f" {held.ways.refuses.rstrip('.')}. With others it is right."
    )
    return PATHS.found(Verdict.SUSPECT, text, where="output", cause="stride")


def _holds(
    held: Held, outputs: Sequence[Apart], gradients: Sequence[Apart], kinks: Sequence[str], flips: Sequence[str]
) -> Finding:
    ways = held.ways
    asked, what = (gradients, "gradient") if gradients else (outputs, "output")
    seen = [one for one in asked if one.usual < 1]
    blind = [one.name for one in asked if one.usual >= 1]
    if blind and not seen:
        text = f"The rounding of {ways.format} moves every {what} by its own size: nothing can be said of them."
        return PATHS.undecided(text, where=blind[0])
    text = (
        f"Outputs ({len(outputs)}) and gradients ({len(seen)}) are those of the reference up to the rounding of"
        f" {ways.format}"
        if gradients
        else f"Outputs ({len(seen)}) are those of the reference up to the rounding of {ways.format}"
    )
    if seen:
        text += f": a term of {100 * max(one.usual for one in seen):.2g} % of any of them would have been seen"
    text += "."
    if blind:
        text += f" Not seen: {listed(blind)}, which rounding moves by its own size."
    if kinks:
        text += f" Where numbers are equal or zero, {listed(kinks)} has another side of a kink: both are right."
    if flips:
        text += f" Not told: {listed(flips)}, which the reference is as far from where it is rounded otherwise."
    if held.infinite:
        text += f" Not compared: {held.infinite:,} numbers that are not finite in the reference either."
    if ways.beside:
        text += (
            f" Not compared: gradients by {listed(ways.beside)}, which one of the functions alone closes over, or which"
            " was computed before; give them as inputs, or modules."
        )
    closest = max(seen, key=lambda one: one.distance, default=None)
    return PATHS.holds(_evidence(closest) if closest else (), text)
