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
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
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


def in_columns(model):
    return parallelize_module(
        model, init_device_mesh("cpu", (dist.get_world_size(),)), {"0": ColwiseParallel(), "2": RowwiseParallel()}
    )


def drifted_columns(model):
    in_columns(model)
    with torch.no_grad():
        model[4].bias[0] += 0.05 * dist.get_rank()
    return model


def two_hidden():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))


class Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(context, g):
        return g


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 4, bias=False)

    def forward(self, x):
        return Gathered.apply(self.down(torch.relu(self.up(x))))


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
    "fsdp full": (fully_shard, two_hidden, {"full": True, "same_batch": True}),
    "columns": (in_columns, two_hidden, {"same_batch": True}),
    "columns full": (in_columns, two_hidden, {"full": True, "same_batch": True}),
    "columns drifted": (drifted_columns, two_hidden, {"same_batch": True}),
    "by hand": (lambda m: m, ByHand, {"same_batch": True}),
    "closed over": (fsdp, network, {"closed_over": True}),
}  # fmt: skip


def check(wrap, make, rate=1e-2, scale=1.0, same_batch=False, closed_over=False, full=False):
    """`same_batch`: all ranks have one, and no optimizer, and what the batch itself is like is not asked for."""
    model = wrap(make())
    optimizer = None if same_batch else torch.optim.AdamW(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0 if same_batch else dist.get_rank())
    torch.manual_seed(dist.get_rank())
    inputs = torch.rand(12, 6, generator=generator) * 255 if scale > 1 else torch.randn(12, 6, generator=generator)
    targets = torch.randint(4, (12,), generator=generator)
    problem = (
        wp.TorchProblem(model, lambda model: model(inputs).square().mean())
        if closed_over
        else wp.TorchProblem(model, nn.CrossEntropyLoss(), (inputs, targets), optimizer=optimizer)
    )
    before = [own(parameter).clone() for parameter in model.parameters()], torch.get_rng_state()
    only = (lambda rule: not rule.startswith(("WP1", "WP2", "WP3"))) if same_batch else None
    report = wp.checkup(problem, full=full, **({"only": only} if only else {}))
    same = all(map(torch.equal, before[0], map(own, model.parameters()))) and torch.equal(
        before[1], torch.get_rng_state()
    )
    untouched = all(parameter.grad is None for parameter in model.parameters()) and not getattr(optimizer, "state", ())
    return report, same and untouched


def own(parameter):
    return (parameter.to_local() if hasattr(parameter, "to_local") else parameter).detach()


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name, (wrap, make, options) in SET_UPS.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        try:
            report, restored = check(wrap, make, **options)
        except wp.InputError as error:
            if dist.get_rank() == 0:
                print(json.dumps({"set-up": name, "refused": f"{error}"}), flush=True)
            continue
        every = [None] * dist.get_world_size()
        dist.all_gather_object(every, (report.to_json(), restored))
        if dist.get_rank() == 0:
            told = [(f.rule, f.verdict.value, f.cause, f.where) for f in report.findings if f.found]
            line = {
                "set-up": name,
                "found": told,
                "message": next((f.message for f in report.findings if f.found), ""),
                "checked_in": report.problem.checked_in,
                "same": len({text for text, _ in every}) == 1,
                "restored": all(kept for _, kept in every),
                "evaluations": report.evaluations,
            }
            print(json.dumps(line), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
