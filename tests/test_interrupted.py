"""Ctrl-C gives the report so far, and progress says what is left of the budget."""

import re
import sys
from array import array

import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed.__main__ import main

CALLS = array("l", [0])  # whose numbers no check puts back


class Stopping(nn.Module):
    """A loss that is interrupted at one of its calls, which its copies count with it."""

    def __init__(self, at):
        super().__init__()
        self.at, CALLS[0] = at, 0

    def forward(self, scores, wanted):
        CALLS[0] += 1
        if CALLS[0] == self.at:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(scores, wanted)


def posed(at=0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    batch = (torch.randn(64, 8), torch.randint(3, (64,)))
    return wp.TorchProblem(model, Stopping(at), batch, optimizer=torch.optim.Adam(model.parameters(), 1e-3))


def calls():
    wp.checkup(posed())
    return CALLS[0]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.95])
def test_what_was_found_by_then_is_kept(part):
    problem = posed(at=3 + int(part * (calls() - 3)))
    weights = [parameter.detach().clone() for parameter in problem.model.parameters()]
    with pytest.raises(wp.Interrupted) as stopped:
        wp.checkup(problem)
    report = stopped.value.report
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert {f.rule for f in report.findings} == {f.rule for f in wp.checkup(posed()).findings}
    open_ = [f for f in report.findings if f.message == "The check was interrupted before this was judged."]
    assert open_
    assert all(f.verdict is wp.Verdict.UNDECIDED for f in open_)
    assert str(report) in str(stopped.value)
    assert (len(open_) < len(report.findings)) or part == 0.0
    for before, after in zip(weights, problem.model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_the_command_shows_it(tmp_path, capsys, monkeypatch):
    file = tmp_path / "training.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(__file__.rpartition('/')[0])!r})\nfrom test_interrupted import posed\n\n\ndef problem():\n    return posed(at=12)\n"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["check", str(file)]) == 130
    assert "interrupted" in capsys.readouterr().out


def test_progress_counts_the_budget():
    told = []
    wp.checkup(posed(), progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    counted = [what for what, _ in told if "evaluations" in what]
    assert re.match(r"gradients: \d evaluations?, of at most [\d,]+$", counted[0])
    told.clear()
    wp.checkup(posed(), full=True, progress=lambda what, share: told.append((what, share)))
    assert "gradients: 1 evaluation" in [what for what, _ in told]
