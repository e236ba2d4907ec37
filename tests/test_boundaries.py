"""The boundaries hold, and the test of them can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def contracts(root):
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(
        command,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(root / "src"), "PATH": ""},
    )


def test_importing_wellposed_imports_no_framework():
    done = python(
        "import sys, wellposed; print([m for m in ('torch', 'jax', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_that_test_can_fail():
    assert (
        python("import sys, wellposed; wellposed.TorchProblem; print('torch' in sys.modules)").stdout.strip() == "True"
    )


def test_a_missing_framework_is_named_with_a_hint():
    done = python("import sys; sys.modules['torch'] = None; import wellposed; wellposed.TorchProblem")
    assert "Hint: pip install 'wellposed[torch]'" in done.stderr


def test_the_contracts_hold():
    done = contracts(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("numerics/theta.py", "from wellposed import api"),
        ("gradients/check_gradients.py", "import torch"),
        ("report/text.py", "from wellposed.catalogue import CATALOGUE"),
        ("backends/numpy.py", "from wellposed.backends import jax"),
    ],
)
def test_the_contracts_can_fail(tmp_path, module, line):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for source in (ROOT / "src").rglob("*.py"):
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    spoilt = tmp_path / "src/wellposed" / module
    spoilt.write_text(spoilt.read_text() + f"\n{line}\n")
    assert contracts(tmp_path).returncode == 1
