"""What CONTRIBUTING says of a new rule: one module and a line in the catalogue, and it is everywhere."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed.catalogue import CATALOGUE
from wellposed.cli import main
from wellposed.remedies.treatments import TREATMENTS, treatment_of

MODULE = '''
"""WP399: a weight far larger than any that a network is started with."""

from wellposed.findings import Evidence, Remedy, Verdict
from wellposed.rule import Cause, Rule

_SUSPECT, _FAILS = 50.0, 500.0

HUGE = Rule(
    id="WP399",
    subject="weights",
    priority=145,
    follows=("WP303",),
    title="a huge weight",
    claim="No weight is huge.",
    judged=f"The largest weight: above {_SUSPECT:g} it is suspect, above {_FAILS:g} it fails.",
    causes=(Cause("typo", "A factor was typed twice.", "print(weight.max())", (Remedy("Draw it anew"),)),),
    needs=("loss",),
    figures=("depth",),
    treatment="initialize",
    judge=lambda measured: judge(measured.weights),
)


def judge(weights):
    name, size = max(((name, float(abs(w.numbers).max())) for name, w in weights.items()), key=lambda pair: pair[1])
    evidence = (Evidence("largest weight", size, name, reference=f"below {_SUSPECT:g}"),)
    if size <= _SUSPECT:
        return HUGE.holds(evidence)
    verdict = Verdict.FAILS if size > _FAILS else Verdict.SUSPECT
    text = f"`{name}` holds a weight of {size:.3g}."
    return HUGE.found(verdict, text, where=name, cause="typo", evidence=evidence)
'''


@pytest.fixture
def rule(tmp_path, monkeypatch):
    (tmp_path / "huge_weight.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "huge_weight", raising=False)
    import huge_weight

    monkeypatch.setitem(CATALOGUE, "WP399", huge_weight.HUGE)  # the catalogue's line
    return huge_weight.HUGE


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():
        model[0].bias[3] = 1000.0
    batch = (torch.randn(32, 8), torch.randint(3, (32,)))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch)


def test_it_is_judged_ordered_shown_and_written(rule, problem, tmp_path):
    report = wp.checkup(problem)
    found = next(finding for finding in report.findings if finding.rule == "WP399")
    assert (found.verdict, found.where, found.cause) == (wp.Verdict.FAILS, "0.bias", "typo")
    roots = [finding.rule for finding in report.findings if finding.found and not finding.follows]
    assert roots.index("WP399") == 0 or CATALOGUE[roots[0]].priority < rule.priority
    assert "a huge weight" in str(report)
    assert "`0.bias` holds a weight of 1e+03." in str(report)
    report.to_html(tmp_path / "report.html")
    assert "holds a weight of 1e+03" in (tmp_path / "report.html").read_text()
    written = next(one for one in json.loads(report.to_json())["findings"] if one["rule"] == "WP399")
    assert (written["verdict"], written["evidence"][0]["reference"]) == ("fails", "below 50")
    assert next(figure for figure in report.figures if figure.name == "depth").rules[-1] == "WP399"
    assert wp.check_weights(problem).findings[0].rule == "WP399"


def test_its_words_are_explained_and_documented(rule, capsys):
    main(["explain", "WP399"])
    explained = capsys.readouterr().out
    assert "above 50 it is suspect, above 500 it fails" in " ".join(explained.split())
    docs = pages()
    assert "above 500 it fails" in docs.rule_page(rule)
    assert "| [WP399](WP399.md) | a huge weight | No weight is huge. |" in docs.index()


def test_it_is_left_out_where_something_is_missing_that_it_needs(rule):
    def loss(outputs, targets):
        raise ZeroDivisionError("no rows")

    problem = wp.TorchProblem(nn.Linear(2, 1), loss, (torch.ones(2, 2), torch.ones(2, 1)))
    with pytest.raises(ZeroDivisionError):
        wp.check_weights(problem)


def test_its_remedy_is_tried(rule, problem):
    report = wp.checkup(problem, remedies=True)
    found = next(finding for finding in report.findings if finding.rule == "WP399")
    assert found.remedies[0].before is not None
    assert treatment_of(found) is TREATMENTS["initialize"]


def pages():
    path = Path(__file__).parent.parent / "docs/generate.py"
    spec = importlib.util.spec_from_file_location("generated_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
