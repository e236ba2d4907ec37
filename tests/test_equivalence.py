"""Accumulated gradients against the full batch's, gradients over ranks against the joint batch's."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp
from launched import on_ranks
from networks import mlp
from wellposed.gradients.equivalence import over_ranks

ROOT = Path(__file__).parent.parent


def problem(model=None, ignored=0, dtype=torch.float32):
    x, y = torch.randn(24, 16, dtype=dtype), torch.randint(4, (24,))
    y[:ignored] = -100
    return wp.TorchProblem((model or mlp()).to(dtype), nn.CrossEntropyLoss(), (x, y))


def added_up(model, batches):
    for x, y in batches:
        F.cross_entropy(model(x), y).backward()


def divided_twice(model, batches):
    for x, y in batches:
        (F.cross_entropy(model(x), y) / len(batches) ** 2).backward()


def zeroed_in_between(model, batches):
    for x, y in batches:
        model.zero_grad()
        (F.cross_entropy(model(x), y) / len(batches)).backward()


def by_valid_targets(model, batches):
    count = sum(int((y != -100).sum()) for _, y in batches)
    for x, y in batches:
        (F.cross_entropy(model(x), y, reduction="sum") / count).backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_usual_recipe_and_a_right_one_hold(dtype):
    assert wp.check_accumulation(problem(dtype=dtype)).findings[0].verdict is wp.Verdict.HOLDS
    assert (
        wp.check_accumulation(problem(ignored=5, dtype=dtype), step=by_valid_targets).findings[0].verdict
        is wp.Verdict.HOLDS
    )
    # One example more in some micro-batches than in others.
    assert wp.check_accumulation(problem(dtype=dtype), 5, step=by_valid_targets).ok


@pytest.mark.parametrize(
    ("step", "ignored", "cause", "words"),
    [
        (
            added_up,
            0,
            "not-divided",
            "It is 4 times too large, the number of micro-batches: each loss must be divided by it.",
        ),
        (divided_twice, 0, "divided-twice", "It is 1/4 of what it should be"),
        (zeroed_in_between, 0, "lost", "Of micro-batch 0, 1, 2 nothing is in it"),
        (
            None,
            5,
            "unequal-counts",
            "It weighs all micro-batches alike (0.25), the full batch weighs them 0.0526, 0.316, 0.316, 0.316",
        ),
    ],
)
def test_what_accumulation_does_wrong_is_named(step, ignored, cause, words):
    (found,) = wp.check_accumulation(problem(ignored=ignored), step=step).findings
    assert (found.rule, found.verdict, found.cause) == ("WP506", wp.Verdict.FAILS, cause)
    assert words in found.message


def test_batch_normalisation_is_suspect_and_nothing_is_changed():
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    (found,) = wp.check_accumulation(problem(model)).findings
    assert (found.verdict, found.cause) == (wp.Verdict.SUSPECT, "batch-statistics")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.check_accumulation(problem(), 1), "micro_batches must be a whole number from 2 on, not 1"),
        (lambda: wp.check_accumulation(problem(), 25), "a batch of 24 examples cannot be split into 25 micro-batches"),
        (
            lambda: wp.check_accumulation(wp.FunctionProblem(lambda p: 0.0, lambda p: p, {"w": 1.0})),
            "needs a TorchProblem with a batch",
        ),
        (lambda: wp.check_ranks(mlp(), nn.CrossEntropyLoss(), None), "check_ranks needs a process group"),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=re.escape(words)):
        call()


def test_what_differs_between_ranks_is_said_before_anything_is_judged():
    (found,) = over_ranks(2, ["w"], ["w", "b"], lambda: pytest.fail("nothing to judge"))
    assert (found.rule, found.verdict, found.cause) == ("WP507", wp.Verdict.FAILS, "not-synchronised")
    assert found.message == "The values of 1 tensors differ between ranks: `w`."


def test_two_ranks_healthy_and_with_each_planted_bug():
    done = on_ranks(2, str(ROOT / "examples/ranks.py"))
    told = {
        line[:36].strip(): line[37:].split()[:2]
        for line in done.stdout.splitlines()
        if line.startswith(("DDP", "FSDP2"))
    }
    assert {name: words[0] if words[0] == "holds" else words[1] for name, words in told.items()} == {
        "DDP, healthy": "holds",
        "DDP, loss times the world size": "world-size",
        "DDP, averaged by hand too": "averaged-twice",
        "DDP, forward past the wrapper": "not-synchronised",
        "DDP, no_sync left on": "not-synchronised",
        "FSDP2, healthy": "holds",
        "FSDP2, loss times the world size": "world-size",
        "FSDP2, averaged by hand too": "averaged-twice",
    }, done.stderr[-2000:]
