"""WP507: gradient over ranks is another."""

from __future__ import annotations

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule

RANKS = Rule(
    id="WP507",
    subject="gradients",
    priority=70,
    title="gradient over ranks is another",
    claim="The gradient that the ranks arrive at together is that of the loss on their joint batch.",
    judged=(
        "Every rank runs its training step on its own part of the batch. What is left in grad must be the same on all"
        " ranks, and must agree with differences of the loss on the joint batch, parameters sharded or not. In a"
        " check-up it is held against the slope of the mean of the ranks' losses along that gradient."
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
                    "Run the wrapped model's forward (not model.module's), outside no_sync (for shards: after"
                    " set_requires_gradient_sync(True)), and start from the same weights"
                ),
            ),
        ),
    ),
    remedies=(Remedy("Check the loss on one process first: wp.check_gradients(problem)"),),
    references=("torch.nn.parallel.DistributedDataParallel", "torch.distributed.fsdp.fully_shard"),
)
