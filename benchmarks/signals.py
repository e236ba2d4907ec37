"""Note 2 in figures: theory beside measurement, a zoo of good networks, planted faults, other tools beside ours, cost, NaN.

python benchmarks/signals.py [theory zoo planted cost finite] [--seeds N] [--kinds own,timm,causal,masked,translating]
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import wellposed as wp

warnings.filterwarnings("ignore")
SEEDS = 3


# --- theory ------------------------------------------------------------------------------------

_THEORY: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.2), "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "mish": nn.Mish, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "softsign": nn.Softsign, "hardtanh": nn.Hardtanh,
}  # fmt: skip
_INITIAL: dict[str, Callable[[torch.Tensor], Any]] = {
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "glorot": nn.init.xavier_normal_,
    "default": lambda w: nn.init.kaiming_uniform_(w, a=5**0.5),
}


def theory() -> None:
    """Growth of the gradient per layer, measured over 5 draws of the weights, beside theory's; and where it has fallen to 1e-4."""
    print(
        "### Measured against theoretical growth of the gradient per layer, width 512, 128 inputs, float64, 5 draws (target: within 5 %)\n"
    )
    print(
        "| activation | initialisation | worst of depths 10, 30, 100 | layers to 1e-4, theory and measured |\n|---|---|---|---|"
    )
    worst, off = [], []
    for activation, make in _THEORY.items():
        for initial, draw in _INITIAL.items():
            apart, reached = [], None
            for depth in (10, 30, 100):
                measured, expected = _growth(make, draw, depth)
                apart.append(abs(math.exp(measured[-1] / (depth - 1)) / math.exp(expected[-1] / (depth - 1)) - 1))
                if reached is None and expected[-1] < math.log(1e-4):
                    reached = tuple(_layers(curve) for curve in (expected, measured))
            worst.append(max(apart))
            if reached is not None:
                off.append(abs(reached[0] - reached[1]))
            told = f"{reached[0]:.1f} and {reached[1]:.1f}" if reached else "not reached"
            print(f"| {activation} | {initial} | {100 * max(apart):.2f} % | {told} |", flush=True)
    within = sum(one <= 0.05 for one in worst)
    print(
        f"\nWithin 5 %: {within} of {len(worst)}, the worst {100 * max(worst):.1f} %. Layers to 1e-4: apart by {max(off):.2f} at most, ",
        end="",
    )
    print(f"{sum(one <= 1 for one in off)} of {len(off)} within one layer.\n")


def _growth(
    make: Callable[[], nn.Module], draw: Callable[[torch.Tensor], Any], depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the gradient's size from the last hidden layer back, measured (mean of 5 draws) and by theory, [depth]."""
    curves = []
    for seed in range(5):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(512, 512), make()]
        model = nn.Sequential(*layers, nn.Linear(512, 10)).double()
        for module in model:
            if isinstance(module, nn.Linear):
                draw(module.weight)
                nn.init.zeros_(module.bias)
        x = torch.randn(128, 512, dtype=torch.float64)
        trace = wp.trace(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, torch.arange(128) % 10)))
        sizes = np.log([site.gradient for site in trace.trunk[:-1]])[::-1]
        factors = np.log([e.factor for e in trace.theory[: depth - 1]])[::-1]
        curves.append((sizes - sizes[0], np.concatenate([[0.0], np.cumsum(factors)])))
    measured, expected = np.mean(curves, axis=0)
    return measured, expected


def _layers(curve: np.ndarray) -> float:
    """The depth at which it crosses 1e-4, between layers by interpolation."""
    return float(np.interp(-math.log(1e-4), -curve, np.arange(len(curve))))


# --- the zoo -----------------------------------------------------------------------------------


def zoo(seeds: int, kinds: tuple[str, ...] = ()) -> None:
    """`wp.check_signals` on every known-good network, or on those of some kinds."""
    from zoo import KINDS, problems

    kinds = kinds or KINDS

    models, runs, crashes, fails, suspects, failing = 0, 0, [], [], [], set()
    for name, build in problems(kinds):
        models += 1
        for seed in range(seeds):
            try:
                report = wp.check_signals(build(seed))
            except Exception as error:
                crashes.append(f"{name}: {type(error).__name__}: {str(error)[:80]}")
                continue
            runs += 1
            for finding in report.findings:
                told = f"{name}, seed {seed}: {finding.rule} at {finding.where}: {finding.message[:140]}"
                if finding.verdict is wp.Verdict.FAILS:
                    fails.append(told)
                    failing.add(name)
                elif finding.verdict is wp.Verdict.SUSPECT:
                    suspects.append(told)
    print(
        f"### {models} known-good networks ({', '.join(kinds)}), {seeds} seeds each\n\n| | measured | target |\n|---|---|---|"
    )
    print(f"| crashes | {len(crashes)} | 0 |")
    print(f"| networks with a false `fails` | {len(failing)} of {models} ({100 * len(failing) / models:.2f} %) | 1 % |")
    print(f"| `suspect` per network | {len(suspects) / max(runs, 1):.3f} | 0.1 |\n")
    for line in [*crashes, *fails, *suspects]:
        print(f"- {line}")
    print()


# --- planted faults, and other tools -----------------------------------------------------------


def _ours(problem: wp.TorchProblem) -> bool:
    return any(f.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT) for f in wp.check_signals(problem).findings)


def _gradients(problem: wp.TorchProblem) -> list[torch.Tensor]:
    """The gradients of the weights, in the order of the layers."""
    loss = problem.loss(problem.model(problem.batch[0]), problem.batch[1])
    weights = [p for p in problem.model.parameters() if p.requires_grad and p.dim() > 1]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(weights, found, strict=True)]


def _autotrainer(problem: wp.TorchProblem) -> bool:
    """Zhang et al. 2021: first over last below 1e-3 with the first below 1e-4, above 70, or 7 in 10 gradients zero."""
    gradients = _gradients(problem)
    if not all(bool(g.isfinite().all()) for g in gradients):
        return True
    first, last = float(gradients[0].norm()), float(gradients[-1].norm())
    rate = first / last if last else float("inf")
    zeros = sum(int((g == 0).sum()) for g in gradients) / sum(g.numel() for g in gradients)
    return (rate < 1e-3 and first < 1e-4) or rate > 70 or zeros >= 0.7


def _deepchecker(problem: wp.TorchProblem) -> bool:
    """Ben Braiek & Khomh 2023: the mean absolute gradient of any weight below 1e-6, or above 100 (the thresholds are settings there)."""
    means = [float(g.abs().mean()) for g in _gradients(problem)]
    return any(not 1e-6 <= mean <= 100 for mean in means)


def _sagemaker(problem: wp.TorchProblem) -> bool:
    """VanishingGradient (mean absolute gradient below 1e-7) and ExplodingTensor (NaN or infinity), built-in rules."""
    means = [float(g.abs().mean()) for g in _gradients(problem)]
    return any(mean < 1e-7 or not math.isfinite(mean) for mean in means)


def _torchdiag(problem: wp.TorchProblem) -> bool:
    import torchdiag

    problem.loss(problem.model(problem.batch[0]), problem.batch[1]).backward()
    with contextlib.redirect_stdout(io.StringIO()):
        found = torchdiag.check_gradients(problem.model)
        dead = torchdiag.check_dead_neurons(problem.model, problem.batch[0])
    problem.model.zero_grad()
    worst = any(one["status"] in ("VANISH", "EXPLODE", "no_grad") for one in found.values())
    return worst or any("dead" in str(value).lower() for value in (dead or {}).values() if isinstance(value, str))


def _torchtest2(problem: wp.TorchProblem) -> bool:
    """All its checks, its training on the one batch too: any failure or warning."""
    import torchtest2

    report = torchtest2.check_model(problem.model, problem.batch[0], problem.batch[1], loss_fn=problem.loss)
    return bool(report.failures or report.warnings)


def _torch_audit(problem: wp.TorchProblem) -> bool:
    """Its rules on gradients and activations after one step, errors and warnings."""
    import torch_audit

    optimizer = torch.optim.SGD(problem.model.parameters(), 1e-3)
    problem.loss(problem.model(problem.batch[0]), problem.batch[1]).backward()
    result = torch_audit.audit(problem.model, phase="backward", batch=problem.batch, optimizer=optimizer)
    problem.model.zero_grad()
    return any(f.rule_id.startswith("TA10") for f in result.findings)


def _torchtest(problem: wp.TorchProblem) -> bool:
    """Its test that every parameter changes in a step, and that nothing is NaN."""
    import torchtest

    optimizer = torch.optim.SGD(problem.model.parameters(), 1e-2)
    try:
        torchtest.test_suite(
            problem.model,
            problem.loss,
            optimizer,
            list(problem.batch),
            test_vars_change=True,
            test_nan_vals=True,
            test_inf_vals=True,
        )
    except Exception:
        return True
    return False


TOOLS: dict[str, Callable[[wp.TorchProblem], bool]] = {
    "wellposed": _ours, "torchtest2": _torchtest2, "torch-audit": _torch_audit, "torchdiag": _torchdiag, "torchtest": _torchtest,
    "rule of AutoTrainer": _autotrainer, "rule of TheDeepChecker": _deepchecker, "rule of SageMaker Debugger": _sagemaker,
}  # fmt: skip


def _healthy() -> Iterator[tuple[str, Callable[[], wp.TorchProblem]]]:
    """Balanced plain networks as the planted ones, without the fault, and the zoo's own set-ups; built anew for every tool."""
    from planted_signals import _problem as posed
    from planted_signals import balanced
    from zoo_own import OWN

    for activation in ("relu", "leaky", "gelu", "elu", "tanh", "linear", "silu"):
        for depth in (6, 12, 24):
            model = balanced(depth, 64, activation, depth)
            if model is not None:
                yield (
                    f"{activation}, {depth} layers",
                    lambda model=model, depth=depth: posed(copy.deepcopy(model), depth),
                )
    for name, build in OWN.items():
        yield name, partial(build, 0)


def planted() -> None:
    """Every planted case, and healthy ones, through every tool."""
    from planted_signals import cases

    all_cases = list(cases())
    found = dict.fromkeys(TOOLS, 0)
    asked = named = missed = 0
    for case in all_cases:
        report = wp.check_signals(case.problem)
        spoken = [
            f for f in report.findings if f.rule in case.rules and f.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT)
        ]
        missed += not spoken
        if case.where:
            asked += 1
            named += any(f.where in case.where for f in spoken)
        for tool, alarms in TOOLS.items():
            found[tool] += bool(spoken) if tool == "wellposed" else _asked(alarms, case.problem)
    healthy = list(_healthy())
    false = dict.fromkeys(TOOLS, 0)
    count, ours = 0, []
    for name, build in healthy:
        for factor in (1.0, 1e-6, 1e6):
            count += 1
            for tool, alarms in TOOLS.items():
                problem = build()
                loss = problem.loss
                scaled = wp.TorchProblem(
                    problem.model, lambda *a, loss=loss, factor=factor: factor * loss(*a), problem.batch
                )
                alarm = _asked(alarms, scaled)
                false[tool] += alarm
                if alarm and tool == "wellposed":
                    ours.append(f"{name}, loss x {factor:g}")
    total = len(all_cases)
    print(
        f"### {total} planted faults; {count} healthy problems ({len(healthy)} networks, the loss times 1, 1e-6 and 1e6)\n"
    )
    print(
        f"wellposed: found {total - missed} of {total} by a rule for that fault (target 98 %); the layer named in {named} of {asked} (target 95 %).\n"
    )
    print("| tool | planted, alarmed | healthy, alarmed |\n|---|---|---|")
    for tool in TOOLS:
        print(
            f"| {tool} | {found[tool]} ({100 * found[tool] / total:.0f} %) | {false[tool]} ({100 * false[tool] / count:.0f} %) |"
        )
    print(f"\nwellposed's false alarms: {'; '.join(ours) or 'none'}\n")


def _asked(tool: Callable[[wp.TorchProblem], bool], problem: wp.TorchProblem) -> bool:
    """On a copy of the weights: some tools train. An error in the tool itself counts as no alarm."""
    kept = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    torch.manual_seed(0)
    try:
        return tool(problem)
    except Exception:
        return False
    finally:
        problem.model.load_state_dict(kept)
        problem.model.zero_grad()


# --- cost --------------------------------------------------------------------------------------


def _gpt2() -> wp.TorchProblem:
    from zoo import complete_torchvision

    complete_torchvision()
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(use_cache=False, n_layer=12))
    tokens = torch.randint(50257, (4, 256))
    return wp.TorchProblem(
        model,
        lambda out, t: nn.functional.cross_entropy(out.logits.flatten(0, 1), t.flatten()),
        ({"input_ids": tokens}, tokens),
    )


def _resnet50() -> wp.TorchProblem:
    from zoo import complete_torchvision, images

    complete_torchvision()
    import timm

    model = timm.create_model("resnet50", pretrained=False)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (images(0, (8, 3, 224, 224)), torch.arange(8)))


def _wide() -> wp.TorchProblem:
    layers = [module for _ in range(10) for module in (nn.Linear(1024, 1024), nn.ReLU())]
    return wp.TorchProblem(
        nn.Sequential(*layers, nn.Linear(1024, 10)),
        nn.CrossEntropyLoss(),
        (torch.randn(256, 1024), torch.arange(256) % 10),
    )


_NETWORKS: dict[str, Callable[[], wp.TorchProblem]] = {
    "GPT-2 small, 4 x 256 tokens": _gpt2,
    "ResNet-50, 8 images": _resnet50,
    "10 x 1024 MLP, 256 rows": _wide,
}


def cost() -> None:
    """A trace beside a forward and backward pass: time interleaved in one process, memory by the highest water mark of processes of their own."""
    print("### Cost of `wp.trace` (targets: 5 forward-backward steps, one copy of the parameters)\n")
    print(
        "| network | one step, s | trace, s | steps | parameters, MB | memory beyond a step, copies of the parameters |\n|---|---|---|---|---|---|"
    )
    for name, build in _NETWORKS.items():
        problem = build()
        _step(problem)
        steps, traces = [], []
        for _ in range(3):
            steps.append(_timed(lambda problem=problem: _step(problem)))
            problem.model.zero_grad(set_to_none=True)
            traces.append(_timed(lambda problem=problem: wp.trace(problem)))
        size = sum(p.numel() * p.element_size() for p in problem.model.parameters()) / 1e6
        peaks = [_peak(name, what) for what in ("step", "trace")]
        print(
            f"| {name} | {min(steps):.2f} | {min(traces):.2f} | {min(traces) / min(steps):.1f} | {size:.0f} | {(peaks[1] - peaks[0]) / size:.2f} |",
            flush=True,
        )
    print()


def _timed(what: Callable[[], Any]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def _step(problem: wp.TorchProblem) -> None:
    problem._loss().backward()


def _peak(name: str, what: str) -> float:
    """MB."""
    done = subprocess.run([sys.executable, __file__, "--peak", name, what], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _measure_peak(name: str, what: str) -> None:
    torch.set_num_threads(1)
    problem = _NETWORKS[name]()
    _step(problem) if what == "step" else wp.trace(problem)
    # Not by getrusage, whose highest mark is inherited from the process that started this one.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(line.split()[1]) / 1e3)


# --- NaN and infinity --------------------------------------------------------------------------


def finite() -> None:
    """The planted first operations of the tests, torch and JAX, and those that are no fault."""
    sys.path.insert(0, "tests")
    from test_finite import FINE, JAX, TORCH, jax_problem, of, torch_problem

    planted = [(torch_problem(case[0]), case) for case in TORCH.values()] + [
        (jax_problem(case[0]), case) for case in JAX.values()
    ]
    named = told = 0
    for problem, (_, operation, cause, way) in planted:
        finding = of(problem)
        named += f"In the {way} pass `{operation}" in finding.message
        told += finding.cause == cause
    false = sum(of(torch_problem(middle)).verdict is wp.Verdict.FAILS for middle in FINE.values())
    print(f"### First operation that makes NaN or infinity, {len(planted)} planted\n")
    print(
        f"operation named in {named}, cause in {told} (target 95 %); false alarms on {len(FINE)} with infinity on purpose: {false}\n"
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--peak"]:
        _measure_peak(*arguments[1:])
        sys.exit()
    if "--seeds" in arguments:
        SEEDS = int(arguments[arguments.index("--seeds") + 1])
    chosen = [a for a in arguments if a in ("theory", "zoo", "planted", "cost", "finite")] or [
        "cost",
        "theory",
        "planted",
        "finite",
        "zoo",
    ]
    print(f"torch {torch.__version__}, numpy {np.__version__}, wellposed {wp.__version__}; CPU.\n")
    for part in chosen:
        torch.set_num_threads(1)  # small networks: several threads wait for each other
        kinds = tuple(arguments[arguments.index("--kinds") + 1].split(",")) if "--kinds" in arguments else ()
        zoo(SEEDS, kinds) if part == "zoo" else {"theory": theory, "planted": planted, "cost": cost, "finite": finite}[
            part
        ]()
