"""From probes to findings: WP501, WP502, WP503 and WP505."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from wellposed.backends.protocol import Gradient, Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.directions import Probe, Prober
from wellposed.gradients.explain import explain
from wellposed.gradients.locate import worst_entry
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import descended
from wellposed.rules.gradients import NOISE_FLOOR, NOT_DIFFERENTIABLE, RULES, WRONG, ZERO

_RANDOM_DIRECTIONS = 1  # beside the one along the claim
_MORE_DIRECTIONS = 4  # once a tensor fails, to tell why
_VISIBLE = 0.01
_STEPS = 3


def check(problem: Problem) -> list[Finding]:
    """Findings for the problem's gradient at its present point; call it within `problem.preserved()`."""
    layout, theta = problem.layout, problem.theta()
    gradient = problem.gradient(theta)
    broken = [name for name, part in gradient.items() if part is not None and not np.isfinite(part).all()]
    value = problem.value(theta)
    if not np.isfinite(value):
        return [rule.undecided(f"The loss is {value}, so there is nothing to compare.", where="loss") for rule in RULES]
    if broken:
        text = f"The gradient of {', '.join(f'`{name}`' for name in broken)} contains NaN or infinity, although the loss is {value:.6g}."
        rest = [rule.undecided("The gradient is not finite: see WP501.", where=broken[0]) for rule in RULES if rule is not WRONG]
        return [WRONG.found(Verdict.FAILS, text, where=broken[0], cause="not-finite"), *rest]
    prober = Prober(problem, theta, layout.pack_known(gradient))
    if not prober.repeatable:
        reason = (
            "The loss is random: it has two values at the same point, although the generators of Python, NumPy and the framework "
            "are held fixed. A generator of your own must be made anew inside the loss, with a fixed seed."
        )
        return [rule.undecided(reason, where="loss") for rule in RULES]
    probes = {name: _probes(prober, layout.slices[name]) for name in layout.names}
    return _judge(problem, prober, gradient, probes)


def _probes(prober: Prober, place: slice) -> list[Probe]:
    if place.stop == place.start:
        return []
    along = prober.along_claim(place)
    directions = [prober.random_direction(place) for _ in range(_RANDOM_DIRECTIONS)]
    return [_probe(prober, u) for u in ([along] if along is not None else []) + directions]


def _probe(prober: Prober, u: Vector) -> Probe:
    """One direction; a disagreement is believed only if it is seen again with steps 256 times smaller."""
    first = prober.probe(u)
    if first.agrees or not first.known:
        return first
    second = prober.probe(u, closer=1 / 256)
    return second if second.agrees and second.known else first


def _judge(problem: Problem, prober: Prober, gradient: Gradient, probes: dict[str, list[Probe]]) -> list[Finding]:
    findings: list[Finding] = []
    buried: dict[str, float] = {}
    idle: dict[str, list[Probe]] = {}
    nearby = functools.cache(prober.nearby)
    for name, tensor in probes.items():
        found = _tensor(problem, prober, nearby, name, gradient, tensor)
        findings += found
        if found:
            continue
        if not _carries(gradient, name):
            idle[name] = tensor
        elif _floor(tensor) > _VISIBLE:
            buried[name] = _floor(tensor)
    findings += _idle(problem, gradient, idle, len(probes))
    if buried:
        findings.append(_below_the_floor(problem, prober, buried, len(probes)))
    seen = {name: tensor for name, tensor in probes.items() if name not in buried}
    told = {finding.rule for finding in findings}
    if WRONG.id not in told and not seen:
        findings.append(WRONG.undecided("No tensor's slope stands out of the noise of the loss: see WP503."))
        told.add(WRONG.id)
    compared = (
        _relative_difference(seen),
        Evidence("tensors compared", len(seen), unit=f"of {len(probes)}", how=f"differences in {problem.dtype}"),
        Evidence(
            "smallest relative error that every check could see", max(map(_floor, seen.values()), default=np.inf), reference="below 0.01"
        ),
    )
    findings += [rule.holds(compared if rule in (WRONG, NOISE_FLOOR) else ()) for rule in RULES if rule.id not in told]
    return sorted(findings, key=lambda finding: finding.rule)


def _below_the_floor(problem: Problem, prober: Prober, buried: dict[str, float], tensors: int) -> Finding:
    worst = max(buried, key=lambda name: buried[name])
    text = (
        f"In {len(buried)} of {tensors} tensors ({_some(list(buried))}) the slope is lost in the noise of the loss "
        f"(in {problem.dtype}): even at best, an error below {100 * min(buried.values()):.2g} % of it would not be seen."
    )
    evidence = (
        Evidence("smallest relative error that could be seen", buried[worst], worst, reference="below 0.01"),
        Evidence("noise of the loss", prober.noise, "loss", how="standard deviation, by differences on a fine grid"),
    )
    return NOISE_FLOOR.undecided(text, where=next(iter(buried)), evidence=evidence, remedies=NOISE_FLOOR.remedies)


def _some(names: Sequence[str]) -> str:
    """The first four by name, the others by number."""
    return ", ".join(f"`{name}`" for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _relative_difference(probes: dict[str, list[Probe]]) -> Evidence:
    every = [probe for tensor in probes.values() for probe in tensor if probe.known]
    claimed, measured = (np.array([getattr(p, key) for p in every]) for key in ("claimed", "measured"))
    total = float(np.linalg.norm(claimed) + np.linalg.norm(measured))
    value = float(np.linalg.norm(claimed - measured)) / total if total else 0.0
    return Evidence(
        "relative difference ||measured - claimed|| / (||measured|| + ||claimed||)",
        value,
        reference="1e-7 is great, 1e-3 a worry, in float64",
        how="over the slopes along all directions",
    )


def _floor(tensor: Sequence[Probe]) -> float:
    """The bar beside the slope along the steepest direction: the relative error that could just be seen."""
    steepest = max((abs(probe.claimed) for probe in tensor), default=0.0)
    return min((probe.error for probe in tensor), default=0.0) / steepest if steepest else 0.0


def _carries(gradient: Gradient, name: str) -> bool:
    part = gradient[name]
    return part is not None and bool(part.any())


def _tensor(
    problem: Problem, prober: Prober, nearby: Callable[[], Prober], name: str, gradient: Gradient, tensor: list[Probe]
) -> list[Finding]:
    unknown = next((probe for probe in tensor if not probe.known), None)
    if unknown is not None:
        return [NOISE_FLOOR.undecided(f"Along `{name}` {unknown.slope.reason or 'no slope could be measured'}.", where=name)]
    jump = next((probe for probe in tensor if probe.slope.jump), None)
    if jump is not None:
        text = f"The loss jumps as `{name}` moves: the difference quotient grows without bound as the step shrinks."
        return [NOT_DIFFERENTIABLE.found(Verdict.FAILS, text, where=name, cause="jump")]
    kinks = [probe for probe in tensor if probe.slope.kink]
    smooth = [probe for probe in tensor if not probe.slope.kink]
    wrong = [probe for probe in smooth if not probe.agrees]
    if not _carries(gradient, name):
        return [_zero(name, gradient[name] is None, wrong)] if wrong else []
    if wrong:
        return [_wrong(problem, prober, name, tensor, wrong[0])]
    if kinks:
        # Where several kinks meet, a right gradient need not lie between the two slopes of their sum: ask next to the point.
        there = _probes(nearby(), problem.layout.slices[name])
        wrong = [probe for probe in there if probe.known and not probe.agrees and not probe.slope.kink and not probe.slope.jump]
        if wrong:
            return [_wrong(problem, nearby(), name, there, wrong[0])]
        return [_kink(name, kinks[0])]
    return []


def _zero(name: str, missing: bool, wrong: list[Probe]) -> Finding:
    probe = max(wrong, key=lambda p: abs(p.measured))
    word = "missing (None)" if missing else "exactly zero"
    text = f"The gradient of `{name}` is {word}, but the loss changes along it with slope {probe.measured:.4g} ± {probe.error:.1g}."
    evidence = (Evidence("measured slope", probe.measured, name, reference="0, as claimed", error=probe.error),)
    return ZERO.found(Verdict.FAILS, text, where=name, cause="detached" if missing else "zero", evidence=evidence)


def _idle(problem: Problem, gradient: Gradient, idle: dict[str, list[Probe]], tensors: int) -> list[Finding]:
    """Tensors without gradient and without influence, unless a few steps give them one: zero-initialised layers shut off others."""
    theta = problem.theta()
    left = set(idle)
    for _ in range(_STEPS if left else 0):
        theta = problem.stored(descended(theta, problem.layout.pack_known(gradient)))
        gradient = problem.gradient(theta)
        left = {name for name in left if not _carries(gradient, name)}
    if not left:
        return []
    names = [name for name in idle if name in left]
    bar = max((probe.error for name in names for probe in idle[name] if not probe.slope.kink), default=0.0)
    text = (
        f"{len(names)} of {tensors} tensors ({_some(names)}) have a gradient that is zero or missing, and the loss does not change along "
        f"them either (slope below {bar:.1g}), here and after {_STEPS} small steps."
    )
    evidence = (Evidence("bar of the measured slopes", bar, names[0]),)
    return [ZERO.found(Verdict.SUSPECT, text, where=names[0], cause="unused", evidence=evidence)]


def _kink(name: str, probe: Probe) -> Finding:
    left, right = probe.claimed + probe.slope.left, probe.claimed + probe.slope.right
    between = min(left, right) - probe.error <= probe.claimed <= max(left, right) + probe.error
    claim = f"The claimed {probe.claimed:.4g} lies between" if between else f"Several kinks meet; {probe.claimed:.4g} is claimed"
    text = (
        f"Along `{name}` the loss has a kink here: slope {left:.4g} on one side, {right:.4g} on the other. {claim}, and at a point "
        "nearby the gradient agrees."
    )
    evidence = (
        Evidence("slope on the left", left, name),
        Evidence("slope on the right", right, name),
        Evidence("claimed slope", probe.claimed, name),
    )
    return NOT_DIFFERENTIABLE.found(Verdict.SUSPECT, text, where=name, cause="kink", evidence=evidence)


def _wrong(problem: Problem, prober: Prober, name: str, tensor: list[Probe], worst: Probe) -> Finding:
    place = problem.layout.slices[name]
    more = [prober.probe(prober.random_direction(place)) for _ in range(_MORE_DIRECTIONS)]
    known = [probe for probe in [*tensor, *more] if probe.known and not probe.slope.kink and not probe.slope.jump]
    explanation = explain(known) if place.stop - place.start > 1 else explain([])
    entry = worst_entry(prober, place)
    evidence = [
        Evidence("claimed slope along a direction", worst.claimed, name),
        Evidence(
            "measured slope along it", worst.measured, name, error=worst.error, how=f"two-sided differences, step {worst.slope.step:.1g}"
        ),
        _relative_difference({name: known}),
    ]
    text = f"The gradient of `{name}` does not agree with the loss."
    if explanation.words:
        text += f" {explanation.words}"
    if entry is not None:
        spot = problem.layout.entry(name, entry.flat)
        digits = 6 if f"{entry.claimed:.6g}" != f"{entry.measured:.6g}" else 12
        text += f" At `{spot}` it claims {entry.claimed:.{digits}g}; the loss says {entry.measured:.{digits}g} ± {entry.error:.1g}."
        evidence.append(Evidence("claimed derivative at the worst entry measured", entry.claimed, spot))
        evidence.append(Evidence("measured derivative there", entry.measured, spot, error=entry.error))
    return WRONG.found(Verdict.FAILS, text, where=name, cause=explanation.cause, evidence=tuple(evidence))
