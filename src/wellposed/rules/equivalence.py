"""WP506 and WP507: gradients that must be the same, however they are computed."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rules.rule import Cause, Rule

ACCUMULATED = Rule(
    id="WP506",
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

RANKS = Rule(
    id="WP507",
    priority=70,
    title="gradient over ranks is another",
    claim="The gradient that the ranks arrive at together is that of the loss on their joint batch.",
    judged=(
        "Every rank runs its training step on its own part of the batch. What is left in grad must be the same on all"
        " ranks, and must agree with differences of the loss on the joint batch, parameters sharded or not."
    ),
    causes=(
        Cause(
            "world-size",
            "The gradient is the number of ranks times too large: summed where it should be averaged.",
            "The ratio of claimed to measured slope is the world size.",
            (Remedy("Average: divide the loss, or the reduced gradient, by the world size"),),
        ),
        Cause(
            "averaged-twice",
            "The gradient is one over the number of ranks of what it should be: DDP averages already.",
            "The ratio of claimed to measured slope is one over the world size.",
            (Remedy("Take the division by the world size out"),),
        ),
        Cause(
            "not-synchronised",
            "Ranks hold different gradients or parameters: they drift apart.",
            "Compare the norms of each parameter and its gradient across ranks.",
            (
                Remedy(
                    "Run the wrapped model's forward (not model.module's), outside no_sync, and start from the same"
                    " weights"
                ),
            ),
        ),
    ),
    remedies=(Remedy("Check the loss on one process first: wp.check_gradients(problem)"),),
    references=("torch.nn.parallel.DistributedDataParallel", "torch.distributed.fsdp.fully_shard"),
)

RULES = (ACCUMULATED, RANKS)
