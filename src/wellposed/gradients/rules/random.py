"""WP504: loss is random."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule

RANDOM = Rule(
    id="WP504",
    subject="gradients",
    priority=290,
    title="loss is random",
    claim="The loss is the same at every evaluation.",
    judged=(
        "The loss is evaluated twice at one point, with every generator that can be found put back before each: those"
        " of Python, NumPy and the framework, and those that the user's functions and models keep. What was drawn from"
        " is named, and that holds: dropout is checked with its mask held fixed. Where the two values still differ"
        " nothing can be compared: suspect. The same where the gradient seemed wrong, but differs from one backward"
        " pass to the next by as much."
    ),
    causes=(
        Cause(
            "random",
            "Something that cannot be held fixed goes into the loss: a generator made anew without a seed, a counter,"
            " the clock, a race of threads.",
            "Evaluate the loss twice at the same parameters.",
            (
                Remedy(
                    "Make the generator once, with a seed, where the loss can reach it",
                    "rng = np.random.default_rng(0)",
                ),
            ),
        ),
        Cause(
            "sampled",
            "The tensor is a parameter of a distribution that is sampled: frameworks pass no gradient through a draw.",
            "Draw from a fixed distribution instead, and see whether the gradient appears.",
            (
                Remedy(
                    "Draw from a fixed distribution and shift and scale the draw", "mean + std * torch.randn_like(mean)"
                ),
            ),
        ),
        Cause(
            "random-backward",
            "The backward pass draws its own random numbers (a new dropout mask), or adds floating-point numbers in an"
            " order that changes.",
            "Call the backward pass twice at the same parameters and compare.",
            (
                Remedy("Keep the mask of the forward pass for the backward pass"),
                Remedy("Ask for deterministic kernels while checking", "torch.use_deterministic_algorithms(True)"),
            ),
        ),
    ),
    needs=("loss",),
    judge=lambda measured: measured.gradient_check.of("WP504"),
)
