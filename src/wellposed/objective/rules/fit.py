"""WP401: the arguments of a loss function against what it is made for."""

from __future__ import annotations

import numpy as np

from wellposed.backends.measured import LossArguments
from wellposed.findings import Finding, Remedy, Verdict
from wellposed.objective.misfits import NATS, VARIANCE, misfits
from wellposed.rule import Cause, Rule

FIT = Rule(
    id="WP401",
    subject="objective",
    priority=20,
    title="output and loss do not fit",
    claim=(
        "The loss function gets what it is made for: scores, probabilities and targets of the shapes and ranges that it"
        " expects."
    ),
    judged=(
        "From the arguments of each known loss function as it is called: whether scores are probabilities already (rows"
        " sum to 1), how low the loss can become with outputs that the last activation allows, shapes that are"
        " broadcast against each other, targets outside of the classes or of the activation's reach. What makes the"
        f" loss raise, or keeps it from falling below {NATS:g} nats ({VARIANCE:g} of the targets' variance)"
        " whatever the weights, fails; what only slows training is suspect."
    ),
    causes=(
        Cause(
            "double-softmax",
            "cross_entropy takes scores and applies the softmax itself; here it is applied twice.",
            "outputs.sum(1) is 1 for every row.",
            (
                Remedy(
                    "Leave the softmax out of the model; apply it only to read off probabilities",
                    "loss = cross_entropy(scores, targets)",
                ),
            ),
            treatment="scores",
        ),
        Cause(
            "double-sigmoid",
            "binary_cross_entropy_with_logits applies the sigmoid itself; here it is applied twice.",
            "outputs lie between 0 and 1.",
            (Remedy("Leave the sigmoid out of the model", "loss = binary_cross_entropy_with_logits(scores, targets)"),),
            treatment="scores",
        ),
        Cause(
            "bounded-scores",
            "An activation before the loss keeps scores within bounds, so that no class can be said to be certain.",
            "Print outputs.min() and outputs.max().",
            (Remedy("Give the loss the last layer's outputs, without an activation"),),
            treatment="scores",
        ),
        Cause(
            "rectified-scores",
            "A ReLU before the loss sets scores to zero and passes no gradient back through them.",
            "(outputs == 0).float().mean()",
            (Remedy("Give the loss the last layer's outputs, without an activation"),),
            treatment="scores",
        ),
        Cause(
            "missing-log-softmax",
            "nll_loss and kl_div take logarithms of probabilities; here they get something else.",
            "outputs.exp().sum(1) should be 1 for every row.",
            (Remedy("Apply log_softmax first, or let cross_entropy do so", "loss = cross_entropy(scores, targets)"),),
            treatment="logits",
        ),
        Cause(
            "argument-order",
            "The two arguments of kl_div have changed places: the loss can fall without bound.",
            "outputs.sum(1) is 1, and targets.exp().sum(1) is.",
            (
                Remedy(
                    "Give the logarithms of the model's probabilities first",
                    "loss = kl_div(scores.log_softmax(1), probabilities, reduction='batchmean')",
                ),
            ),
        ),
        Cause(
            "class-weights",
            "The weights of the classes are the wrong way round: the frequent class has the larger one.",
            "Print torch.bincount(targets) beside the weights.",
            (
                Remedy(
                    "Weigh each class by the inverse of its frequency",
                    "weight = len(targets) / (classes * torch.bincount(targets))",
                ),
            ),
        ),
        Cause(
            "missing-sigmoid",
            "binary_cross_entropy takes probabilities; here it gets numbers outside of 0 to 1.",
            "Print outputs.min() and outputs.max().",
            (
                Remedy(
                    "Take the loss that applies the sigmoid itself",
                    "loss = binary_cross_entropy_with_logits(scores, targets)",
                ),
            ),
            treatment="logits",
        ),
        Cause(
            "one-unit-softmax",
            "The softmax of a single score is 1 whatever the score: nothing can be learned.",
            "outputs.shape[1] is 1.",
            (
                Remedy(
                    "For two classes take one score with the sigmoid's loss, or two scores with cross_entropy",
                    "loss = binary_cross_entropy_with_logits(scores.squeeze(1), targets.float())",
                ),
            ),
        ),
        Cause(
            "wrong-softmax-axis",
            "The softmax runs over the examples of the batch, and not over the classes.",
            "outputs.sum(0) is 1 for every column.",
            (Remedy("Leave it out before cross_entropy; else take the axis of the classes", "softmax(scores, dim=1)"),),
            treatment="scores",
        ),
        Cause(
            "broadcast",
            "Outputs and targets have different shapes, and every output is held against every target.",
            "Print outputs.shape and targets.shape.",
            (Remedy("Give both one shape", "loss(outputs.squeeze(-1), targets)"),),
            treatment="shape",
        ),
        Cause(
            "class-range",
            "A class index is below 0, or as large as the number of scores or larger.",
            "Print targets.min(), targets.max() and outputs.shape[1].",
            (Remedy("Count classes from 0, and give the last layer one output per class"),),
            treatment="classes",
        ),
        Cause(
            "one-hot",
            "cross_entropy was given one-hot rows of whole numbers; it takes class indices (or probabilities as real"
            " numbers).",
            "targets.shape equals outputs.shape.",
            (Remedy("Give class indices", "targets.argmax(1)"),),
            treatment="classes",
        ),
        Cause(
            "target-dtype",
            "The targets have a dtype that this loss does not take.",
            "Print targets.dtype.",
            (
                Remedy(
                    "Class indices are whole numbers, targets of regression and of binary losses real ones",
                    "targets.long(), targets.float()",
                ),
            ),
            treatment="classes",
        ),
        Cause(
            "target-range",
            "Some targets are outside of what the outputs, or the loss, can reach.",
            "Print targets.min() and targets.max().",
            (Remedy("Leave the last activation out, or scale the targets into its range"),),
            treatment="scores",
        ),
        Cause(
            "squared-error-on-classes",
            "Squared error on classes: its gradient vanishes where the last activation saturates on the wrong side.",
            "",
            (Remedy("Take the cross-entropy of scores without an activation"),),
        ),
        Cause(
            "shapes",
            "The loss function cannot be called on these shapes.",
            "Print outputs.shape and targets.shape.",
            (
                Remedy(
                    "Scores have the classes along axis 1: [N, C] or [N, C, ...]; targets [N] or [N, ...]",
                    "scores.movedim(-1, 1)",
                ),
            ),
            treatment="shape",
        ),
        Cause(
            "lengths",
            "There are not as many targets as outputs.",
            "Print outputs.shape and targets.shape.",
            (
                Remedy(
                    "Look where rows are dropped, sliced or flattened in one of the two alone",
                    "print(outputs.shape, targets.shape)",
                ),
            ),
        ),
    ),
    references=("Goodfellow, Bengio, Courville: Deep Learning, 2016, section 6.2.2",),
    judge=lambda measured: check_fit(measured.loss_arguments, measured.raised),
)


def check_fit(calls: list[LossArguments], raised: str) -> Finding:
    """The worst misfit of all calls. `raised`: what the loss raised, "" where it has a value."""
    if not calls:
        if raised:
            return FIT.undecided(f"The loss raised before a known loss function was called: {raised}")
        return FIT.not_applicable("No known loss function was called.")
    found = [misfit for call in calls for misfit in misfits(call)]
    if not found and not all(np.isfinite(array).all() for call in calls for array in (call.outputs, call.targets)):
        return FIT.undecided("What the loss function gets holds NaN or infinity.")
    if not found:
        shapes = ", ".join(
            f"{call.function} of outputs {list(call.outputs.shape)} and targets {list(call.targets.shape)}"
            for call in calls
        )
        return FIT.holds(message=f"What the loss function gets is what it is made for: {shapes}.")
    worst = min(found, key=lambda misfit: misfit.verdict is not Verdict.FAILS)
    return FIT.found(worst.verdict, worst.message, where="loss", cause=worst.cause, evidence=worst.evidence)
