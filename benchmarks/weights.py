"""Note 3 in figures: gains, fans, deep plain networks, calibration, a zoo, planted wrong weights, and small tasks; other tools beside ours.

python benchmarks/weights.py [gains fans plain thousand tenthousand calibration zoo planted tasks] [--seeds N]
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

# --- deep plain networks -------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "relu6": nn.ReLU6, "elu": nn.ELU, "selu": nn.SELU, "celu": lambda: nn.CELU(0.5),
    "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "hardswish": nn.Hardswish, "tanh": nn.Tanh, "hardtanh": nn.Hardtanh,
    "softsign": nn.Softsign, "sigmoid": nn.Sigmoid, "hardsigmoid": nn.Hardsigmoid, "softplus": nn.Softplus, "logsigmoid": nn.LogSigmoid,
    "tanhshrink": nn.Tanhshrink, "softshrink": nn.Softshrink, "prelu": nn.PReLU,
}  # fmt: skip
WIDTH, BATCH = 64, 128


def digits() -> tuple[torch.Tensor, ...]:
    """scikit-learn's 1,797 digits, standardised by the training rows; every fourth row is for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    train, test, target, truth = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    scaler = wp.Standardizer().fit(train)
    as_tensor = [torch.tensor(scaler.transform(part), dtype=torch.float32) for part in (train, test)]
    return as_tensor[0], torch.tensor(target), as_tensor[1], torch.tensor(truth)


def plain(activation: Callable[[], nn.Module], depth: int) -> nn.Sequential:
    """`depth` Linear layers of width 64 with the activation between them."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Linear(64 if index == 0 else WIDTH, 10 if index == depth - 1 else WIDTH))
        if index < depth - 1:
            layers.append(activation())
    return nn.Sequential(*layers)


def accuracy_after(model: nn.Module, data: tuple[torch.Tensor, ...], steps: int, rate: float, seed: int) -> float:
    """Test accuracy after that many steps of Adam, its rate falling linearly to 0."""
    x, y, x_test, y_test = data
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float((model(x_test).argmax(1) == y_test).float().mean())


def _default(_model: nn.Module, _x: torch.Tensor, _seed: int) -> None:
    """As PyTorch builds it."""


def _kaiming(model: nn.Module, _x: torch.Tensor, _seed: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def _lsuv(model: nn.Module, x: torch.Tensor, _seed: int) -> None:
    from lsuv import lsuv_with_singlebatch

    with contextlib.redirect_stdout(io.StringIO()):
        lsuv_with_singlebatch(model, x, verbose=False)


def _auto(model: nn.Module, x: torch.Tensor, seed: int) -> None:
    wp.initialize(model, x, seed=seed)


METHODS = {"PyTorch default": _default, "Kaiming normal": _kaiming, "lsuv 0.3.0": _lsuv, "wellposed auto": _auto}
RATE = 0.03  # over the depth


def deep(depth: int, steps: int, seeds: int, methods: dict[str, Any], activations: list[str], target: float) -> None:
    data = digits()
    print(f"| activation | {' | '.join(methods)} | seconds |\n|---|{'---|' * (len(methods) + 1)}")
    reached = dict.fromkeys(methods, 0)
    for name in activations:
        cells, seconds = [], 0.0
        for method, initialize in methods.items():
            found = []
            for seed in range(seeds):
                torch.manual_seed(seed)
                model = plain(ACTIVATIONS[name], depth)
                start = time.perf_counter()
                initialize(model, data[0][:256], seed)
                found.append(accuracy_after(model, data, steps, RATE / depth, seed))
                seconds = time.perf_counter() - start
            reached[method] += sum(accuracy >= target for accuracy in found)
            cells.append(" ".join(f"{accuracy:.3f}" for accuracy in found))
        print(f"| {name} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)
    runs = seeds * len(activations)
    print(f"| **runs at {target} or more, of {runs}** | {' | '.join(f'**{count}**' for count in reached.values())} | |\n")


def plain_100(seeds: int = 5) -> None:
    print(
        f"### 100 layers of width 64, digits, 300 steps of Adam at {RATE}/depth, {seeds} seeds: test accuracy (target: 95 of 100 at 0.90)\n"
    )
    peers = {name: METHODS[name] for name in METHODS if name != "wellposed auto"}
    deep(100, 300, seeds, {"wellposed auto": _auto}, list(ACTIVATIONS), 0.90)
    print("The others, two seeds of each activation:\n")
    deep(100, 300, min(seeds, 2), peers, list(ACTIVATIONS), 0.90)


def thousand(seeds: int = 1) -> None:
    print(f"### 1,000 layers of width 64, digits, 200 steps of Adam at {RATE}/depth (target: 0.95 for 12 activations, 60 s each)\n")
    deep(1000, 200, seeds, {"wellposed auto": _auto}, list(ACTIVATIONS), 0.95)


def ten_thousand(seeds: int = 1) -> None:
    print(f"### 10,000 layers of width 64, digits, 60 steps of Adam at {RATE}/depth (target: 0.90 in 600 s)\n")
    deep(10_000, 60, seeds, {"wellposed auto": _auto}, ["tanh", "relu"], 0.90)


# --- calibration ---------------------------------------------------------------------------------


def calibration(seeds: int = 1) -> None:
    """Outputs of every layer after `initialize` and after lsuv, the forward passes that each took, and the time."""
    del seeds
    print(
        "### Calibration from one batch of 256, tanh networks of width 64 (target: within 1 % in 2 forwards, 40 and 200 times faster than lsuv)\n"
    )
    print(
        "| depth | worst output off by | forwards | seconds | lsuv: worst output off by | forwards | seconds | times faster |\n"
        + "|---" * 8
        + "|"
    )
    x = digits()[0][:256]
    for depth in (50, 100, 200):
        cells, seconds = [], []
        for initialize in (lambda model: wp.initialize(model, x, scheme="calibrated"), lambda model: _lsuv(model, x, 0)):
            torch.manual_seed(0)
            model = plain(nn.Tanh, depth)
            calls = [0]
            model.register_forward_pre_hook(lambda *_, calls=calls: calls.__setitem__(0, calls[0] + 1))
            start = time.perf_counter()
            initialize(model)
            seconds.append(time.perf_counter() - start)
            forwards = str(calls[0])
            cells += [f"{100 * _worst_output(model, x):.2f} %", forwards, f"{seconds[-1]:.3f}"]
        print(f"| {depth} | {' | '.join(cells)} | {seconds[1] / seconds[0]:.0f} |", flush=True)
    print()


def _worst_output(model: nn.Module, x: torch.Tensor) -> float:
    sizes = []
    handles = [
        module.register_forward_hook(lambda _m, _a, out: sizes.append(float(out.double().square().mean().sqrt())))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return max(abs(size - 1) for size in sizes)


# --- small tasks ---------------------------------------------------------------------------------


def tasks(seeds: int = 5) -> None:
    """Each model's own initialisation against `auto`: test scores, and whether the difference is more than seeds make (paired t-test)."""
    from scipy.stats import ttest_rel
    from tasks import TASKS, trained

    print(
        f"### {len(TASKS)} small tasks, {seeds} seeds: test score, each model's own initialisation and `auto` (target: never significantly worse)\n"
    )
    print("| task | score | own | auto | difference | p | verdict |\n|---|---|---|---|---|---|---|")
    counts = {"better": 0, "worse": 0, "same": 0}
    for task in TASKS:
        own = [trained(task, _default, seed) for seed in range(seeds)]
        auto = [trained(task, _auto, seed) for seed in range(seeds)]
        p = float(ttest_rel(auto, own).pvalue)
        gap = float(np.mean(auto) - np.mean(own))
        verdict = "same" if not p < 0.05 else "better" if gap > 0 else "worse"
        counts[verdict] += 1
        print(f"| {task.name} | {task.unit} | {np.mean(own):.4f} | {np.mean(auto):.4f} | {gap:+.4f} | {p:.3f} | {verdict} |", flush=True)
    print(f"\nbetter {counts['better']}, same {counts['same']}, worse {counts['worse']}\n")


SECTIONS: dict[str, Callable[..., None]] = {
    "plain": plain_100, "thousand": thousand, "tenthousand": ten_thousand, "calibration": calibration, "tasks": tasks,
}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    arguments = sys.argv[1:]
    seeds = int(arguments[arguments.index("--seeds") + 1]) if "--seeds" in arguments else 0
    chosen = [name for name in arguments if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        SECTIONS[name](**({"seeds": seeds} if seeds else {}))


if __name__ == "__main__":
    main()
