"""`[tool.wellposed]`, comments to wellposed, lists of rules, and JUnit: what a project settles and what its CI shows."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from wellposed.__main__ import main

WRONG = """
import numpy as np, wellposed as wp
p = {'w': np.array([1.0, 2.0])}
problem = wp.FunctionProblem(lambda p: float((p['w'] ** 2).sum()), lambda p: {'w': 3 * p['w']}, p)  # wellposed: ignore WP999
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    def made(settings="", comment="", file=WRONG):
        (tmp_path / "pyproject.toml").write_text(settings)
        (tmp_path / "problem.py").write_text(file.replace("  # wellposed: ignore WP999", comment))
        monkeypatch.chdir(tmp_path)
        return "problem.py"

    return made


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_without_settings_it_fails(project, capsys):
    assert main(["check", project()]) == 1
    assert "WP501 gradient wrong at w" in said(capsys)


def test_a_rule_is_ignored_with_its_reason(project, capsys):
    file = project('[tool.wellposed.ignore]\nWP501 = "a surrogate."\n')
    assert main(["check", file, "--verbose"]) == 0
    text = said(capsys)
    assert "Ignored by pyproject.toml: a surrogate. It was: The gradient of `w` does not agree with the loss." in text
    assert "wellposed: ok" in text


def test_a_list_of_rules_and_selected_ones(project, capsys):
    assert main(["check", project('[tool.wellposed]\nignore = ["wp5"]\n')]) == 0
    assert main(["check", project('[tool.wellposed]\nselect = ["WP2"]\n')]) == 0
    assert main(["check", project('[tool.wellposed]\nselect = ["WP2"]\n'), "--select", "WP5"]) == 1


@pytest.mark.parametrize(
    ("comment", "status"),
    [
        ("  # wellposed: ignore WP501 a surrogate", 0),
        ("  # wellposed: ignore WP2, WP50", 0),
        ("  # wellposed: ignore WP2", 1),
        ("\nother = 1  # wellposed: ignore WP501 another line", 1),
        ("\n# wellposed: ignore WP501 in this file", 0),
    ],
)
def test_a_comment_in_the_file(comment, status, project, capsys):
    assert main(["check", project(comment=comment)]) == status


def test_a_file_of_a_project_that_is_gone(project, capsys):
    project('[tool.wellposed]\nfiles = ["gone.py"]\n')
    assert main(["check"]) == 2
    said = "".join(capsys.readouterr().err.split())  # a long path is broken anywhere
    assert "gone.pydoesnotexistHint:" in said
    assert "pyproject.tomlnamesitinfilesof[tool.wellposed]" in said


def test_the_files_of_a_project(project, capsys):
    project('[tool.wellposed]\nfiles = ["problem.py"]\n')
    assert main(["check"]) == 1
    assert "WP501" in said(capsys)
    project('[tool.wellposed]\nfiles = ["problem.py", "problem.py:problem"]\n')
    assert main(["check"]) == 1
    assert said(capsys).count("WP501 gradient wrong") == 2
    assert main(["check", "--json", "-"]) == 2
    assert "- is one file, for a report of 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[tool.wellposed]\nselects = []\n", "tool.wellposed knows no 'selects' Hint: known: files, select, ignore"),
        ("[tool.wellposed]\nselect = 'WP5'\n", "tool.wellposed.select must be a list of strings"),
        ("[tool.wellposed.ignore]\nWP501 = 3\n", "tool.wellposed.ignore takes a reason for each rule"),
        ("[tool]\nwellposed = 3\n", "tool.wellposed must be a table"),
        ("[tool", "is not TOML"),
        ("[tool.wellposed]\nselect = ['WP9']\n", "tool.wellposed.select names 'WP9', which matches no rule"),
    ],
)
def test_settings_that_say_something_else(settings, words, project, capsys):
    assert main(["check", project(settings)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "comment", ["  # wellposed: ignore", "  # wellposed: noqa WP501", "  # wellposed: ignore this"]
)
def test_a_comment_that_says_something_else(comment, project, capsys):
    assert main(["check", project(comment=comment)]) == 2
    assert "# wellposed: ignore WP103 and why: rules, then a reason" in capsys.readouterr().err


def test_no_file_at_all(project, capsys):
    project()
    assert main(["check"]) == 2
    assert "check needs a file" in capsys.readouterr().err


def test_junit(project, tmp_path, capsys):
    assert main(["check", project(), "--junit", "report.xml"]) == 1
    suite = ET.parse(tmp_path / "report.xml").getroot()[0]
    failures = [case for case in suite if case.find("failure") is not None]
    assert [case.get("name") for case in failures] == ["WP501 gradient wrong at w"]
    assert failures[0].get("classname") == "problem.py"
    assert "It is 1.5 times too large" in failures[0].find("failure").get("message")
    assert suite.get("failures") == "1"
    assert int(suite.get("tests")) == len(suite)


def test_rules_are_listed_by_subject_and_beginning(capsys):
    assert main(["explain"]) == 0
    every = capsys.readouterr().out
    assert every.startswith("inputs\n  WP101 ")
    assert "\n\nstep\n  WP601 " in every
    assert main(["explain", "signals"]) == 0
    assert capsys.readouterr().out.startswith("signals\n  WP201 vanishing gradient\n")
    assert main(["explain", "wp6"]) == 0
    assert "WP501" not in capsys.readouterr().out


def test_a_rule_that_is_not_there_is_guessed_at(capsys):
    assert main(["explain", "wp510"]) == 2
    assert "did you mean WP" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "comment", "where"),
    [
        ('[tool.wellposed]\nselect = ["WP999"]\n', "", "tool.wellposed.select names 'WP999'"),
        ('[tool.wellposed.ignore]\nWP5011 = "x"\n', "", "tool.wellposed.ignore names 'WP5011'"),
        ("", "  # wellposed: ignore WP5011 a surrogate", "problem.py, line 4, names 'WP5011'"),
    ],
)
def test_a_rule_that_does_not_exist_is_told_wherever_it_is_named(project, capsys, settings, comment, where):
    assert main(["check", project(settings, comment)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{where}, which matches no rule" in said


def test_a_misspelt_rule_in_a_comment_is_no_beginning_of_others(project, capsys):
    assert main(["check", project(comment="  # wellposed: ignore WP4O1 because")]) == 2
    assert "names 'WP4O1', which matches no rule" in " ".join(capsys.readouterr().err.split())


def test_the_files_after_one_that_raises_are_checked(project, capsys, tmp_path):
    project()
    (tmp_path / "broken.py").write_text("def broken(:")
    assert main(["check", "--lines", "broken.py", "missing.py", "problem.py"]) == 2
    said = capsys.readouterr()
    assert "broken.py" in said.err
    assert "missing.py" in said.err
    assert "problem.py:" in said.out


def test_a_folder_that_is_not_there_is_named(project, capsys):
    assert main(["check", project(), "--json", "none/report.json"]) == 2
    assert "make the folder first: mkdir -p none" in " ".join(capsys.readouterr().err.split())
