"""From a trace to findings: WP201 to WP203, and through their own modules WP204 to WP206 and WP208."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.floats import format_of
from wellposed.rules.rule import Rule
from wellposed.rules.signals import DEAD, EXPLODING, FORWARD, RULES, VANISHING
from wellposed.signals import collapse, recurrent, units
from wellposed.signals.culprit import culprit
from wellposed.signals.growth import Growth, growth
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

FAILS, SUSPECT = 1e3, 1e2
_MOST_STEPS = 3
_SHALLOW = "Fewer than two weighted layers were seen, so there is no depth over which a signal could change."
_ASIDE = (
    "Of {} weighted layers fewer than two lie on every way from an input to the loss, so there is no one depth to"
    " compare along."
)
_ONE_STEP = 10.0  # one step is no depth: the factor that is asked of it
_NEAR, _MOSTLY = 16, 0.5
_FADED = 1e-30
_NORMALISED = 0.25  # normalisations per place of the trunk
_SATURATING = {"sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign", "logsigmoid"}
_OF_NETWORKS = tuple(rule for rule in RULES if rule.id != "WP207")


def not_judged(reason: str) -> list[Finding]:
    return [rule.not_applicable(reason) for rule in _OF_NETWORKS]


def check(trace: Trace, after_steps: Callable[[int], Trace]) -> list[Finding]:
    """Findings for one trace. `after_steps(n)` gives the trace after n small steps of gradient descent.

    It is asked for only where the first layer's gradient is exactly zero, as it is behind zero-initialised branches and
    heads.
    """
    others = [*units.check(trace, lambda: after_steps(1)), collapse.check(trace), recurrent.check(trace)]
    if len(trace.trunk) < 2:
        shallow = _SHALLOW if len(trace.sites) < 2 else _ASIDE.format(len(trace.sites))
        return [*(rule.not_applicable(shallow) for rule in (VANISHING, EXPLODING, FORWARD)), *others]
    dead = any(finding.rule == DEAD.id and finding.verdict is Verdict.FAILS for finding in others)
    return [*_backward(trace, after_steps, dead), _forward(trace, dead), *others]


def _backward(trace: Trace, after_steps: Callable[[int], Trace], dead: bool) -> list[Finding]:
    """`dead`: whether all units of a layer are, so that nothing passes it."""
    broken = next((site for site in reversed(trace.sites) if not np.isfinite(site.gradient)), None)
    if broken is not None:
        text = f"The gradient at `{broken.name}` is NaN or infinite."
        return [
            VANISHING.undecided(f"{text} Sizes cannot be compared."),
            EXPLODING.found(Verdict.FAILS, text, where=broken.name, cause="not-finite"),
        ]
    trunk = trace.compared if _reached(trace.compared) else trace.trained
    if len(trunk) < 2:
        return [rule.not_applicable("Fewer than two layers are trained.") for rule in (VANISHING, EXPLODING)]
    later = ""
    if trunk[0].gradient == 0 and _reached(trunk):
        # What a zero-initialised layer lets through after a step is as small as the step: compare only what lies before
        # it.
        behind = [site.gradient == 0 for site in trunk]
        for steps in range(1, _MOST_STEPS + 1):
            moved = after_steps(steps).trained[: len(trunk)]  # the output, where it was left out, comes last
            if moved[0].gradient != 0:
                break
        later = f", after {steps} small step{'s' if steps > 1 else ''} (it is exactly zero before)"
        trunk = tuple(s for s, zero in zip(moved, behind, strict=True) if zero) if moved[0].gradient != 0 else moved
    sites = _reached(trunk)
    if not sites:
        return [rule.undecided("No gradient reaches any layer: see WP505.") for rule in (VANISHING, EXPLODING)]
    first, last = trunk[0], sites[-1]
    if first.gradient == 0:
        text = f"No gradient reaches `{first.name}`{later}, while `{last.name}` has one: it is exactly zero."
        faded = min(site.gradient for site in sites) < _FADED  # on its way to 0, and not cut
        text += f" On the way it has become smaller than {trace.dtype} can hold." if faded else ""
        cause = "dtype" if faded else "dead" if dead else "detached"
        zero = Evidence("gradient norm, first layer over last", 0.0, first.name, reference="0.01 to 100")
        return [
            VANISHING.found(Verdict.FAILS, text, where=first.name, cause=cause, evidence=(zero,)),
            EXPLODING.holds((zero,)),
        ]
    if len(sites) < 2:
        return [rule.not_applicable("Only one layer is left to compare.") for rule in (VANISHING, EXPLODING)]
    backward = growth([site.gradient for site in reversed(sites)])
    evidence = _evidence("gradient norm, first layer over last", backward, sites[0].name, trace)
    path = list(reversed(sites))
    findings = []
    lost = _lost(sites[0], trace.dtype)
    if lost and 1 / backward.total <= FAILS:
        return [
            VANISHING.found(Verdict.FAILS, lost, where=sites[0].name, cause="dtype", evidence=evidence),
            EXPLODING.holds(evidence),
        ]
    for rule, size in ((VANISHING, 1 / backward.total), (EXPLODING, backward.total)):
        verdict = _verdict(size, len(backward.factors))
        if rule is EXPLODING and verdict is Verdict.FAILS and trace.norms >= _NORMALISED * len(trace.trunk):
            verdict = Verdict.SUSPECT
        if verdict is Verdict.HOLDS:
            findings.append(rule.holds(evidence))
            continue
        findings.append(_told(rule, verdict, path, backward, evidence, "gradient", later, trace))
    return findings


def _lost(site: Site, dtype: str) -> str:
    """What is to be said where most of a site's gradient is smaller than the smallest number of its dtype, else
    nothing.
    """
    if dtype not in ("float16", "bfloat16", "float32") or site.place.gradient is None:
        return ""
    smallest, size = format_of(dtype).smallest, site.place.gradient.rms
    if not (0 < size < _NEAR * smallest and site.place.gradient.zeros > _MOSTLY):
        return ""
    here = f"The gradient at `{site.name}` is {size:.2g} in root mean square"
    return f"{here}, and the smallest number of {dtype} is {smallest:.2g}: most of it has become 0."


def _reached(sites: Sequence[Site]) -> list[Site]:
    return [site for site in sites if site.gradient > 0]


def _forward(trace: Trace, dead: bool) -> Finding:
    for site in trace.sites:
        if not site.forward.finite:
            text = f"The output of `{site.name}` contains NaN or infinity."
            return FORWARD.found(Verdict.FAILS, text, where=site.name, cause="not-finite")
    if any(np.isnan(site.forward.batch_variance) for site in trace.sites):
        return FORWARD.undecided("The batch has one row, so what tells examples apart cannot be measured.")
    hidden = [site for site in trace.trunk if not site.is_output]
    sites = list(trace.carrying)
    silent = [site for site in hidden if site.forward.mean_square > 0 and site.forward.batch_variance == 0]
    if silent and sites and hidden.index(silent[0]) > hidden.index(sites[0]):
        text = (
            f"All rows of the batch give the same output at `{silent[0].name}`: nothing that tells them apart arrives"
            " there."
        )
        # Where a gradient passes it all the same (a straight-through estimator), training may mend it.
        verdict = Verdict.SUSPECT if hidden[0].gradient > 0 else Verdict.FAILS
        saturates = any(site.function in _SATURATING for site in hidden[: hidden.index(silent[0])])
        cause = "dead" if dead else "activation" if saturates else ""
        return FORWARD.found(verdict, text, where=silent[0].name, cause=cause)
    if len(sites) < 2:
        return FORWARD.not_applicable(
            "Fewer than two hidden layers carry a signal, so there is no depth over which it could change."
        )
    forward = growth([site.forward.spread for site in sites])
    evidence = _evidence(
        "standard deviation over the batch, last hidden layer over first", forward, sites[-1].name, trace
    )
    verdict = _verdict(max(forward.total, 1 / forward.total), len(forward.factors))
    if verdict is Verdict.HOLDS:
        return FORWARD.holds(evidence)
    return _told(FORWARD, verdict, sites, forward, evidence, "signal", "", trace)


def _verdict(size: float, steps: int) -> Verdict:
    size = size if steps > 1 else size / _ONE_STEP
    if size > FAILS:
        return Verdict.FAILS
    return Verdict.SUSPECT if size > SUSPECT else Verdict.HOLDS


def _evidence(quantity: str, along: Growth, where: str, trace: Trace) -> tuple[Evidence, ...]:
    low, high = along.interval
    evidence = [
        Evidence(quantity, along.total, where, reference="0.01 to 100"),
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


def _told(
    rule: Rule,
    verdict: Verdict,
    path: list[Site],
    along: Growth,
    evidence: tuple[Evidence, ...],
    what: str,
    later: str,
    trace: Trace,
) -> Finding:
    """`path` runs in the direction of travel; the place named is where the size first leaves the trend of 1."""
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
    cause = "activation" if shrinks and first.function in _SATURATING else "gain"
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
    off = (np.abs(steps) > max(0.5 * abs(np.log(along.typical)), 1e-3)) & ((steps < 0) == (along.total < 1))
    return way[int(np.argmax(off)) + 1]


def _ratio(factor: float) -> str:
    return f"{factor:.3g}" if factor >= 1 else f"1/{1 / factor:.3g}"
