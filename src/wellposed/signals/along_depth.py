"""What a signal, or the gradient, does along the depth of a network: judged, evidenced and told for WP201 to WP203."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rule import Rule
from wellposed.signals.culprit import culprit
from wellposed.signals.growth import Growth
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

FAILS, SUSPECT = 1e3, 1e2
"""Change of size from one end of the network to the other, either way: `make bench-trainability`."""
KEPT = f"{1 / SUSPECT:g} to {SUSPECT:g}"
SATURATING = {"sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign", "logsigmoid"}
ONE_STEP = 10.0  # one step is no depth: the factor that is asked of it
_OFF_TREND = (0.5, 1e-3)  # of the typical step, and at least so much of a size: a layer that changes as the whole does
_SHALLOW = "Fewer than two weighted layers were seen, so there is no depth over which a signal could change."
_ASIDE = (
    "Of {} weighted layers fewer than two lie on every way from an input to the loss, so there is no one depth to"
    " compare along."
)


def explain_shallow(trace: Trace) -> str:
    """Why a network has no depth to compare along; "" where it has."""
    if len(trace.trunk) > 1:
        return ""
    return _SHALLOW if len(trace.sites) < 2 else _ASIDE.format(len(trace.sites))


def judge_change(size: float, steps: int) -> Verdict:
    size = size if steps > 1 else size / ONE_STEP
    if size > FAILS:
        return Verdict.FAILS
    return Verdict.SUSPECT if size > SUSPECT else Verdict.HOLDS


def describe_change(quantity: str, along: Growth, where: str, trace: Trace) -> tuple[Evidence, ...]:
    low, high = along.interval
    evidence = [
        Evidence(quantity, along.total, where, reference=KEPT),
        Evidence(
            "mean factor per layer",
            along.typical,
            where,
            reference="1",
            error=(high - low) / 2 if np.isfinite(high - low) else None,
            how=f"over {len(along.factors)} steps",
        ),
    ]
    theory = trace.depth
    if theory is not None:
        how = (
            f"chi_1 of {theory.of} layers; trainable to about {theory.trainable:.3g} layers, this one has"
            f" {theory.layers}"
        )
        evidence.append(
            Evidence("factor per layer by mean-field theory", float(np.sqrt(theory.chi)), reference="1", how=how)
        )
    return tuple(evidence)


@dataclass(frozen=True)
class Course:
    """`path` runs in the direction of travel of `what`, a signal or the gradient; `later` says after how many steps."""

    what: str
    path: list[Site]
    along: Growth
    evidence: tuple[Evidence, ...]
    later: str = ""


def tell(rule: Rule, verdict: Verdict, course: Course, trace: Trace) -> Finding:
    """The place named is where the size first leaves the trend of 1."""
    what, path, along, evidence, later = course.what, course.path, course.along, course.evidence, course.later
    shrinks = along.total < 1
    word = "shrinks" if shrinks else "grows"
    if along.outlier is not None:
        ends = (path[along.outlier], path[along.outlier + 1])
        before, after = ends if what == "signal" else ends[::-1]
        site, cause, special = culprit(before, after, trace)
        text = (
            f"The {what} {word}{later} by a factor of {_ratio(along.factors[along.outlier])} at `{site.name}` alone;"
            " the other layers together change it by"
            f" {np.exp(np.log(along.total) - np.log(along.factors[along.outlier])):.2g}.{special}"
        )
        return rule.found(verdict, text, where=site.name, cause=cause, evidence=evidence)
    first = _first_off(path, along, what, trace)
    start, end = path[0].name, path[-1].name
    cause = "activation" if shrinks and first.function in SATURATING else "gain"
    because = f", read by {first.function}" if first.function else ""
    direction = "back" if what == "gradient" else "on"
    text = (
        f"From `{start}` {direction} to `{end}` the {what} {word} to {along.total:.2g} of its size{later}: a factor of"
        f" {along.typical:.3g} per layer, {len(along.factors)} times. The first layer off trend is"
        f" `{first.name}`{because}."
    )
    theory = trace.depth
    if theory is not None and theory.of >= len(along.factors) / 2 and what == "gradient":
        text += (
            f" Theory expects {np.sqrt(theory.chi):.3g}: such layers train to a depth of about {theory.trainable:.0f}."
        )
    return rule.found(verdict, text, where=first.name, cause=cause, evidence=evidence)


def _first_off(path: list[Site], along: Growth, what: str, trace: Trace) -> Site:
    """The first site on the way at which the size changes as it does along the whole; for a gradient the step from the
    output counts.
    """
    ahead = (
        [site for site in trace.trunk if site.is_output and site.gradient > 0 and site is not path[0]]
        if what == "gradient"
        else []
    )
    way = [*ahead[-1:], *path]
    steps = np.diff(np.log([site.gradient for site in way])) if ahead else np.log(along.factors)
    off = (np.abs(steps) > max(_OFF_TREND[0] * abs(np.log(along.typical)), _OFF_TREND[1])) & (
        (steps < 0) == (along.total < 1)
    )
    return way[int(np.argmax(off)) + 1]


def _ratio(factor: float) -> str:
    return f"{factor:.3g}" if factor >= 1 else f"1/{1 / factor:.3g}"
