"""Note 3 in figures: gains, fans, deep plain networks, calibration, a zoo, planted wrong weights, and small tasks; other tools beside ours.

python benchmarks/weights.py [gains fans plain thousand tenthousand calibration zoo planted tasks] [--seeds N]
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
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
from wellposed.backends.torch.initializable import TorchInitializable

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

# --- gains and fans ------------------------------------------------------------------------------


def gains(seeds: int = 1) -> None:
    """Every activation of the tests against mpmath, and the time of a gain; how many of them torch.nn.init knows."""
    del seeds
    from exact_activations import EXACT, exact_moments

    apart, times, theirs = [], [], {}
    for given, phi, kinks in EXACT.values():
        square, slope = exact_moments(phi, kinks)
        wp.gain(given)
        took = []
        for _ in range(9):
            start = time.perf_counter()
            gain = wp.gain(given)
            took.append(time.perf_counter() - start)
        times.append(1e3 * float(np.median(took)))
        apart.append(max(abs(gain.forward * square**0.5 - 1), abs(gain.backward * slope**0.5 - 1)))
        if isinstance(given, str):
            with contextlib.suppress(ValueError):
                theirs[given] = abs(nn.init.calculate_gain(given) * square**0.5 - 1)
    print(
        f"### Gains of {len(EXACT)} activations, forward and backward, against mpmath (target: 60 within 1e-10, under 5 ms each)\n"
    )
    print("| | wellposed | torch.nn.init.calculate_gain |\n|---|---|---|")
    print(f"| activations with a gain | {len(EXACT)} | {len(theirs)}: {', '.join(theirs)} |")
    print(
        f"| largest relative error | {max(apart):.1e} | {max(theirs.values()):.2f} ({max(theirs, key=theirs.__getitem__)}) |"
    )
    print(f"| milliseconds, median and largest | {np.median(times):.2f}, {max(times):.2f} | |\n")


def fans(seeds: int = 1) -> None:
    """fan_in by ours, torch's, Keras's and Flax's count, against the variance that weights of 1 / fan_in make."""
    del seeds
    os.environ.setdefault("KERAS_BACKEND", "jax")
    from jax._src.nn.initializers import _compute_fans
    from keras.src.initializers.random_initializers import compute_fans
    from layers import cases, measured

    print(
        "### Fans: measured variance of outputs for weights of variance 1 / fan_in (target: within 2 % on 300 configurations)\n"
    )
    counts: dict[str, list[float]] = {
        "wellposed": [],
        "torch.nn.init": [],
        "jax.nn.initializers (Flax)": [],
        "Keras": [],
    }
    for case in cases():
        layer = case.build()
        shown = case.shown or isinstance(layer, nn.modules.conv._ConvNd)
        fan = wp.fan(layer, case.inputs() if shown else None).weights[case.weight]
        size = measured(case, fan.fan_in)
        counts["wellposed"].append(size)
        weight = layer.get_parameter(case.weight)
        counts["torch.nn.init"].append(size * fan.fan_in / nn.init._calculate_fan_in_and_fan_out(weight)[0])
        shape = _channels_last(layer, weight)
        counts["jax.nn.initializers (Flax)"].append(size * fan.fan_in / _compute_fans(shape)[0])
        counts["Keras"].append(size * fan.fan_in / compute_fans(shape)[0])
    print("| counted by | within 2 % | worst variance |\n|---|---|---|")
    for name, sizes in counts.items():
        near = sum(abs(size - 1) < 0.02 for size in sizes)
        print(f"| {name} | {near} of {len(sizes)} | {min(sizes):.3g} to {max(sizes):.3g} |")
    print()


def _channels_last(layer: nn.Module, weight: torch.Tensor) -> tuple[int, ...]:
    """The shape that the same kernel has in Keras and Flax: inputs before outputs, which come last."""
    shape = tuple(weight.shape)
    if isinstance(layer, nn.modules.conv._ConvNd):
        into, out = (shape[0], shape[1]) if layer.transposed else (shape[1], shape[0])
        return (*shape[2:], into, out)
    turned = isinstance(layer, nn.Linear | nn.RNNBase | nn.RNNCellBase | nn.MultiheadAttention)
    return shape[::-1] if turned else shape


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
    """Test accuracy after that many steps of Adam, its rate falling linearly to 0.

    Labels are smoothed, as these networks fit the training rows within 100 steps and would then only grow surer of them.
    """
    x, y, x_test, y_test = data
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows], label_smoothing=SMOOTHING).backward()
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
SMOOTHING = 0.1


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
    print(
        f"| **runs at {target} or more, of {runs}** | {' | '.join(f'**{count}**' for count in reached.values())} | |\n"
    )


def plain_100(seeds: int = 5) -> None:
    print(
        f"### 100 layers of width 64, digits, 300 steps of Adam at {RATE}/depth, {seeds} seeds: test accuracy (target: 95 of 100 at 0.90)\n"
    )
    peers = {name: METHODS[name] for name in METHODS if name != "wellposed auto"}
    deep(100, 300, seeds, {"wellposed auto": _auto}, list(ACTIVATIONS), 0.90)
    print("The others, two seeds of each activation:\n")
    deep(100, 300, min(seeds, 2), peers, list(ACTIVATIONS), 0.90)


def thousand(seeds: int = 1) -> None:
    print(
        f"### 1,000 layers of width 64, digits, 300 steps of Adam at {RATE}/depth (target: 0.95 for 12 activations, 60 s each)\n"
    )
    deep(1000, 300, seeds, {"wellposed auto": _auto}, list(ACTIVATIONS), 0.95)


def ten_thousand(seeds: int = 1) -> None:
    print(f"### 10,000 layers of width 64, digits, 200 steps of Adam at {RATE}/depth (target: 0.90 in 600 s)\n")
    deep(10_000, 200, seeds, {"wellposed auto": _auto}, ["tanh", "relu"], 0.90)


# --- calibration ---------------------------------------------------------------------------------


def calibration(seeds: int = 1) -> None:
    """Outputs of every layer after `initialize` and after lsuv, the forward passes that each took, and the time."""
    del seeds
    print(
        "### Calibration from one batch of 256, tanh networks of width 64 (target: within 1 % in 2 forwards, 40 and 200 times faster than lsuv)\n"
    )
    print(
        "| depth | worst output off by | forwards | seconds | of these the fitting pass | lsuv: worst output off by | forwards | seconds "
        "| times faster | the fitting pass alone |\n" + "|---" * 10 + "|"
    )
    x = digits()[0][:256]
    for depth in (50, 100, 200):
        cells, seconds = [], []
        for initialize in (
            lambda model: wp.initialize(model, x, scheme="calibrated"),
            lambda model: _lsuv(model, x, 0),
        ):
            torch.manual_seed(0)
            model = plain(nn.Tanh, depth)
            calls = [0]
            model.register_forward_pre_hook(lambda *_, calls=calls: calls.__setitem__(0, calls[0] + 1))
            start = time.perf_counter()
            initialize(model)
            seconds.append(time.perf_counter() - start)
            forwards = str(calls[0])
            cells += [f"{100 * _worst_output(model, x):.2f} %", forwards, f"{seconds[-1]:.3f}"]
            if len(seconds) == 1:
                subject = TorchInitializable(model, x)
                start = time.perf_counter()
                subject.calibrate({f"{2 * layer}.weight": 1.0 for layer in range(depth)})
                fitting = time.perf_counter() - start
                cells.append(f"{fitting:.3f}")
        print(
            f"| {depth} | {' | '.join(cells)} | {seconds[1] / seconds[0]:.0f} | {seconds[1] / fitting:.0f} |",
            flush=True,
        )
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
        print(
            f"| {task.name} | {task.unit} | {np.mean(own):.4f} | {np.mean(auto):.4f} | {gap:+.4f} | {p:.3f} | {verdict} |",
            flush=True,
        )
    print(f"\nbetter {counts['better']}, same {counts['same']}, worse {counts['worse']}\n")


# --- audit ---------------------------------------------------------------------------------------


def planted(seeds: int = 3) -> None:
    """Wrong weights, planted: found, the factor, and the same networks without a fault."""
    from planted_weights import cases, healthy

    found, total, apart, quiet, right = 0, 0, [], 0, 0
    kinds = set()
    for kind, problem, _where, factor in cases(seeds):
        findings = [
            f for f in wp.check_weights(problem).findings if f.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT)
        ]
        kinds.add(kind)
        total += 1
        found += bool(findings)
        measured = [e.value for f in findings for e in f.evidence if e.quantity == "variance over that of the rule"]
        if factor is not None:
            apart.append(abs(measured[0] / factor - 1) if measured else float("inf"))
    for _, problem in healthy(seeds):
        right += 1
        quiet += all(
            f.verdict not in (wp.Verdict.FAILS, wp.Verdict.SUSPECT) for f in wp.check_weights(problem).findings
        )
    print(
        f"### {len(kinds)} kinds of wrong weights, {seeds} draws each (target: all found, factor within 5 %)\n\n| | measured |\n|---|---|"
    )
    print(f"| found | {found} of {total} |")
    print(
        f"| factor of one layer within 5 % | {sum(a < 0.05 for a in apart)} of {len(apart)}, worst {100 * max(apart):.1f} % |"
    )
    print(f"| silent on the same networks without a fault | {quiet} of {right} |\n")


def zoo(seeds: int = 1, kinds: tuple[str, ...] = ()) -> None:
    """`initialize` on every network of the zoo, and the audit of each as its authors draw it."""
    del seeds
    from zoo import KINDS, problems

    models, crashes, unclassified, targets, reached = 0, [], 0, 0, 0
    ratios, told, untrained = [], {"fails": [], "suspect": []}, []
    for name, build in problems(kinds or KINDS):
        models += 1
        try:
            problem = build(0)
            for finding in wp.check_weights(problem).findings:
                if finding.verdict.value in told:
                    told[finding.verdict.value].append(
                        f"{name}: {finding.rule} at {finding.where}: {finding.message[:120]}"
                    )
            plan = wp.initialize(problem.model, (problem.batch[0], None))
            trace = wp.trace(problem)
        except Exception as error:
            crashes.append(f"{name}: {type(error).__name__}: {str(error)[:80]}")
            continue
        names = {parameter for parameter, _ in problem.model.named_parameters()}
        mistaken = [name for name, reason in plan.left_alone.items() if "trained" in reason]
        if mistaken:
            untrained.append(f"{name}: {len(mistaken)} weights taken for trained, {mistaken[0]} first")
        unclassified += len(names - set(plan.values) - set(plan.left_alone) - set(plan.kept))
        sizes: dict[str, float] = {}
        for site in trace.sites:
            if site.layer.weight is not None:
                sizes.setdefault(site.layer.weight.name, site.layer.output.rms)
        aimed = [row for row in plan.rows if row.output is not None]
        targets += len(aimed)
        reached += sum(abs(sizes.get(row.parameter, 0.0) / row.output - 1) < 0.1 for row in aimed)
        gradients = [site.gradient for site in trace.compared]
        if (
            len(gradients) > 1
            and gradients[-1] > 0
            and not any("Norm" in type(m).__name__ for m in problem.model.modules())
        ):
            ratios.append((gradients[0] / gradients[-1], name))
        del problem, plan, trace
        gc.collect()
    inside = sum(0.1 <= ratio <= 10 for ratio, _ in ratios)
    print(f"### {models} known-good networks ({', '.join(kinds or KINDS)})\n\n| | measured | target |\n|---|---|---|")
    print(f"| crashes | {len(crashes)} | 0 |\n| parameters not classified | {unclassified} | 0 |")
    print(f"| networks with a weight taken for trained, which none is | {len(untrained)} | 0 |")
    print(
        f"| outputs within 10 % of their target | {reached} of {targets} ({100 * reached / max(targets, 1):.2f} %) | 99 % |"
    )
    print(f"| first over last gradient within 0.1 to 10, no normalisation | {inside} of {len(ratios)} | all |")
    failing = {line.partition(":")[0] for line in told["fails"]}
    print(
        f"| audit of the untouched weights: networks with a `fails` | {len(failing)} ({100 * len(failing) / models:.2f} %) | 1 % |"
    )
    print(f"| the same: `suspect` per network | {len(told['suspect']) / models:.3f} | |\n")
    outside = [f"{name}: gradient ratio {ratio:.3g}" for ratio, name in ratios if not 0.1 <= ratio <= 10]
    for line in (*crashes, *untrained, *outside, *told["fails"], *told["suspect"]):
        print(f"- {line}")
    print()


SECTIONS: dict[str, Callable[..., None]] = {
    "gains": gains, "fans": fans, "plain": plain_100, "thousand": thousand, "tenthousand": ten_thousand, "calibration": calibration,
    "planted": planted, "zoo": zoo, "tasks": tasks,
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
