"""From weights to findings: WP301 to WP306."""

from __future__ import annotations

from collections.abc import Callable

from wellposed.backends.measured import Run
from wellposed.findings import Finding
from wellposed.numerics.arrays import Vector
from wellposed.rules.weights import RULES
from wellposed.signals.trace import Trace
from wellposed.weights.biases import check_biases
from wellposed.weights.branches import check_branches
from wellposed.weights.fan_rule import check_fans
from wellposed.weights.start import check_start
from wellposed.weights.symmetry import AfterAStep, check_symmetry
from wellposed.weights.variance import check_variance


def not_judged(reason: str) -> list[Finding]:
    return [rule.not_applicable(reason) for rule in RULES]


def check(
    trace: Trace,
    run: Run,
    weights: dict[str, Vector],
    after_a_step: AfterAStep,
    with_a_small_output_layer: Callable[[], float],
) -> list[Finding]:
    """Findings for the weights as they are, beside the run that used them; `with_a_small_output_layer` is what the loss
    would be then.
    """
    return [
        check_variance(trace, weights),
        check_symmetry(trace, run, weights, after_a_step),
        check_fans(trace, weights),
        check_biases(trace, weights),
        check_start(run.loss_call, with_a_small_output_layer),
        check_branches(trace),
    ]
