"""Run by torchrun: check-ups of models that several ranks hold, healthy and with planted faults. The first rank prints
a line of JSON for each set-up.
"""

import json
import sys
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

import wellposed as wp


class Faulty(torch.autograd.Function):
    """A product whose gradient by the weight is 10 % too large."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        return g @ weight, 1.1 * g.T @ x


class FaultyLinear(nn.Linear):
    def forward(self, x):
        return Faulty.apply(x, self.weight) + self.bias


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


def network(middle=nn.Linear, *, dropout=0.0, last=None):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 17), nn.Tanh(), middle(17, 16), nn.LayerNorm(16), nn.Dropout(dropout), nn.Linear(16, 4)]
    return nn.Sequential(*layers, *([last] if last else []))


def ddp(model):
    return DistributedDataParallel(model)


def fsdp(model, policy=None):
    options = {"mp_policy": policy} if policy else {}
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, **options)
    return fully_shard(model, **options)


def summed(state, bucket):
    """The gradients of all ranks added up and not averaged."""
    return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda future: future.value()[0])


def with_summed(model):
    model.register_comm_hook(None, summed)
    return model


def with_no_sync_left_on(model):
    model.require_backward_grad_sync = False
    return model


def drifted(model):
    with torch.no_grad():
        model.module[0].weight += 1e-3 * dist.get_rank()
    return model


def without_sync(model):
    model.set_requires_gradient_sync(False)
    return model


def checkpointed(model):
    apply_activation_checkpointing(model, check_fn=lambda module: isinstance(module, nn.Linear))
    return model


BF16 = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)

SET_UPS = {
    "ddp healthy": (ddp, network, {}),
    "ddp dropout": (ddp, partial(network, dropout=0.3), {}),
    "ddp wrong backward": (ddp, partial(network, FaultyLinear), {}),
    "ddp summed": (lambda m: with_summed(ddp(m)), network, {}),
    "ddp no_sync": (lambda m: with_no_sync_left_on(ddp(m)), network, {}),
    "ddp drifted": (lambda m: drifted(ddp(m)), network, {}),
    "fsdp healthy": (fsdp, network, {}),
    "fsdp dropout": (fsdp, partial(network, dropout=0.3), {}),
    "fsdp bfloat16": (partial(fsdp, policy=BF16), network, {}),
    "fsdp checkpointed": (lambda m: fsdp(checkpointed(m)), network, {}),
    "fsdp wrong backward": (fsdp, partial(network, FaultyLinear), {}),
    "fsdp detached": (fsdp, partial(network, Detached), {}),
    "fsdp rate": (fsdp, network, {"rate": 30.0}),
    "fsdp raw pixels": (fsdp, network, {"scale": 255.0}),
    "fsdp double softmax": (fsdp, partial(network, last=nn.Softmax(-1)), {}),
    "fsdp no_sync": (lambda m: without_sync(fsdp(m)), network, {}),
}  # fmt: skip


def check(wrap, make, rate=1e-2, scale=1.0):
    model = wrap(make())
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(dist.get_rank())  # another part of the batch on every rank
    torch.manual_seed(dist.get_rank())
    inputs = torch.rand(12, 6, generator=generator) * 255 if scale > 1 else torch.randn(12, 6, generator=generator)
    problem = wp.TorchProblem(
        model, nn.CrossEntropyLoss(), (inputs, torch.randint(4, (12,), generator=generator)), optimizer=optimizer
    )
    before = [own(parameter).clone() for parameter in model.parameters()], torch.get_rng_state()
    report = wp.checkup(problem)
    same = all(map(torch.equal, before[0], map(own, model.parameters()))) and torch.equal(
        before[1], torch.get_rng_state()
    )
    untouched = all(parameter.grad is None for parameter in model.parameters()) and not optimizer.state
    return report, same and untouched


def own(parameter):
    return (parameter.to_local() if hasattr(parameter, "to_local") else parameter).detach()


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name, (wrap, make, options) in SET_UPS.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        report, restored = check(wrap, make, **options)
        every = [None] * dist.get_world_size()
        dist.all_gather_object(every, (report.to_json(), restored))
        if dist.get_rank() == 0:
            told = [(f.rule, f.verdict.value, f.cause, f.where) for f in report.findings if f.found]
            line = {
                "set-up": name,
                "found": told,
                "checked_in": report.problem.checked_in,
                "same": len({text for text, _ in every}) == 1,
                "restored": all(kept for _, kept in every),
                "evaluations": report.evaluations,
            }
            print(json.dumps(line), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
