"""The report as a browser shows it: axe-core's rules for accessibility, light, dark and narrow. `make test-report` fetches what it needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
import torch
from torch import nn

import wellposed as wp

ROOT = Path(__file__).parent.parent
AXE = Path(os.environ.get("AXE", ROOT / "build/node_modules/axe-core/axe.min.js"))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium here"),
    pytest.mark.skipif(not AXE.exists(), reason="no axe-core here: make test-report fetches it"),
]

RUN = """<script>%s</script><script>
addEventListener("load", () => axe.run(document, {resultTypes: ["violations"]}).then((found) => {
  const told = document.createElement("pre"); told.id = "axe-told";
  told.textContent = JSON.stringify({
    violations: found.violations.map((one) => ({id: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.html.slice(0, 200))})),
    wide: document.documentElement.scrollWidth - innerWidth, passes: found.passes.length,
  });
  document.body.append(told);
}));</script></body>"""


def page(folder: Path) -> Path:
    """A report with everything in it: findings of each verdict, remedies that were tried, all figures."""
    torch.manual_seed(0)
    layers = [nn.Linear(20, 64)]
    for _ in range(14):
        layers += [nn.Tanh(), nn.Linear(64, 64)]
    model = nn.Sequential(*layers, nn.Tanh(), nn.Linear(64, 5))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, 0.05)
    scales = torch.ones(20)
    scales[1] = 300.0
    batch = torch.randn(64, 20) * scales + 5, torch.randint(5, (64,))
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), batch, optimizer=torch.optim.Adam(model.parameters(), 1e-3))
    report = wp.checkup(problem, full=True)
    assert len(report.figures) == 5
    report.to_html(folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return page(tmp_path_factory.mktemp("report"))


def shown(path: Path, width: int, dark: bool) -> dict:
    """What axe finds, and by how many pixels the page is wider than the window."""
    text = path.read_text()
    scheme = "dark" if dark else "light"
    watched = path.with_name(f"{width}-{scheme}.html")
    watched.write_text(text.replace("</body>", RUN % AXE.read_text()))
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--virtual-time-budget=20000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={path.parent / 'profile'}", "--dump-dom",
            watched.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    told = re.search(r'<pre id="axe-told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    return json.loads(unescape(told[1]))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 500])
def test_axe_finds_nothing_and_nothing_runs_over_the_edge(report, width, dark):
    found = shown(report, width, dark)
    assert found["violations"] == []
    assert found["wide"] <= 0
    assert found["passes"] > 10


def test_that_test_can_fail(report):
    spoilt = report.with_name("spoilt.html")
    spoilt.write_text(
        report.read_text().replace(
            "<main>", '<main><img src="data:,"><p style="color: #ccc; background: #fff">faint</p>'
        )
    )
    assert {"image-alt", "color-contrast"} <= {one["id"] for one in shown(spoilt, 1280, False)["violations"]}
