"""The gradient of a loss by some tensors, also where torch allows it in one way only."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wellposed.backends.torch.leaves import leaves, nodes
from wellposed.backends.torch.shards import in_shards

_REENTRANT = "CheckpointFunctionBackward"


def gradients_of(
    loss: torch.Tensor, tensors: Sequence[torch.Tensor], *, again: bool = False
) -> Sequence[torch.Tensor | None]:
    """d loss / d tensor for each; None where there is none. Nothing is left in `grad`. `again`: the graph is kept.

    Reentrant checkpoints can be passed by `backward` alone, which writes to every leaf within reach: its `grad` is put
    back. By `backward` alone the gradient of what lies in shards is brought together too.
    """
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    if not wanted:
        return [None] * len(tensors)
    if any(map(in_shards, wanted)) or any(type(node).__name__ == _REENTRANT for node in nodes(loss)):
        found = iter(_left_by_backward(loss, wanted, again=again))
    else:
        found = iter(torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=again or None))
    return [next(found) if tensor.requires_grad else None for tensor in tensors]


def _left_by_backward(loss: torch.Tensor, wanted: Sequence[torch.Tensor], *, again: bool) -> list[torch.Tensor | None]:
    every = list({id(tensor): tensor for tensor in [*wanted, *leaves(loss)]}.values())
    before = [tensor.grad for tensor in every]
    try:
        for tensor in every:
            tensor.grad = None
        loss.backward(retain_graph=again or None)
        return [tensor.grad for tensor in wanted]
    finally:
        for tensor, own in zip(every, before, strict=True):
            tensor.grad = own
