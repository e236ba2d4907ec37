"""WP208: how far back a recurrent network remembers, beside how long its sequences are."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.floats import format_of
from wellposed.rules.signals import HORIZON
from wellposed.signals.trace import Trace

_FAILS = np.log(1e3)
_FAR = 10
_GATED = ("lstm", "gru")


def check(trace: Trace) -> Finding:
    """Fused layers by their Lyapunov exponents, loops by the gradient of one use after the other; the worst is told."""
    measured = [
        (r.name, float(r.exponents[0]), r.error, r.steps, r.last_only, r.function in _GATED)
        for r in trace.recurrences
        if len(r.exponents)
    ]
    for loop in trace.loops:
        if loop.steady:
            steps = len(loop.gradients)
            measured.append((loop.name, float(np.log(loop.factor)), float("nan"), steps, loop.factor < 1, False))
    if not measured and trace.recurrences:
        return HORIZON.undecided(
            f"`{trace.recurrences[0].name}` reads packed sequences or projects its state: its steps are not taken"
            " apart."
        )
    if not measured and trace.loops:
        return HORIZON.undecided(
            f"`{trace.loops[0].name}` is used again and again, but its gradient shows no steady factor per step."
        )
    if not measured:
        return HORIZON.not_applicable("No recurrent layer was seen.")
    resolution = float(np.log(format_of(trace.dtype if "+" not in trace.dtype else "float32").eps))
    findings = [_judged(*one, resolution) for one in measured]
    order = [Verdict.FAILS, Verdict.SUSPECT, Verdict.HOLDS]
    return min(findings, key=lambda finding: order.index(finding.verdict))


def _judged(
    name: str, exponent: float, error: float, steps: int, last_only: bool, gated: bool, resolution: float
) -> Finding:
    horizon = resolution / exponent if exponent < 0 else float("inf")
    evidence = (
        Evidence(
            "largest Lyapunov exponent", exponent, name, unit="per step", error=error if np.isfinite(error) else None
        ),
        Evidence(
            "horizon",
            horizon,
            name,
            unit="steps",
            reference=f"{steps} steps",
            how="until an influence is below the dtype's rounding",
        ),
    )
    if exponent * steps > _FAILS:
        text = (
            f"Over {steps} steps the gradient through `{name}` grows by about {_power(exponent * steps)}:"
            f" {np.exp(exponent):.3g} per step."
        )
        return HORIZON.found(Verdict.FAILS, text, where=name, cause="chaotic", evidence=evidence)
    if last_only and horizon < steps:
        verdict = Verdict.FAILS if horizon * _FAR < steps else Verdict.SUSPECT
        text = (
            f"What enters `{name}` more than about {horizon:.0f} steps before the end changes the last output by less"
            f" than its rounding ({np.exp(exponent):.3g} per step), and the loss reads the last output alone, of"
            f" {steps} steps."
        )
        return HORIZON.found(verdict, text, where=name, cause="gates-closed" if gated else "forgets", evidence=evidence)
    return HORIZON.holds(evidence)


def _power(logarithm: float) -> str:
    return f"{np.exp(logarithm):.2g}" if logarithm < 700 else f"10^{logarithm / np.log(10):.0f}"
