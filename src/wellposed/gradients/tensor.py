"""One tensor whose slopes were measured: right, wrong, zero, or not differentiable here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wellposed.backends.protocol import Problem
from wellposed.errors import InputError
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.diagnosis import diagnose
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.rules.noise_floor import NOISE_FLOOR
from wellposed.gradients.rules.not_differentiable import NOT_DIFFERENTIABLE
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.rules.zero import ZERO
from wellposed.numerics.theta import Gradient
from wellposed.printable import listed

_STAIRS_ULPS = 1e3  # units in the last place of the loss: lower ones are its own rounding
_LABEL = " Its gradient is zero or missing: a label or a threshold is like that."


def judge(
    problem: Problem, prober: Prober, nearby: Callable[[], Prober], name: str, gradient: Gradient, probes: list[Probe]
) -> list[Finding]:
    """What the probes within one tensor show; nothing where the gradient agrees."""
    unknown = next((probe for probe in probes if not probe.known), None)
    if unknown is not None and prober.raised is not None and prober.exact:
        raise InputError(
            f"the loss raised {describe_error(prober.raised)} whenever {name!r} was moved, however little; at the point"
            " itself it runs",
            hint=(
                "an assertion or a check of the parameter looks like this: the loss must be defined beside the"
                " point too"
            ),
        ) from prober.raised
    if unknown is not None:
        return [NOISE_FLOOR.undecided(f"Along `{name}` {_why(prober, unknown)}.", where=name)]
    if any(probe.slope.jump for probe in probes):
        text = f"The loss jumps as `{name}` moves: the difference quotient grows without bound as the step shrinks."
        if not carries(gradient, name):
            return [NOT_DIFFERENTIABLE.found(Verdict.SUSPECT, text + _LABEL, where=name, cause="jump")]
        if prober.exact:
            return [NOT_DIFFERENTIABLE.found(Verdict.FAILS, text, where=name, cause="jump")]
        return [
            NOT_DIFFERENTIABLE.undecided(f"{text} In {problem.dtype} it may be a little beside the point.", where=name)
        ]
    kinks = [probe for probe in probes if probe.slope.kink]
    wrong = [probe for probe in probes if _disagrees(probe)]
    if wrong and not carries(gradient, name):
        return [_zero(problem, prober, name, gradient[name] is None, max(wrong, key=lambda probe: abs(probe.measured)))]
    if wrong and (kinks or not prober.exact) and not _wrong_nearby(problem, nearby(), name):
        if kinks:
            return [kink(name, kinks[0])]
        text = (
            f"Along one direction in `{name}` the slope is {wrong[0].measured:.6g}, where {wrong[0].claimed:.6g} is"
            f" claimed; at a point nearby the gradient agrees. In {problem.dtype} a jump or a kink beside the point"
            " looks like this."
        )
        return [WRONG.undecided(text, where=name)]
    if wrong:
        return diagnose(problem, prober, nearby, name, probes, wrong[0])
    if kinks:
        # Where several kinks meet, a right gradient need not lie between the two slopes of their sum: ask next to the
        # point.
        there = _seen_from(problem, nearby(), name)
        wrong = [probe for probe in there if _disagrees(probe)]
        if wrong:
            return diagnose(problem, nearby(), nearby, name, there, wrong[0])
        return [kink(name, kinks[0], stuck=not carries(gradient, name))]
    return []


def _seen_from(problem: Problem, prober: Prober, name: str) -> list[Probe]:
    place = problem.layout.slices[name]
    along = prober.directions.along_claim(place)
    return prober.confirmed([u for u in (along, prober.directions.random_direction(place)) if u is not None])


def _wrong_nearby(problem: Problem, prober: Prober, name: str) -> bool:
    """Whether the gradient is wrong at another point too, or it cannot be seen there: corners lie elsewhere beside
    another point.
    """
    there = _seen_from(problem, prober, name)
    return any(map(_disagrees, there)) or not any(probe.smooth for probe in there)


def _disagrees(probe: Probe) -> bool:
    return probe.smooth and not probe.agrees


def describe_error(error: Exception) -> str:
    """The error as its traceback ends, in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _why(prober: Prober, unknown: Probe) -> str:
    reason = unknown.slope.reason or "no slope could be measured"
    return reason if prober.raised is None else f"{reason}, where the loss raises {describe_error(prober.raised)}"


def carries(gradient: Gradient, name: str) -> bool:
    part = gradient[name]
    return part is not None and bool(part.any())


def some(names: Sequence[str]) -> str:
    """The first four by name, the others by number."""
    return listed([f"`{name}`" for name in names])


def _zero(problem: Problem, prober: Prober, name: str, missing: bool, probe: Probe) -> Finding:
    word = "missing (None)" if missing else "exactly zero"
    text = (
        f"The gradient of `{name}` is {word}, but the loss changes along it with slope {probe.measured:.4g} ±"
        f" {probe.error:.1g}."
    )
    found = problem.differentiation.uncut(prober.theta)
    if found is not None and carries(found.gradient, name):
        return _cut(problem, name, f"{text} The way to it is cut by {found.cuts}.", probe)
    stairs = prober.noise_along(prober.directions.random_direction(problem.layout.slices[name])).stairs
    if stairs > _STAIRS_ULPS * prober.eps * abs(prober.value):
        text = (
            f"Along `{name}` the loss is a staircase: flat over small steps, as the gradient says, with stairs of about"
            f" {stairs:.1g}, and slope {probe.measured:.4g} over larger ones. It rounds, counts or quantises."
        )
        return NOT_DIFFERENTIABLE.found(Verdict.SUSPECT, text, where=name, cause="staircase")
    if problem.variants.draws:
        text = (
            f"`{name}` reaches the loss through a random draw ({', '.join(problem.variants.draws)}): with the draw held"
            " fixed"
            f" the loss changes along it with slope {probe.measured:.4g}, but no gradient passes through a draw."
        )
        return RANDOM.found(Verdict.SUSPECT, text, where=name, cause="sampled")
    return _cut(problem, name, text, probe, cause="detached" if missing else "zero")


def _cut(problem: Problem, name: str, text: str, probe: Probe, cause: str = "detached") -> Finding:
    evidence = (Evidence("measured slope", probe.measured, name, reference="0, as claimed", error=probe.error),)
    held = (
        cause == "detached" and name in problem.training.left_out()
    )  # as a target network is, that the optimizer does not know
    verdict = Verdict.SUSPECT if held else Verdict.FAILS
    return ZERO.found(verdict, text, where=name, cause=cause, evidence=evidence)


def kink(name: str, probe: Probe, *, stuck: bool = False) -> Finding:
    """WP502 along a tensor, or along all of them, where the gradient agrees at a point nearby.

    A corner at the point costs nothing where a step leaves it; a tensor that is `stuck` at one has no gradient to leave
    it with.
    """
    left, right = probe.claimed + probe.slope.left, probe.claimed + probe.slope.right
    between = min(left, right) - probe.error <= probe.claimed <= max(left, right) + probe.error
    claim = (
        f"The claimed {probe.claimed:.4g} lies between"
        if between
        else f"Several kinks meet; {probe.claimed:.4g} is claimed"
    )
    text = (
        f"Along `{name}` the loss has a kink here: slope {left:.4g} on one side, {right:.4g} on the other. {claim}, and"
        " at a point nearby the gradient agrees."
    )
    evidence = (
        Evidence("slope on the left", left, name),
        Evidence("slope on the right", right, name),
        Evidence("claimed slope", probe.claimed, name),
    )
    if stuck:
        text += " Its gradient is zero: no step leaves the kink."
    return NOT_DIFFERENTIABLE.found(
        Verdict.SUSPECT if stuck else Verdict.HOLDS, text, where=name, cause="kink", evidence=evidence
    )
