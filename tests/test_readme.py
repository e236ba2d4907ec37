"""The README's examples run, and its report is what the command prints."""

import doctest
import re
from pathlib import Path

import pytest

from test_rule_in_one_module import pages
from wellposed.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if not block.startswith(">>>")]


@pytest.mark.parametrize(
    "block", BLOCKS, ids=["torch", "training", "jax", "numpy", "gradcheck", "accumulation", "weights"]
)
def test_an_example_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert "wellposed: ok" in capsys.readouterr().out


def test_the_doctests():
    assert doctest.testfile(str(ROOT / "README.md"), module_relative=False).failed == 0


def test_the_report_shown_is_the_report_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(["check", str(ROOT / "examples/numpy_backprop_bug.py"), "--select", "WP5"])
    printed = re.sub(r"in [\d.]+\s+s", "in T s", capsys.readouterr().out)
    shown = re.sub(r"in [\d.]+\s+s", "in T s", re.search(r"```text\n(.*?)```", README, re.S)[1])
    assert re.sub(r"[-\d.e]+", "#", shown.split("holds")[0]) == re.sub(r"[-\d.e]+", "#", printed.split("holds")[0])


def test_the_table_of_backends_is_what_the_classes_offer():
    assert pages().summary() in README
