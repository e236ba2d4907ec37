"""Remedies are tried on a copy: what they change, what they leave, and that nothing of the user's is touched."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

import wellposed as wp
from networks import batch, mlp
from test_objective_rules import classes, inputs, network, yes_or_no
from wellposed.cli import main

torch.manual_seed(0)  # for what is built while tests are collected
FAILS = wp.Verdict.FAILS


def deep():
    layers = [layer for _ in range(12) for layer in (nn.Linear(10, 10), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(10, 4))


def large_head():
    model = network()
    nn.init.normal_(model[2].weight, std=30)
    return model


@pytest.mark.parametrize(
    ("model", "loss", "x", "targets", "rule"),
    [
        (network(nn.Softmax(1)), nn.CrossEntropyLoss(), inputs(), classes(), "WP401"),
        (network(nn.Sigmoid(), out=1), nn.BCEWithLogitsLoss(), inputs(), yes_or_no(), "WP401"),
        (network(nn.ReLU(), out=1), nn.MSELoss(), inputs(), torch.randn(64, 1), "WP401"),
        (network(out=1), nn.MSELoss(), inputs(), torch.randn(64), "WP401"),
        (network(out=1), lambda out, y: ((out - y) ** 2).mean(), inputs(), torch.randn(64), "WP401"),
        (network(), nn.CrossEntropyLoss(), inputs() * 50 + 128, classes(), "WP101"),
        (deep(), nn.CrossEntropyLoss(), inputs(), classes(), "WP301"),
        (large_head(), nn.CrossEntropyLoss(), inputs(), classes(), "WP305"),
    ],
    ids=["softmax", "sigmoid", "relu", "broadcast", "broadcast by hand", "raw inputs", "deep sigmoid", "large head"],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_remedy_that_helps_is_shown_with_the_loss_before_and_after(model, loss, x, targets, rule):
    before = [parameter.detach().clone() for parameter in model.parameters()]
    report = wp.checkup(wp.TorchProblem(model, loss, (x, targets)), remedies=True)
    found = next(finding for finding in report.findings if finding.verdict is FAILS)
    assert found.rule == rule
    assert found.remedies[0].after < found.remedies[0].before
    assert f"the loss after 50 steps is {found.remedies[0].after:.4g}" in " ".join(str(report).split())
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    ("model", "loss", "targets"),
    [
        (network(out=1), nn.BCELoss(), yes_or_no()),
        (network(), nn.CrossEntropyLoss(), classes() + 1),
        (network(), nn.CrossEntropyLoss(), F.one_hot(classes(), 4)),
        (network(), nn.CrossEntropyLoss(), classes().float()),
        (network(out=1), nn.BCEWithLogitsLoss(), yes_or_no()[:, 0]),
    ],
)
def test_a_loss_that_raises_has_a_value_after_its_remedy(model, loss, targets):
    report = wp.checkup(wp.TorchProblem(model, loss, (inputs(), targets)), remedies=True)
    remedy = next(finding for finding in report.findings if finding.rule == "WP401").remedies[0]
    assert math.isnan(remedy.before)
    assert math.isfinite(remedy.after)
    assert json.loads(report.to_json())["findings"][0]["remedies"][0]["before"] == "nan"


@pytest.mark.parametrize("rate", [300.0, 1e-9])
def test_a_learning_rate_is_mended(rate):
    model = network()
    problem = wp.TorchProblem(
        model, nn.CrossEntropyLoss(), (inputs(), classes()), optimizer=SGD(model.parameters(), lr=rate)
    )
    found = next(finding for finding in wp.checkup(problem, remedies=True).findings if finding.rule == "WP402")
    assert not found.remedies[0].before <= found.remedies[0].after
    assert problem.optimizer.param_groups[0]["lr"] == rate


def test_parameters_that_the_optimizer_does_not_know_are_given_to_a_copy_of_it():
    model = network()
    optimizer = SGD(network().parameters(), lr=0.1)
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (inputs(), classes()), optimizer=optimizer)
    found = next(finding for finding in wp.checkup(problem, remedies=True).findings if finding.rule == "WP403")
    assert found.remedies[0].after < found.remedies[0].before
    assert len(optimizer.param_groups) == 1


class Stubborn(nn.Module):
    """Multiplies by a number that no initialisation changes."""

    def __init__(self):
        super().__init__()
        self.inside, self.out = nn.Linear(10, 32), nn.Linear(32, 4)

    def forward(self, x):
        return 1e4 * self.out(torch.relu(self.inside(x))) ** 3


def test_verdicts_are_the_same_with_remedies_and_without():
    problem = wp.TorchProblem(Stubborn(), nn.CrossEntropyLoss(), (inputs() * 100, classes()))
    tried, plain = wp.checkup(problem, remedies=True), wp.checkup(problem)
    assert [(f.rule, f.where, f.verdict) for f in tried.findings] == [
        (f.rule, f.where, f.verdict) for f in plain.findings
    ]
    assert not tried.ok
    assert any("Tried " in f.message or (f.remedies and f.remedies[0].before is not None) for f in tried.findings)


def test_a_remedy_that_has_nothing_to_change_raises_no_doubt():
    problem = wp.TorchProblem(network(out=1), nn.BCEWithLogitsLoss(), (inputs(), 2 * yes_or_no() - 1))
    found = next(finding for finding in wp.checkup(problem, remedies=True).findings if finding.rule == "WP401")
    assert (found.verdict, found.cause, found.remedies[0].before) == (FAILS, "target-range", None)


def test_a_healthy_problem_is_not_trained(monkeypatch):
    problem = wp.TorchProblem(mlp(), nn.CrossEntropyLoss(), batch())
    monkeypatch.setattr(type(problem), "trained", lambda *_: pytest.fail("nothing to try"))
    assert wp.checkup(problem, remedies=True).ok


def test_the_command_line_tries_remedies(tmp_path, capsys):
    file = tmp_path / "softmax.py"
    file.write_text(
        "import torch, wellposed as wp\nfrom torch import nn\n"
        "model = nn.Sequential(nn.Linear(10, 4), nn.Softmax(1))\n"
        "problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(64, 10), torch.arange(64) % 4))\n"
    )
    assert main(["check", str(file), "--select", "WP401", "--remedies"]) == 1
    assert "tried on a copy: the loss after 50 steps is" in capsys.readouterr().out
