"""Two processes on loopback, healthy and with each planted bug: torchrun --nproc-per-node 2 examples/ranks.py

Every rank prints nothing but rank 0, which says for each set-up what wellposed found.
"""

from __future__ import annotations

import contextlib

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import wellposed as wp


def network() -> nn.Module:
    torch.manual_seed(0)  # the same weights on every rank
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4)).double()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(dist.get_rank())  # another part on every rank
    return torch.randn(12, 6, generator=generator, dtype=torch.float64), torch.randint(4, (12,), generator=generator)


def times_the_world_size(model, batch):
    inputs, targets = batch
    (F.cross_entropy(model(inputs), targets) * dist.get_world_size()).backward()


def averaged_twice(model, batch):
    inputs, targets = batch
    F.cross_entropy(model(inputs), targets).backward()
    for parameter in model.parameters():
        parameter.grad /= dist.get_world_size()


def past_the_wrapper(model, batch):
    inputs, targets = batch
    F.cross_entropy(model.module(inputs), targets).backward()  # DDP's own forward is left out: nothing is reduced


def without_sync(model, batch):
    with model.no_sync() if hasattr(model, "no_sync") else contextlib.nullcontext():
        inputs, targets = batch
        F.cross_entropy(model(inputs), targets).backward()


def sharded() -> nn.Module:
    model = network()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(model)


def main() -> None:
    dist.init_process_group("gloo")
    set_ups = {
        "DDP, healthy": (DistributedDataParallel, None),
        "DDP, loss times the world size": (DistributedDataParallel, times_the_world_size),
        "DDP, averaged by hand too": (DistributedDataParallel, averaged_twice),
        "DDP, forward past the wrapper": (DistributedDataParallel, past_the_wrapper),
        "DDP, no_sync left on": (DistributedDataParallel, without_sync),
        "FSDP2, healthy": (lambda model: sharded(), None),
        "FSDP2, loss times the world size": (lambda model: sharded(), times_the_world_size),
        "FSDP2, averaged by hand too": (lambda model: sharded(), averaged_twice),
    }
    for name, (wrap, step) in set_ups.items():
        report = wp.check_ranks(wrap(network()), nn.CrossEntropyLoss(), batch(), step=step)
        if dist.get_rank() == 0:
            found = next(finding for finding in report.findings if finding.rule == "WP507")
            print(f"{name:36} {found.verdict.value:6} {found.cause:17} {found.message}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
