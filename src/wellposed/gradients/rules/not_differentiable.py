"""WP502: not differentiable here."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule

NOT_DIFFERENTIABLE = Rule(
    id="WP502",
    subject="gradients",
    priority=280,
    title="not differentiable here",
    claim="The loss is differentiable at the point checked.",
    judged=(
        "The one-sided slopes are compared at three steps. Where their difference does not shrink with the step there"
        " is a kink: the gradient is judged at a random point nearby instead, and the kink is told; it is suspect only"
        " where the tensor's gradient is zero, so that no step leaves it. Where the difference grows as the step"
        " shrinks the loss jumps: it fails, as no gradient can be right there."
    ),
    causes=(
        Cause(
            "kink",
            "A ReLU, maximum or absolute value stands exactly at its corner, often because a zero bias meets an input"
            " row of zeros.",
            "Move the parameters a little and check again.",
            (Remedy("Check at another point: random biases, or after a few steps of training"),),
        ),
        Cause(
            "staircase",
            "The loss is rounded, counted or quantised in this tensor: flat almost everywhere, so that its gradient is"
            " zero and says nothing.",
            "Plot the loss along the direction of one parameter.",
            (Remedy("Give the rounding a surrogate gradient (straight-through), or leave it out while training"),),
        ),
        Cause(
            "jump",
            "The loss rounds, sorts, thresholds or counts: an accuracy or an argmax is in it.",
            "Plot the loss along the direction of one parameter.",
            (Remedy("Replace the step by a smooth surrogate (cross-entropy for accuracy, sigmoid for a threshold)"),),
        ),
    ),
    references=("CS231n: Gradient checks, kinks in the objective",),
    needs=("loss",),
    judge=lambda measured: measured.gradient_check.of("WP502"),
)
