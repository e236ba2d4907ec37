"""Beyond the notes: the training step as it runs, on a script with a line left out."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from wellposed.report import Report
from wellposed.running import run_script
from wellposed.tour.chapter import Chapter, Code

_CLEAR = "    optimizer.zero_grad()\n"
_SCRIPT = f"""\
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(256, 10)
y = (x[:, :2].sum(1) > 0).long()
model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(100):
    rows = torch.randint(256, (32,))
{_CLEAR}\
    nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
    optimizer.step()
"""


def chapter() -> Chapter:
    return Chapter("The training step", _with_torch() if importlib.util.find_spec("torch") else _without())


def _without() -> tuple[str | Code, ...]:
    return ("This chapter runs a script that trains with PyTorch.", Code('pip install "wellposed[torch]"'))


def _with_torch() -> tuple[str | Code | Report, ...]:
    return (
        (
            "Model, data and loss may all be right, and the loop around them wrong. `wellposed run` takes the script as"
            " it is: it runs as itself, its losses are checked as they are computed, and its first steps are watched."
            " This one does not clear its gradients:"
        ),
        Code(_SCRIPT.replace(_CLEAR, "")),
        Code("wellposed run train.py"),
        _report(_SCRIPT.replace(_CLEAR, "")),
        "With `optimizer.zero_grad()` before the loss:",
        _report(_SCRIPT),
        "With `--continue` the script goes on to its end, bit for bit as if nobody had looked.",
    )


def _report(script: str) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.py"
        file.write_text(script, encoding="utf-8")
        ran = run_script(str(file), [], module=False, goes_on=False, timeout=0.0)
    assert ran.watching is not None
    assert ran.watching.report is not None
    return ran.watching.report
