"""From a wrong gradient to what a person needs to mend it: the cause, the place, one entry as proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.derivatives.estimate import Slope
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.causes.partial import wrong_part
from wellposed.gradients.explain import explained_whole
from wellposed.gradients.locate import Located, locate
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.residuals import Residuals
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.wrong_tensor import Suspect
from wellposed.numerics.arrays import Vector

_MORE_DIRECTIONS, _FEW_DIRECTIONS = (2, 2), (1, 1)  # random ones, and along the claim through half of the entries
_BUDGET = 400
_CANDIDATES = 4
_PLACES_NAMED = 6  # places in a sentence
_FLAT_SLOPE = 1e-6
SLIGHT = 1e-7
"""Relative difference that CS231n's notes on gradient checks call great: beyond the bar, and yet nothing that costs."""


def diagnose(
    problem: Problem, prober: Prober, nearby: Callable[[], Prober], name: str, probes: list[Probe], worst: Probe
) -> list[Finding]:
    """WP501 for one tensor whose slope along a direction disagrees with its claim; undecided where no other direction
    does.
    """
    place = problem.layout.slices[name]
    if prober.budget.tight and problem.differentiation.by_entry:
        return _diagnosed(problem, prober, nearby, name, probes, worst)
    more = [
        probe for probe in prober.probes(_more_directions(prober, place)) if probe.smooth
    ]  # the first are confirmed
    if more and all(probe.agrees for probe in more):
        return [_alone(name, worst, len(more))]
    return _diagnosed(problem, prober, nearby, name, [*probes, *more], worst)


def _diagnosed(
    problem: Problem, prober: Prober, nearby: Callable[[], Prober], name: str, probes: list[Probe], worst: Probe
) -> list[Finding]:
    place = problem.layout.slices[name]
    known = [probe for probe in probes if probe.smooth]
    suspect: Suspect | None = None
    explanation, located = None, Located(complete=False)
    with prober.budget.kept():
        suspect = _described(problem, prober, name, Residuals(prober, place, known))
        if all(line.missing.zero for line in suspect.lines):
            return [_alone(name, worst, len(suspect.lines))]
        explanation, located = _explained(problem, prober, nearby, suspect)
    text = f"The gradient of `{name}` does not agree with the loss."
    text += f" {explanation.words}" if explanation else _where(name, located)
    apart = relative_difference(known)
    how = f"two-sided differences, step {worst.slope.step:.1g}"
    evidence = [
        apart,
        Evidence("claimed slope along a direction", worst.claimed, name),
        Evidence("measured slope along it", worst.measured, name, error=worst.error, how=how),
    ]
    if explanation and explanation.number == explanation.number:
        what = "factor" if explanation.cause in _FACTORS else "coefficient"
        evidence.append(Evidence(what, explanation.number, name))
    flat, entry = None, None
    with prober.budget.kept():
        flat = None if suspect is None or not problem.differentiation.by_entry else _telling(suspect, located)
        prober.budget.demand()
        if suspect is not None and flat is not None:
            entry = _entry(suspect, flat) if prober.budget.tight else _measured(prober, place, flat)
    if entry is not None and flat is not None:
        spot = problem.layout.entry(name, flat)
        text += f" {_compared(spot, entry)}"
        evidence.append(Evidence("claimed derivative at the worst entry measured", entry.claimed, spot))
        evidence.append(Evidence("measured derivative there", entry.measured, spot, error=entry.error))
    if apart.value < SLIGHT and entry is not None and _apart(entry) < SLIGHT:
        text = (
            f"The gradient of `{name}` agrees with the loss to {apart.value:.1g} of its size; the rest is more than the"
            " measurement's error, as of a solver that stops early, and costs nothing."
        )
        return [WRONG.found(Verdict.HOLDS, text, where=name, cause="slight", evidence=tuple(evidence))]
    cause = explanation.cause if explanation else ""
    meant = cause in ("detached", "") and not prober.held and prober.uncut is not None and prober.uncut.meant
    if not meant and _steps(prober, known, place):
        meant, cause = True, "straight-through"
        text = f"The loss is flat along `{name}`, in steps, and its gradient is not zero."
    text += _MORE_IS_TOLD * (not cause and prober.budget.tight)
    verdict = Verdict.SUSPECT if meant else Verdict.FAILS
    found = WRONG.found(verdict, text + _MEANT * meant, where=name, cause=cause, evidence=tuple(evidence))
    return [replace(found, places=_places(name, located))]


def _alone(name: str, worst: Probe, others: int) -> Finding:
    """Of a direction that disagrees where no other one does."""
    text = (
        f"Along one direction in `{name}` the slope is {worst.measured:.6g}, where {worst.claimed:.6g} is claimed,"
        f" but along {others} others the gradient agrees: a kink nearby, or an error of very few entries."
    )
    return WRONG.undecided(text, where=name)


_MORE_IS_TOLD = (
    " Why is told by a closer look: `wellposed check --full --select WP501`, or wp.check_gradients(problem)."
)
_MEANT = " It looks deliberate, as in a straight-through estimator or a target that is held: then it is right as it is."


def _described(problem: Problem, prober: Prober, name: str, residuals: Residuals) -> Suspect:
    layout, double = problem.layout, prober.of_double
    place, shape = layout.slices[name], layout.shapes[name]
    alike = [other for other in layout.names if other != name and layout.shapes[other] == shape]
    return Suspect(
        name,
        prober.gradient[place].reshape(shape),
        prober.theta[place].reshape(shape),
        residuals,
        problem.network.data(),
        None if double is None else double[name],
        problem.differentiation.pointwise() if len(layout.names) == 1 else None,
        {other: prober.gradient[layout.slices[other]].reshape(shape) for other in alike},
    )


def _explained(
    problem: Problem, prober: Prober, nearby: Callable[[], Prober], suspect: Suspect
) -> tuple[Explanation | None, Located]:
    """The cause of a wrong gradient, and which of its entries are wrong where it took a look to know."""
    located = Located()
    by_entry = problem.differentiation.by_entry
    explanation = explained_whole(suspect, by_entry=by_entry)
    if explanation is None and suspect.claim.size > 1 and by_entry:
        located = locate(suspect.residuals, suspect.shape, _BUDGET)
        explanation = wrong_part(suspect, located)
        if explanation is None and not problem.differentiation.is_part:
            explanation = _unmoved(suspect, prober, nearby(), problem.layout.slices[suspect.name])
    return _cut(prober, suspect) or explanation, located


def _compared(spot: str, entry: Probe) -> str:
    """One entry's claim beside what was measured, with as many digits as tell them apart."""
    digits = 6 if f"{entry.claimed:.6g}" != f"{entry.measured:.6g}" else 12
    claimed, measured = f"{entry.claimed:.{digits}g}", f"{entry.measured:.{digits}g}"
    return f"At `{spot}` it claims {claimed}; the loss says {measured} ± {entry.error:.1g}."


_IN_PLACE = "modified by an inplace operation"  # torch's words, once the edit is no longer hidden
_FACTORS = ("scale", "sign", "mean-or-sum", "doubled")


def _steps(prober: Prober, probes: Sequence[Probe], place: slice) -> bool:
    """Whether the loss is flat where a slope is claimed, and yet changes when the tensor is moved by its own size: as
    behind a rounding, whose gradient somebody has put in its place."""
    if any(abs(probe.measured) > max(probe.allowed, _FLAT_SLOPE * abs(probe.claimed)) for probe in probes):
        return False
    u = prober.directions.random_direction(place)
    moved = prober.along(u, prober.directions.reach(u))
    return bool(np.isfinite(moved)) and abs(moved - prober.value) > _FLAT_SLOPE * abs(prober.value)


def relative_difference(probes: Sequence[Probe]) -> Evidence:
    """Note 5's classic figure, over the slopes along all directions."""
    known = [probe for probe in probes if probe.known]
    claimed, measured = np.array([(p.claimed, p.measured) for p in known]).reshape(-1, 2).T
    total = float(np.linalg.norm(claimed) + np.linalg.norm(measured))
    value = float(np.linalg.norm(claimed - measured)) / total if total else 0.0
    return Evidence(
        "relative difference ||measured - claimed|| / (||measured|| + ||claimed||)",
        value,
        reference="1e-7 is great, 1e-3 a worry, in float64",
        how="over the slopes along all directions",
    )


def one_note(found: list[Finding]) -> list[Finding]:
    """Tensors that agree but for next to nothing have one finding in all."""
    slight = [finding for finding in found if finding.cause == "slight"]
    if len(slight) < 2:
        return found
    text = f"{slight[0].message} So in {len(slight)} tensors."
    return [f for f in found if f.cause != "slight"] + [replace(slight[0], message=text)]


def _apart(probe: Probe) -> float:
    return abs(probe.claimed - probe.measured) / (abs(probe.claimed) + abs(probe.measured))


def _where(name: str, located: Located) -> str:
    """Which entries are wrong, in words, where no cause is known."""
    if located.dense:
        wrong = sum(abs(error) > bar for _, error, bar in located.sample)
        return f" Of {len(located.sample)} entries measured {wrong} are wrong: the error is everywhere."
    places = _places(name, located)
    count = len(places)
    if not located.complete:
        return f" At least {count} places in it are wrong." if count else ""
    if not count:
        return ""
    more = f" and {count - _PLACES_NAMED} more" if count > _PLACES_NAMED else ""
    named = ", ".join(f"`{place}`" for place in places[:_PLACES_NAMED])
    return f" Wrong {'is' if count == 1 else 'are'} {named}{more}; the rest agrees."


def _places(name: str, located: Located) -> tuple[str, ...]:
    """The slices and entries that are wrong, as a user writes them."""
    indices = [piece.index for piece in located.slices] + [tuple(entry.index) for entry in located.entries]
    return tuple(f"{name}[{', '.join(':' if i is None else str(i) for i in index)}]" for index in indices)


def _unmoved(suspect: Suspect, prober: Prober, beside: Prober, place: slice) -> Explanation | None:
    """A wrong claim that is the same, bit for bit, at other parameters, where the slope of the loss is not."""
    if not suspect.claim.any() or not np.array_equal(suspect.claim.ravel(), beside.gradient[place]):
        return None
    u = prober.directions.random_direction(place)
    here, there = prober.probe(u), beside.probe(u)
    if not abs(here.measured - there.measured) > here.allowed + there.allowed:
        return None
    return Explanation("stale", "It is the same at other parameters too: it was computed once, and kept.")


def _cut(prober: Prober, suspect: Suspect) -> Explanation | None:
    """Whether the gradient is right once nothing on the way is detached."""
    found = prober.uncut
    if found is not None and _IN_PLACE in found.raised:
        text = (
            "A value that the backward pass needs is edited in place where autograd does not see it: by way of"
            f" {found.cuts}."
        )
        return Explanation("in-place", text)
    whole = None if found is None or prober.held else found.gradient[suspect.name]
    if found is None or whole is None or not suspect.fits(np.asarray(whole).reshape(suspect.shape)):
        return None
    return Explanation(
        "detached", f"Part of the way to the loss carries no gradient: {found.cuts}. With that, the gradient agrees."
    )


def _telling(suspect: Suspect, located: Located) -> int | None:
    """An entry whose error is known or likely to be large."""
    shape = suspect.shape
    if located.entries and shape:
        return int(np.ravel_multi_index(max(located.entries, key=lambda entry: abs(entry.error)).index, shape))
    if located.sample:
        return max(located.sample, key=lambda entry: abs(entry[1]))[0]
    inside = np.abs(suspect.claim)
    if located.slices:
        mask = np.zeros(shape)
        mask[tuple(slice(None) if i is None else i for i in located.slices[0].index)] = 1.0
        inside = (inside + 1e-9 * inside.max()) * mask
    flats = np.argsort(-inside.ravel())[:_CANDIDATES]
    errors = {
        int(flat): suspect.residuals.entry(int(flat))
        for flat in flats
        if inside.ravel()[flat] or suspect.claim.size <= _CANDIDATES
    }
    wrong = {flat: abs(error.value) for flat, error in errors.items() if not error.zero}
    return max(wrong, key=lambda flat: wrong[flat]) if wrong else None


def _entry(suspect: Suspect, flat: int) -> Probe | None:
    """The entry as a short look shows it."""
    error, index = suspect.residuals.entry(flat), np.unravel_index(flat, suspect.shape)
    slope = Slope(error.value, error.bar, np.nan, 0)
    probe = Probe(float(suspect.claim[index]), float(suspect.theta[index]), 0.0, slope)
    return None if not probe.known or probe.agrees else probe


def _measured(prober: Prober, place: slice, flat: int) -> Probe | None:
    """The entry measured once more, with a bar of its own."""
    u = np.zeros_like(prober.gradient)
    u[place.start + flat] = 1.0
    probe = prober.probe(u)
    return None if not probe.known or probe.agrees else probe


def _more_directions(prober: Prober, place: slice) -> list[Vector]:
    """Random ones, and along the claim through random halves of the entries: an error of a factor shows best there."""
    number, by_halves = _FEW_DIRECTIONS if prober.budget.tight else _MORE_DIRECTIONS
    random = [prober.directions.random_direction(place) for _ in range(number)]
    along = prober.directions.along_claim(place)
    halves = (
        []
        if along is None
        else [np.where(prober.random.integers(2, size=along.size) == 1, along, 0.0) for _ in range(by_halves)]
    )
    return random + [half for half in halves if half.any()]
