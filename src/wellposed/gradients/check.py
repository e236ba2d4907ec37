"""From probes to findings: WP501, WP502, WP503 and WP505."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wellposed.backends.protocol import Gradient, Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.directions import Probe, Prober
from wellposed.gradients.explain import explain
from wellposed.gradients.locate import worst_entry
from wellposed.rules.gradients import NOISE_FLOOR, NOT_DIFFERENTIABLE, RULES, WRONG, ZERO

_RANDOM_DIRECTIONS = 1  # beside the one along the claim
_MORE_DIRECTIONS = 4  # once a tensor fails, to tell why
_VISIBLE = 0.01


def check(problem: Problem) -> list[Finding]:
    """Findings for the problem's gradient at its present point; call it within `problem.preserved()`."""
    layout, theta = problem.layout, problem.theta()
    gradient = problem.gradient(theta)
    broken = [name for name, part in gradient.items() if part is not None and not np.isfinite(part).all()]
    value = problem.value(theta)
    if broken or not np.isfinite(value):
        text = f"The gradient of {', '.join(broken)} contains NaN or infinity" if broken else f"The loss is {value}"
        return [rule.undecided(f"{text}, so there is nothing to compare.", where=broken[0] if broken else "loss") for rule in RULES]
    claimed = layout.pack({n: np.zeros(layout.shapes[n]) if (g := gradient[n]) is None else g for n in layout.names})
    prober = Prober(problem, claimed)
    if not prober.repeatable:
        reason = (
            "The loss is random: it has two values at the same point, although the generators of Python, NumPy and the framework "
            "are held fixed. A generator of your own must be made anew inside the loss, with a fixed seed."
        )
        return [rule.undecided(reason, where="loss") for rule in RULES]
    probes = {name: _probes(prober, layout.slices[name]) for name in layout.names}
    return _judge(problem, prober, gradient, probes)


def _probes(prober: Prober, place: slice) -> list[Probe]:
    directions = [prober.random_direction(place) for _ in range(_RANDOM_DIRECTIONS)] if place.stop > place.start else []
    along = prober.along_claim(place) if directions else None
    return [prober.probe(u) for u in ([along] if along is not None else []) + directions]


def _judge(problem: Problem, prober: Prober, gradient: Gradient, probes: dict[str, list[Probe]]) -> list[Finding]:
    findings: list[Finding] = []
    buried: dict[str, float] = {}
    for name, tensor in probes.items():
        found = _tensor(problem, prober, name, gradient, tensor)
        findings += found
        if not found and _floor(tensor) > _VISIBLE:
            buried[name] = _floor(tensor)
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
    named = ", ".join(f"`{name}`" for name in list(buried)[:4]) + (f" and {len(buried) - 4} more" if len(buried) > 4 else "")
    text = (
        f"In {len(buried)} of {tensors} tensors ({named}) the slope is lost in the noise of the loss (in {problem.dtype}): even at best, "
        f"an error below {100 * min(buried.values()):.2g} % of it would not be seen."
    )
    evidence = (
        Evidence("smallest relative error that could be seen", buried[worst], worst, reference="below 0.01"),
        Evidence("noise of the loss", prober.noise, "loss", how="standard deviation, by differences on a fine grid"),
    )
    return NOISE_FLOOR.undecided(text, where=next(iter(buried)), evidence=evidence, remedies=NOISE_FLOOR.remedies)


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


def _tensor(problem: Problem, prober: Prober, name: str, gradient: Gradient, tensor: list[Probe]) -> list[Finding]:
    unknown = next((probe for probe in tensor if not probe.known), None)
    if unknown is not None:
        return [NOISE_FLOOR.undecided(f"Along `{name}` {unknown.slope.reason or 'no slope could be measured'}.", where=name)]
    jump = next((probe for probe in tensor if probe.slope.jump), None)
    if jump is not None:
        text = f"The loss jumps as `{name}` moves: the difference quotient grows without bound as the step shrinks."
        return [NOT_DIFFERENTIABLE.found(Verdict.FAILS, text, where=name, cause="jump")]
    kinks = [probe for probe in tensor if probe.slope.kink]
    smooth = [probe for probe in tensor if not probe.slope.kink]
    missing = gradient[name] is None
    wrong = [probe for probe in smooth if not probe.agrees]
    if missing or not gradient[name].any():  # type: ignore[union-attr]
        return _zero(name, missing, wrong, smooth)
    outside = [probe for probe in kinks if not _between(probe)]
    if wrong or outside:
        return [_wrong(problem, prober, name, tensor, (wrong or outside)[0])]
    if kinks:
        return [_kink(name, kinks[0])]
    return []


def _between(probe: Probe) -> bool:
    """Is the claim a subgradient, that is: does 0 lie between the one-sided slopes of what is left?"""
    low, high = sorted((probe.slope.left, probe.slope.right))
    return low - probe.error <= 0 <= high + probe.error


def _zero(name: str, missing: bool, wrong: list[Probe], smooth: list[Probe]) -> list[Finding]:
    if wrong:
        probe = max(wrong, key=lambda p: abs(p.measured))
        word = "missing (None)" if missing else "exactly zero"
        text = f"The gradient of `{name}` is {word}, but the loss changes along it with slope {probe.measured:.4g} ± {probe.error:.1g}."
        evidence = (Evidence("measured slope", probe.measured, name, reference="0, as claimed", error=probe.error),)
        return [ZERO.found(Verdict.FAILS, text, where=name, cause="detached" if missing else "zero", evidence=evidence)]
    if not smooth:
        return [NOISE_FLOOR.undecided(f"The loss has a kink in every direction tried within `{name}`.", where=name)]
    bar = max(probe.error for probe in smooth)
    text = (
        f"The gradient of `{name}` is {'missing (None)' if missing else 'zero'}, and the loss does not change "
        f"along it either (slope below {bar:.1g})."
    )
    return [ZERO.found(Verdict.SUSPECT, text, where=name, cause="unused", evidence=(Evidence("bar of the measured slope", bar, name),))]


def _kink(name: str, probe: Probe) -> Finding:
    left, right = probe.claimed + probe.slope.left, probe.claimed + probe.slope.right
    text = (
        f"Along `{name}` the loss has a kink here: slope {left:.4g} on one side, {right:.4g} on the other. "
        f"The claimed {probe.claimed:.4g} lies between."
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
        text += f" At `{spot}` it claims {entry.claimed:.6g}; the loss says {entry.measured:.6g} ± {entry.error:.1g}."
        evidence.append(Evidence("claimed derivative at the worst entry measured", entry.claimed, spot))
        evidence.append(Evidence("measured derivative there", entry.measured, spot, error=entry.error))
    return WRONG.found(Verdict.FAILS, text, where=name, cause=explanation.cause, evidence=tuple(evidence))
