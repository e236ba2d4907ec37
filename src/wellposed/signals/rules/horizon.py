"""WP208: how far back a recurrent network remembers, beside how long its sequences are."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.numerics.floats import format_of
from wellposed.rule import Cause, Rule
from wellposed.signals.trace import Trace

_GROWN = 1e3  # times, over the sequence
_FAR = 10  # horizons in a sequence of which too little is left
_LARGEST_EXPONENT = 700  # of e, in float64
_GATED = ("lstm", "gru")


_READ_MORE = Remedy("Let the loss read more than the last output, or shorten the sequences")

HORIZON = Rule(
    id="WP208",
    subject="signals",
    priority=240,
    title="recurrent horizon",
    claim="The network can remember over its sequences, and its gradient does not explode over them.",
    judged=(
        "The largest Lyapunov exponent of the layer's steps, by QR of their Jacobians on the batch's own inputs; for a"
        " loop written by hand the mean logarithm of the gradient's factor per use. Growth beyond"
        f" {_GROWN:g} over the sequence fails. Where the loss reads the last output alone, a horizon (steps until an"
        " influence is below the dtype's rounding) shorter than the sequence is suspect, and one shorter than"
        f" 1/{_FAR} of it fails."
    ),
    causes=(
        Cause(
            "forgets",
            "Each step keeps only a part of what was there before: weights that shrink it, or inputs so large that the"
            " activation is flat.",
            "Change the first input and look at the last output.",
            (
                Remedy(
                    "Make the recurrent weights orthogonal, and let little come in at each step (or use gates)",
                    "nn.init.orthogonal_(rnn.weight_hh_l0)\nnn.init.normal_(rnn.weight_ih_l0, std=0.01)\n"
                    "nn.init.zeros_(rnn.bias_ih_l0)\nnn.init.zeros_(rnn.bias_hh_l0)",
                ),
                _READ_MORE,
            ),
        ),
        Cause(
            "gates-closed",
            "The gates that keep the state (forget gates of an LSTM, update gates of a GRU) start half shut: each step"
            " keeps about a half.",
            "Set their bias to log(steps) and measure again.",
            (
                Remedy(
                    "Open the gates that keep the state for about as many steps as the sequences have (Tallec &"
                    " Ollivier 2018)",
                    "h = rnn.hidden_size\nwith torch.no_grad():\n    rnn.bias_hh_l0[h : 2 * h] = math.log(steps)",
                ),
                _READ_MORE,
            ),
        ),
        Cause(
            "chaotic",
            "The recurrent weights are too large: two states that differ a little part at every step.",
            "The spectral radius of the recurrent weights, beside 1.",
            (
                Remedy("Make the recurrent weights orthogonal", "nn.init.orthogonal_(rnn.weight_hh_l0)"),
                Remedy("Clip the gradient"),
            ),
        ),
    ),
    references=(
        "Vogt, Puelma Touzel, Shlizerman, Lajoie 2022, arXiv 2006.14123",
        "Bengio, Simard, Frasconi 1994",
        "Tallec & Ollivier 2018, arXiv 1804.11188",
    ),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_horizon(measured.trace),
)


def check_horizon(trace: Trace) -> Finding:
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
    if exponent * steps > np.log(_GROWN):
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
    return f"{np.exp(logarithm):.2g}" if logarithm < _LARGEST_EXPONENT else f"10^{logarithm / np.log(10):.0f}"
