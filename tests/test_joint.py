"""Check-ups of models that several ranks hold: on 2 and 4 processes, healthy and with planted faults."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

EXPECTED = {
    "ddp healthy": (),
    "ddp dropout": (),
    "ddp wrong backward": ("WP501", "scale", "Faulty.backward"),
    "ddp summed": ("WP507", "world-size", "all tensors"),
    "ddp no_sync": ("WP507", "not-synchronised", "0.weight"),
    "ddp drifted": ("WP507", "not-synchronised", "0.weight"),
    "fsdp healthy": (),
    "fsdp dropout": (),
    "fsdp bfloat16": (),
    "fsdp checkpointed": (),
    "fsdp wrong backward": ("WP501", "scale", "Faulty.backward"),
    "fsdp detached": ("WP505", "detached", "2.bias"),
    "fsdp rate": ("WP402", "too-large", "optimizer"),
    "fsdp raw pixels": ("WP101", "scale", "inputs"),
    "fsdp double softmax": ("WP401", "double-softmax", "loss"),
    "fsdp no_sync": ("WP507", "not-synchronised", "3.weight"),
}
ALSO_ON_FOUR = ["ddp healthy", "ddp summed", "fsdp dropout", "fsdp wrong backward"]


def torchrun(ranks, *command):
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(launched, capture_output=True, text=True, timeout=300, env=environment, check=False)


@pytest.mark.parametrize(("ranks", "names"), [(2, list(EXPECTED)), (4, ALSO_ON_FOUR)])
def test_every_rank_gets_the_same_true_report(ranks, names):
    done = torchrun(ranks, str(HERE / "joint.py"), *names)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {one["set-up"] for one in told} == set(names), done.stderr[-2000:]
    for one in told:
        expected = EXPECTED[one["set-up"]]
        assert one["same"], one
        assert one["restored"], one
        assert bool(one["found"]) == bool(expected), one
        if expected:
            rule, verdict, cause, where = one["found"][0]
            assert (rule, verdict, cause, where) == (expected[0], "fails", *expected[1:]), one
        if not expected and "bfloat16" not in one["set-up"]:
            assert one["evaluations"] <= 40, one


PROBLEM = """
import atexit
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
import wellposed as wp

dist.init_process_group("gloo")
atexit.register(dist.destroy_process_group)
torch.manual_seed(0)
model = fully_shard(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)))
print("loading")
{batch}
"""
WITH_ITS_BATCH = """
batch = torch.rand(32, 6, generator=torch.Generator().manual_seed(dist.get_rank())) * 255, torch.randint(4, (32,))
problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), batch)
"""
CLOSED_OVER = """
x = torch.full((8, 6), 1.0 + dist.get_rank())
problem = wp.TorchProblem(model, lambda model: model(x).square().mean())
"""


def test_the_command_line_prints_once(tmp_path):
    (tmp_path / "problem.py").write_text(PROBLEM.format(batch=WITH_ITS_BATCH))
    written = tmp_path / "report.json"
    done = torchrun(2, "-m", "wellposed", "check", str(tmp_path / "problem.py"), "--json", str(written))
    assert done.stdout.count("wellposed: not ok") == 1, done.stderr[-2000:]
    assert done.stdout.startswith("wellposed: not ok")
    assert {finding["rule"] for finding in json.loads(written.read_text())["findings"]} >= {"WP101", "WP507"}
    assert done.returncode == 1


def test_ranks_that_each_close_over_their_batch_are_told_how_to_give_it(tmp_path):
    (tmp_path / "problem.py").write_text(PROBLEM.format(batch=CLOSED_OVER))
    done = torchrun(2, "-m", "wellposed", "check", str(tmp_path / "problem.py"))
    told = " ".join(done.stderr.split())
    assert "every rank has a loss of its own, and a loss of one argument does not show its batch" in told
    assert "give the batch to the problem: wp.TorchProblem(model, loss, (inputs, targets))" in told


ON_RANKS = """
import atexit
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
import wellposed as wp

dist.init_process_group("gloo")
atexit.register(dist.destroy_process_group)
torch.manual_seed(0)
batch = torch.randn(16, 6), torch.randint(4, (16,))
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))
{rest}
problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), batch)
"""
IN_COLUMNS = """
mesh = init_device_mesh("cpu", (2,))
parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
"""
DRIFTED = (
    IN_COLUMNS
    + """
with torch.no_grad():
    model[4].bias[0] += 0.05 * dist.get_rank()
"""
)
BY_HAND = """
class Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(context, g):
        return g


class Parallel(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 4, bias=False)

    def forward(self, x):
        return Gathered.apply(self.down(torch.relu(self.up(x))))


model = Parallel()
"""


@pytest.mark.parametrize(
    ("rest", "options", "status", "words"),
    [
        (IN_COLUMNS, [], 0, "wellposed: ok"),
        (IN_COLUMNS, ["--full"], 0, "wellposed: ok"),
        ("fully_shard(model)", ["--full"], 0, "wellposed: ok"),
        (DRIFTED, [], 1, "The values of 1 tensors differ between ranks: `4.bias`."),
        (BY_HAND, [], 2, "talks to other ranks, and the model is neither DDP nor made of DTensors"),
    ],
    ids=["columns", "columns, full", "shards, full, without an optimizer", "drifted", "by hand"],
)
def test_models_in_parts_that_work_together(rest, options, status, words, tmp_path):
    file = tmp_path / "problem.py"
    file.write_text(ON_RANKS.replace("{rest}", rest))
    done = torchrun(2, "-m", "wellposed", "check", str(file), "--ignore", "WP1,WP2,WP3", *options)
    said = " ".join((done.stdout + done.stderr).split())
    assert words in said, said[-3000:]
    assert (done.returncode != 0) == (status != 0), said[-3000:]
