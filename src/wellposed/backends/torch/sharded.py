"""Models that several processes hold together: sizes are those of the joint batch, and every rank gets the same
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import fsum

import torch
import torch.distributed as dist
from torch import nn

from wellposed.backends.measured import Operation
from wellposed.backends.torch.shards import in_shards
from wellposed.backends.torch.tracing.sizes import root_mean_square


def held_jointly(model: nn.Module) -> bool:
    """Whether it is wrapped by DistributedDataParallel, or some of its parameters lie in shards over the ranks."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return False
    return isinstance(model, nn.parallel.DistributedDataParallel) or any(map(in_shards, model.parameters()))


def gathered(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters as the forward pass of a sharded model knows them, by name: FSDP makes them whole in tensors of
    their own, which are always the same. Their memory is gone but while a layer runs.
    """
    found: dict[str, torch.Tensor] = {}
    with resharded(model):
        for module in model.modules():
            unshard = getattr(module, "unshard", None)
            if not callable(unshard):
                continue
            unshard()
            found |= {name: one for name, one in model.named_parameters() if not in_shards(one)}
            module.reshard()  # type: ignore[operator]
    return found


def mean_over_ranks(value: float) -> float:
    """The same number on every rank, to the last digit: decisions are taken by it."""
    values: list[float] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return fsum(values) / len(values)


def joint_root_mean_square(tensor: torch.Tensor) -> float:
    """Over the parts of all ranks, which must all ask for it in the same order."""
    sums = torch.tensor(
        [root_mean_square(tensor) ** 2 * tensor.numel(), tensor.numel()], dtype=torch.float64, device=tensor.device
    )
    dist.all_reduce(sums)
    total, number = sums.tolist()
    size: float = (total / max(number, 1)) ** 0.5
    return size


def with_joint_sources(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations with the mean over the ranks of what each reads."""
    sizes = torch.tensor(
        [one.source.mean_square if one.source is not None else 0.0 for one in operations], dtype=torch.float64
    )
    device = "cpu" if dist.get_backend() == "gloo" else "cuda"
    sizes = sizes.to(device)
    dist.all_reduce(sizes)
    means = (sizes / dist.get_world_size()).tolist()
    return tuple(
        one if one.source is None else replace(one, source=replace(one.source, mean_square=mean))
        for one, mean in zip(operations, means, strict=True)
    )


@contextmanager
def resharded(model: nn.Module) -> Iterator[None]:
    """Afterwards every shard is alone again."""
    try:
        yield
    finally:
        reshard(model)


def reshard(model: nn.Module) -> None:
    """Of the outermost group FSDP keeps the whole after a forward pass: what was gathered is let go of."""
    for module in model.modules():
        let_go = getattr(module, "reshard", None)
        if callable(let_go):
            let_go()
