"""Check-ups of models that several ranks hold: on 2 and 4 processes, healthy and with planted faults."""

import json
from pathlib import Path

import pytest

from launched import on_ranks

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
    "columns": (),
    "columns drifted": ("WP507", "not-synchronised", "4.bias"),
}
REFUSED = {
    "by hand": ["talks to other ranks, and the model is neither DDP nor made of DTensors"],
    "closed over": [
        "every rank has a loss of its own, and a loss of one argument does not show its batch",
        "give the batch to the problem: wp.TorchProblem(model, loss, (inputs, targets))",
    ],
}
CLOSER = {"fsdp full": (), "columns full": ()}
AT_LENGTH = [
    "ddp no_sync", "fsdp healthy", "fsdp checkpointed", "fsdp rate", "fsdp raw pixels", "fsdp double softmax", "columns",
]  # fmt: skip
ALSO_ON_FOUR = ["ddp healthy", "ddp summed", "fsdp dropout", "fsdp wrong backward"]


@pytest.mark.parametrize(
    ("ranks", "names"),
    [
        (2, [name for name in (*EXPECTED, *REFUSED) if name not in AT_LENGTH]),
        (2, [*AT_LENGTH, *CLOSER]),
        (4, ALSO_ON_FOUR),
    ],
    ids=["two", "two at length", "four"],
)
def test_every_rank_gets_the_same_true_report(ranks, names):
    done = on_ranks(ranks, str(HERE / "joint.py"), *names)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {one["set-up"] for one in told} == set(names), done.stderr[-2000:]
    for one in told:
        for words in REFUSED.get(one["set-up"], ()):
            assert words in one["refused"]
        if one["set-up"] in REFUSED:
            continue
        expected = (EXPECTED | CLOSER)[one["set-up"]]
        assert one["same"], one
        assert one["restored"], one
        assert bool(one["found"]) == bool(expected), one
        if expected:
            rule, verdict, cause, where = one["found"][0]
            assert (rule, verdict, cause, where) == (expected[0], "fails", *expected[1:]), one
        if not expected and not one["set-up"].endswith(("bfloat16", "full", "columns")):
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


def test_the_command_line_prints_once(tmp_path):
    (tmp_path / "problem.py").write_text(PROBLEM.format(batch=WITH_ITS_BATCH))
    written = tmp_path / "report.json"
    done = on_ranks(2, "-m", "wellposed", "check", str(tmp_path / "problem.py"), "--json", str(written))
    assert done.stdout.count("wellposed: not ok") == 1, done.stderr[-2000:]
    assert done.stdout.startswith("wellposed: not ok")
    assert {finding["rule"] for finding in json.loads(written.read_text())["findings"]} >= {"WP101", "WP507"}
    assert done.returncode == 1
