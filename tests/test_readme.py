"""The README's example runs, its report is what the command prints, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wellposed as wp

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
AGENTS = (ROOT / "docs/pages/agents.md").read_text()
NUMBER = r"[-\d.e]+"


def test_the_example_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(block, "README.md", "exec"), {})
    assert "wellposed: ok" in capsys.readouterr().out


def test_the_report_shown_is_the_report_printed():
    command = [sys.executable, "-m", "wellposed", "run", "examples/train.py"]
    environment = {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    shown = re.search(r"```text\n(.*?)```", README, re.S)[1]
    assert done.returncode == 1, done.stderr
    assert words(done.stdout) == words(shown)


def words(report):
    return re.sub(NUMBER, "#", report).split()


@pytest.mark.parametrize("text", [README, *[page.read_text() for page in sorted((ROOT / "docs/pages").rglob("*.md"))]])
def test_every_rule_that_is_named_exists(text):
    from wellposed.catalogue import CATALOGUE

    assert set(re.findall(r"WP\d{3}\b", text)) - {"WP999"} <= CATALOGUE.keys()


def test_the_readmes_links_lead_to_files():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_readme_is_a_screen_and_the_page_for_agents_sixty_lines():
    assert len(README.splitlines()) < 120
    assert len(AGENTS.splitlines()) <= 60


def test_public_names_and_nothing_else():
    assert set(dir(wp)) == set(wp.__all__) | {"__version__"}
    assert not [name for name in wp.__all__ if name.startswith("_")]
