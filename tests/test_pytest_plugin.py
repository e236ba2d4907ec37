"""The plugin, in a pytest of its own: under xdist too, and in JUnit's file."""

import os
import re
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import pytest

SUITE = """
import pytest
import torch
from torch import nn

import wellposed as wp


def problem(*end, scale=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4), *end)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (scale * torch.randn(64, 10), torch.arange(64) % 4))


def test_sound(wellposed):
    assert wellposed.checkup(problem())


def test_broken(wellposed):
    wellposed.check_objective(problem(nn.Softmax(1)))


@pytest.mark.wellposed(ignore=("WP401",))
def test_ignored(wellposed):
    assert not wellposed.check_objective(problem(nn.Softmax(1)))


def test_suspect(wellposed):
    wellposed.check_inputs(problem(scale=7.0))


@pytest.mark.wellposed(strict=True)
def test_suspect_is_not_enough(wellposed):
    wellposed.check_inputs(problem(scale=7.0))


def test_a_wrong_name(wellposed):
    wellposed.check_everything(problem())
"""


@pytest.fixture
def run(tmp_path):
    def run(suite, *options, alone=True):
        """`alone`: without other plugins, which take longer to import than most suites here to run."""
        (tmp_path / "test_suite.py").write_text(suite)
        plugins = ["wellposed.pytest_plugin", *(["xdist"] if "-n" in options else [])] if alone else []
        named = [word for plugin in plugins for word in ("-p", plugin)]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named, "test_suite.py", *options]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"COLUMNS": "120"} | ({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if alone else {}),
            check=False,
        )
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_reports_fail_tests_and_are_summed_up(run, options, tmp_path):
    said = run(SUITE, *options, "--junitxml", str(tmp_path / "junit.xml"), "--wellposed-html", "all.html")
    assert re.search(r"3 failed, 3 passed", said)
    assert "wellposed.check_objective: fails WP401 output and loss do not fit at loss" in said
    assert "cross_entropy gets probabilities: every row sums to 1." in " ".join(said.split())
    assert "wellposed.check_inputs (suspect fails here)" in said
    assert "the fixture wellposed has no 'check_everything'; it has checkup, check_inputs" in said
    assert re.search(r"5 checks in 5 tests: 1 fails, 2 suspect, (\d+ undecided, )?\d+ holds, \d+ not applicable", said)
    assert re.search(
        r"fails    WP401 output and loss do not fit at loss  test_suite.py::test_broken \(check_objective\)", said
    )
    page = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert "reports written to all.html" in said
    assert page.count("<section><h1") == 5
    assert "test_suite.py::test_broken: check_objective" in page
    assert "output and loss do not fit" in page
    properties = ElementTree.parse(tmp_path / "junit.xml").iter("property")
    assert sum(entry.get("name") == "wellposed" for entry in properties) == 5


def test_a_suite_without_checks_hears_nothing(run):
    assert "wellposed" not in run("def test_nothing():\n    pass\n")


def test_it_is_there_where_wellposed_is_installed_and_costs_other_suites_nothing(run):
    suite = """
    import sys

    def test_nothing(request):
        assert request.config.pluginmanager.has_plugin("wellposed")
        assert not {"wellposed.api", "wellposed.catalogue", "wellposed.report"} & sys.modules.keys()
    """
    assert "1 passed" in run(textwrap.dedent(suite), alone=False)


def test_an_unknown_option_of_the_marker_is_named(run):
    said = run("import pytest\n\n@pytest.mark.wellposed(bar=2)\ndef test_it(wellposed):\n    pass\n")
    assert "the marker wellposed knows strict= and ignore=, not ['bar']" in said


@pytest.mark.parametrize(
    ("ignore", "said"), [("'WP101,WP401'", "1 passed"), ("'WP999'", "ignores 'WP999', which matches no rule")]
)
def test_rules_to_ignore_may_be_one_string_and_are_looked_at(run, ignore, said, tmp_path):
    suite = f"""
import pytest, torch, wellposed as wp
from torch import nn

@pytest.mark.wellposed(strict=True, ignore={ignore})
def test_it(wellposed):
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    wellposed.check_objective(wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(8, 4), torch.randint(3, (8,)))))
"""
    assert said in run(suite)
