"""What an installed wellposed must do, whatever extras it was installed with; run by its own Python, without a test runner.

python tests/installed.py [torch] [jax]
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np

import wellposed as wp

EXAMPLES = Path(__file__).parent.parent / "examples"


def main(extras: list[str]) -> None:
    assert not Path(wp.__file__).is_relative_to(EXAMPLES.parent / "src"), "this is the checkout, not what was installed"
    for extra, module in (("torch", "torch"), ("jax", "jax")):
        assert (extra in extras) <= (importlib.util.find_spec(module) is not None), f"{module} is missing"
    for packaged in ("py.typed", "report/schema.json"):
        assert resources.files("wellposed").joinpath(packaged).is_file(), packaged
    numpy()
    if "torch" in extras:
        torch()
    if "jax" in extras:
        jax()
    command_line()
    print(f"wellposed {wp.__version__} with {', '.join(extras) or 'NumPy alone'}: ok")


def numpy() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 50))
    value = lambda p: float(np.mean((p["a"] * x + p["b"] - y) ** 2))  # noqa: E731
    gradient = lambda p: {  # noqa: E731
        "a": np.mean(2 * (p["a"] * x + p["b"] - y) * x),
        "b": np.mean(2 * (p["a"] * x + p["b"] - y)),
    }
    report = wp.checkup(wp.FunctionProblem(value, gradient, {"a": np.array(0.3), "b": np.array(0.1)}))
    assert report, report
    assert abs(wp.derivative(np.sin, 1.0).value - np.cos(1.0)) < 1e-9
    assert wp.Standardizer().fit(np.eye(4)).n_samples_seen_ == 4


def torch() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
    batch = (torch.randn(64, 20), torch.randint(3, (64,)))
    assert wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch))
    wrong = nn.Sequential(model, nn.Softmax(dim=1))
    report = wp.checkup(wp.TorchProblem(wrong, nn.CrossEntropyLoss(), batch), remedies=True)
    assert report.findings[0].cause == "double-softmax", report


def jax() -> None:
    import jax
    import jax.numpy as jnp

    key = jax.random.key(0)
    params = {"w": jax.random.normal(key, (8, 4)) / 8**0.5, "b": jnp.zeros(4)}

    def loss(params, x):
        return jnp.mean(jnp.tanh(x @ params["w"] + params["b"]) ** 2)

    assert wp.checkup(wp.JaxProblem(loss, params, jax.random.normal(key, (16, 8))))


def command_line() -> None:
    with tempfile.TemporaryDirectory() as folder:
        forms = ["--out", folder]
        assert status("check", str(EXAMPLES / "numpy_backprop.py"), *forms) == 0
        assert status("check", str(EXAMPLES / "numpy_backprop_bug.py"), *forms) == 1
        assert len(list(Path(folder).iterdir())) == 10
        assert status("check", str(EXAMPLES / "nothing.py")) == 2
    assert status("explain", "WP401") == status("completion", "bash") == status("--help") == 0


def status(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "wellposed", *words], check=False, capture_output=True).returncode


if __name__ == "__main__":
    main(sys.argv[1:])
