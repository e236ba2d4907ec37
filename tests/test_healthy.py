"""False alarms: nothing fails on healthy models of every kind, whatever the loss is multiplied by."""

import pytest
import torch
from torch import nn

import wellposed as wp
from networks import HEALTHY, batch, he, mlp


@pytest.mark.parametrize("kind", HEALTHY)
def test_nothing_fails(kind):
    report = wp.checkup(HEALTHY[kind]())
    assert report.ok, str(report)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_scale_of_the_loss_changes_no_verdict(factor):
    def verdicts(scale):
        torch.manual_seed(1)
        model = he(mlp(depth=6))
        loss = nn.CrossEntropyLoss()
        report = wp.checkup(wp.TorchProblem(model, lambda outputs, targets: scale * loss(outputs, targets), batch()))
        return [(finding.rule, finding.verdict, finding.where) for finding in report.findings]

    assert verdicts(factor) == verdicts(1.0)
