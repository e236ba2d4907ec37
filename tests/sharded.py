"""Run by torchrun on two ranks: the weights that `initialize` sets in a sharded model are those of the whole one. Rank 0 says "same"."""

from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import wellposed as wp


def network(device: str) -> nn.Module:
    torch.manual_seed(0)
    with torch.device(device):
        return nn.Sequential(nn.Linear(6, 17), nn.Tanh(), nn.Linear(17, 16), nn.LayerNorm(16), nn.Linear(16, 4))


def sharded(device: str) -> nn.Module:
    model = network(device)
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    fully_shard(model)
    return model


def main() -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.5, 2, 32)[:, None]
    for batch in (None, x):
        part = None if batch is None else batch[rank::world]  # each rank has a part of its own
        for device in ("cpu", "meta"):
            whole, shards = network(device), sharded(device)
            wp.initialize(whole, batch)
            wp.initialize(shards, part)
            for (name, one), shard in zip(whole.named_parameters(), shards.parameters(), strict=True):
                assert shard.to_local().numel() < one.numel(), f"{name} is not sharded"
                torch.testing.assert_close(
                    shard.full_tensor(), one, rtol=1e-5, atol=1e-7, msg=partial("{}: {}".format, name)
                )
        whole, replica = network("cpu"), DistributedDataParallel(network("cpu"))
        wp.initialize(whole, batch)
        wp.initialize(replica, part)
        for (name, one), same in zip(whole.named_parameters(), replica.parameters(), strict=True):
            torch.testing.assert_close(same, one, rtol=1e-5, atol=1e-7, msg=partial("{}: {}".format, name))
            first = same.detach().clone()
            dist.broadcast(first, 0)
            assert torch.equal(first, same), f"{name} differs between ranks"
    if rank == 0:
        print("same")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
