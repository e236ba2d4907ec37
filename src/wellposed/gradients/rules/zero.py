"""WP505: gradient zero or missing."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import NEGLIGIBLE, Cause, Rule

ZERO = Rule(
    id="WP505",
    subject="gradients",
    priority=270,
    follows=("WP401", "WP403", "WP404", "WP302", "WP201", "WP204", "WP205"),
    cause_follows={"detached": ("WP401", "WP409", "WP403")},
    title="gradient zero or missing",
    claim="Every parameter that the loss depends on has a gradient.",
    judged=(
        "It fails where the claimed gradient of a tensor is exactly zero or missing although the loss changes along it"
        " by more than the error bar. Where the loss does not change either, the tensor has no influence at this"
        f" point: suspect, or a note where such tensors hold less than {100 * NEGLIGIBLE:g} % of the parameters."
    ),
    causes=(
        Cause(
            "detached",
            "The framework gives this tensor no gradient: a detach(), .data, .item() or no_grad() cuts the graph, or it"
            " is frozen.",
            "Check `parameter.requires_grad`, and look for detach() between it and the loss.",
            (Remedy("Remove the detach, or rebuild the value from tensors that carry gradient"),),
        ),
        Cause(
            "zero",
            "The gradient is zero in every entry: an accumulator that is overwritten, or a mask that covers"
            " everything.",
            "Print the gradient before and after each line that writes to it.",
            (Remedy("Look where this tensor's gradient is last assigned"),),
        ),
        Cause(
            "out-of-reach",
            "The loss depends on a tensor that requires a gradient but belongs to no module and no variable that could"
            " be found.",
            "Walk the graph of the loss to its leaves.",
            (Remedy("Make it a parameter of the model, or pass it to the loss as an argument"),),
        ),
        Cause(
            "unused",
            "The loss does not depend on this tensor here: it is unused, or everything behind it is dead or masked.",
            "Perturb it by hand and compare the loss.",
            (Remedy("Remove the parameter, or connect it"),),
        ),
    ),
    needs=("loss",),
    judge=lambda measured: measured.gradient_check.of("WP505"),
)
