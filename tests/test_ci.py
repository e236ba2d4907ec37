"""What CI, editors and shells are given: a folder of reports, a line for each finding, a budget, completion, the action."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from test_report import SCHEMA
from wellposed.cli import main

ROOT = Path(__file__).parent.parent
PROBLEM = """
import time
import numpy as np, wellposed as wp
p = {{'w': np.array([1.0, 2.0])}}

def value(p):
    time.sleep({wait})
    return float((p['w'] ** 2).sum())

problem = wp.FunctionProblem(value, lambda p: {{'w': {factor} * p['w']}}, p)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, factor in (("right", 2), ("wrong", 3)):
        Path(f"{name}.py").write_text(PROBLEM.format(factor=factor, wait=0))
    Path("slow.py").write_text(PROBLEM.format(factor=2, wait=0.1))
    return tmp_path


def test_several_files_have_one_status_and_a_heading_each(project, capsys):
    assert main(["check", "right.py"]) == 0
    assert main(["check", "right.py", "wrong.py"]) == 1
    assert [line for line in capsys.readouterr().out.splitlines() if line.endswith(".py:")] == [
        "right.py:",
        "wrong.py:",
    ]


def test_a_folder_has_every_form_of_every_report(project, capsys):
    Path("sub").mkdir()
    Path("sub/right.py").write_text(Path("right.py").read_text())
    assert main(["check", "right.py", "wrong.py", "sub/right.py", "--out", "reports/today"]) == 1
    made = {path.name for path in Path("reports/today").iterdir()}
    endings = ("json", "html", "sarif", "xml", "txt")
    assert made == {f"{name}.{ending}" for name in ("right.py", "wrong", "sub-right.py") for ending in endings}
    report = json.loads(Path("reports/today/wrong.json").read_text())
    jsonschema.validate(report, SCHEMA)
    wrong = next(finding for finding in report["findings"] if finding["verdict"] == "fails")
    assert (wrong["file"], wrong["line"]) == ("wrong.py", 10)
    assert "wrong.py:10" in Path("reports/today/wrong.html").read_text()
    assert Path("reports/today/wrong.txt").read_text().startswith("wellposed: not ok")


def test_a_folder_that_cannot_be_made_is_told(project, capsys):
    Path("taken").write_text("")
    assert main(["check", "right.py", "--out", "taken"]) == 2
    assert "taken cannot be made" in capsys.readouterr().err


def test_one_file_for_two_reports_is_refused(project, capsys):
    assert main(["check", "right.py", "wrong.py", "--html", "one.html"]) == 2
    said = capsys.readouterr().err
    assert "one.html is one file, for a report of 2" in said
    assert "--out FOLDER" in said


def test_lines_are_what_the_problem_matcher_of_the_documentation_reads(project, capsys):
    page = (ROOT / "docs/pages/guides/ci.md").read_text()
    matcher = json.loads(re.search(r"```json\n(.*?)```", page, re.S)[1])["tasks"][0]["problemMatcher"]["pattern"]
    assert main(["check", "right.py", "wrong.py", "--lines"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    found = re.match(matcher["regexp"], line)
    assert found[matcher["file"]] == "wrong.py"
    assert found[matcher["line"]] == "10"
    assert found[matcher["severity"]] == "error"
    assert found[matcher["code"]] == "WP501"
    assert found[matcher["message"]].startswith(" at w: The gradient of `w`")


@pytest.mark.parametrize("way", ["option", "settings"])
def test_what_is_not_judged_within_the_budget_is_undecided(project, capsys, way):
    if way == "settings":
        Path("pyproject.toml").write_text('[tool.wellposed]\nfiles = ["slow.py"]\nbudget = 0.5\n')
    assert main(["check", "--verbose", *(["slow.py", "--budget", "0.5"] if way == "option" else [])]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "undecided WP501" in said
    assert "The 0.5 seconds that the check may take were over before this was judged." in said


@pytest.mark.parametrize("budget", ['"long"', "0", "true", "-3"])
def test_a_budget_that_is_none_is_told(project, capsys, budget):
    Path("pyproject.toml").write_text(f"[tool.wellposed]\nbudget = {budget}\n")
    assert main(["check", "right.py"]) == 2
    assert "tool.wellposed.budget must be a number of seconds above 0" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "check" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_an_unknown_shell_is_told(capsys):
    assert main(["completion", "csh"]) == 2
    assert "bash" in capsys.readouterr().err


def test_the_action_and_the_hook_call_what_there_is():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    command = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "check")
    assert "python -m wellposed check $FILES --out" in command
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "wellposed check"
    assert not hook["pass_filenames"]


def test_the_actions_command_fails_with_the_check_and_fills_the_summary(project, tmp_path):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    command = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "check")
    import os
    import sys

    environment = {
        **os.environ, "FILES": "right.py\nwrong.py\n", "OPTIONS": "--select WP5", "OUT": str(tmp_path / "out"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(["bash", "-e", "-c", command], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert "### right\n\n```text\nwellposed: ok" in summary
    assert "### wrong\n\n```text\nwellposed: not ok" in summary


def test_versions_and_addresses_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["url"] == project["urls"]["Documentation"]


def test_the_oldest_versions_are_those_that_are_admitted():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    admitted = dict(one.split(">=") for one in [*project["dependencies"], *extras["torch"], *extras["jax"]])
    tried = dict(line.split("==") for line in (ROOT / "constraints-oldest.txt").read_text().split())
    assert tried.pop("jaxlib") == tried["jax"]
    assert tried.keys() == admitted.keys()
    for name, version in admitted.items():
        assert tried[name].startswith(version), name


def test_a_negative_budget_is_refused(project, capsys):
    assert main(["check", "right.py", "--budget", "-3"]) == 2
    assert "--budget -3 is no number of seconds" in capsys.readouterr().err


def test_a_check_that_could_judge_nothing_does_not_say_ok(project, capsys):
    assert main(["check", "slow.py", "--budget", "0.0001"]) == 0
    assert capsys.readouterr().out.startswith("wellposed: nothing judged (")


def test_a_folder_and_single_files_are_both_written(project, capsys):
    assert main(["check", "right.py", "--out", "all", "--html", "one.html", "--json", "one.json"]) == 0
    assert Path("all/right.html").exists()
    assert Path("one.html").exists()
    assert Path("one.json").exists()


def test_the_hint_after_a_wrong_option_is_of_the_command(project, capsys):
    assert main(["check", "right.py", "--nothing"]) == 2
    assert "wellposed check --help" in capsys.readouterr().err
