"""WP203: forward signal vanishes or explodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from wellposed.findings import Finding, Verdict
from wellposed.rule import Rule
from wellposed.signals.along_depth import (
    FAILS,
    KEPT,
    SATURATING,
    Course,
    describe_change,
    explain_shallow,
    judge_change,
    tell,
)
from wellposed.signals.growth import growth
from wellposed.signals.rules.dead import DEAD
from wellposed.signals.rules.words import CAUSES, INITIALIZE, POOLE, SKIP
from wellposed.signals.trace import Trace

FORWARD = Rule(
    id="WP203",
    subject="signals",
    priority=180,
    follows=("WP302", "WP303", "WP301", "WP304", "WP306"),
    cause_follows={
        "activation": ("WP302", "WP303", "WP301", "WP304", "WP306", "WP205"),
        "dead": ("WP304", "WP204"),
        "not-finite": ("WP104", "WP207"),
    },
    title="forward signal vanishes or explodes",
    claim="What distinguishes one example from another keeps its size on the way through the network.",
    judged=(
        "The standard deviation over the batch of each hidden layer's pre-activation (after a normalisation that "
        f"follows it), last over first. Outside {1 / FAILS:g} to {FAILS:g} it fails, outside {KEPT} it is suspect. "
        "The output layer is left out: its size is a choice."
    ),
    causes=CAUSES,
    remedies=(INITIALIZE, SKIP),
    references=(POOLE,),
    needs=("loss", "gradient", "layers"),
    figures=("depth",),
    judge=lambda measured: judge(measured),
    treatment="initialize",
)


def judge(measured: Any) -> Finding:
    trace: Trace = measured.trace
    shallow = explain_shallow(trace)
    if shallow:
        return FORWARD.not_applicable(shallow)
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
        saturates = any(site.function in SATURATING for site in hidden[: hidden.index(silent[0])])
        cause = "dead" if measured.fails(DEAD) else "activation" if saturates else ""
        return FORWARD.found(verdict, text, where=silent[0].name, cause=cause)
    if len(sites) < 2:
        return FORWARD.not_applicable(
            "Fewer than two hidden layers carry a signal, so there is no depth over which it could change."
        )
    forward = growth([site.forward.spread for site in sites])
    evidence = describe_change(
        "standard deviation over the batch, last hidden layer over first", forward, sites[-1].name, trace
    )
    verdict = judge_change(max(forward.total, 1 / forward.total), len(forward.factors))
    if verdict is Verdict.HOLDS:
        return FORWARD.holds(evidence)
    return tell(FORWARD, verdict, Course("signal", sites, forward, evidence), trace)
