"""WP503: below the noise floor."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Rule

NOISE_FLOOR = Rule(
    id="WP503",
    subject="gradients",
    priority=300,
    follows=("WP101", "WP201", "WP205"),
    title="below the noise floor",
    claim="The check can see an error of 1 % in every tensor's gradient.",
    judged=(
        "The error bar of the measured slope beside the slope itself. Where the bar is wider than 1 % of it, the check "
        "could not tell, and the "
        "smallest relative error that it could have seen is given: undecided."
    ),
    remedies=(Remedy("Check in float64, with fewer rows in the batch, or at another point"),),
    references=("Moré & Wild: Estimating computational noise, 2011",),
    needs=("loss",),
    judge=lambda measured: measured.gradient_check.of("WP503"),
)
