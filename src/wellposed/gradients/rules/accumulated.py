"""WP506: accumulated gradient is another."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule

ACCUMULATED = Rule(
    id="WP506",
    subject="gradients",
    priority=60,
    title="accumulated gradient is another",
    claim="The gradient accumulated over micro-batches is the full batch's.",
    judged=(
        "The training step runs on the micro-batches, and what it leaves in grad is held against the gradient of the"
        " loss on the whole batch. Both are written as sums of the micro-batches' own gradients; it fails where they"
        " differ by more than rounding."
    ),
    causes=(
        Cause(
            "not-divided",
            "The losses of the micro-batches are added without dividing by their number: the learning rate is that many"
            " times too large.",
            "The ratio is the number of micro-batches.",
            (Remedy("Divide each loss", "(loss / accumulation_steps).backward()"),),
        ),
        Cause(
            "divided-twice",
            "The loss is divided by the number of micro-batches in two places, often once by the library and once by"
            " hand.",
            "The ratio is one over the number of micro-batches.",
            (Remedy("Divide in one place alone"),),
        ),
        Cause(
            "scale",
            "A factor between the two that is not the number of micro-batches.",
            "The ratio is the same for every tensor.",
        ),
        Cause(
            "unequal-counts",
            "Each micro-batch's loss is a mean over its own targets (tokens that are not padding), and their numbers"
            " differ: targets of short sequences count for more.",
            "Count the valid targets of each micro-batch.",
            (
                Remedy(
                    "Sum over targets, and divide by the number in the whole batch",
                    "loss = cross_entropy(logits, targets, reduction='sum') / targets_in_batch",
                ),
            ),
        ),
        Cause(
            "lost",
            "A micro-batch's gradient was zeroed or overwritten before the step.",
            "",
            (Remedy("Zero once, before the first"),),
        ),
        Cause(
            "batch-statistics",
            "Batch normalisation sees one micro-batch at a time: its statistics are others, and so is the loss.",
            "The full batch's gradient is no sum of the micro-batches'.",
            (Remedy("Use a normalisation that looks at one example (GroupNorm, LayerNorm), or larger micro-batches"),),
        ),
    ),
    remedies=(Remedy("Compare with the gradient of the mean loss on the whole batch"),),
    references=("transformers!34191",),
)
