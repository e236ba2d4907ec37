"""The gradient check on random problems: false alarms, one wrong entry among many, and the checkers of torch and JAX on the same networks.

python benchmarks/gradcheck_random.py [alarms N | entry N | peers N] ...
"""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import torch
from planted import ERRORS, planted

import wellposed as wp

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
ACTIVATIONS = (torch.tanh, torch.relu, torch.nn.functional.gelu, torch.sigmoid, torch.nn.functional.leaky_relu)


def network(seed: int, dtype: torch.dtype) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """A random network of 1 to 4 layers, width 1 to 16, scaled by 1e-6 to 1e6, as a function of its weights; and the weights."""
    draw = np.random.default_rng(seed)
    depth, rows = int(draw.integers(1, 5)), int(draw.integers(1, 17))
    widths = [int(draw.integers(1, 17)) for _ in range(depth + 1)]
    activation = ACTIVATIONS[int(draw.integers(len(ACTIVATIONS)))]
    factor = 10.0 ** draw.uniform(-6, 6)
    squared = bool(draw.integers(2))

    def tensor(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.as_tensor(scale * draw.standard_normal(shape)).to(dtype)

    x, y = tensor(rows, widths[0]), tensor(rows, widths[-1])
    weights = []
    for before, after in itertools.pairwise(widths):
        weights += [tensor(after, before, scale=(2 / before) ** 0.5), tensor(after, scale=0.1)]

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        h = x
        for layer, (w, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
            h = torch.nn.functional.linear(h, w, b)
            h = activation(h) if layer < depth - 1 else h
        last = (h - y).square().mean() if squared or h.shape[1] < 2 else torch.logsumexp(h, 1).mean() - h[:, 0].mean()
        return factor * last

    return loss, tuple(w.requires_grad_() for w in weights)


def _alarms(seeds: range) -> Counter[Any]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count: Counter[Any] = Counter()
    for seed in seeds:
        dtype = DTYPES[seed % 3]
        report = wp.gradcheck(*network(seed, dtype))
        name = str(dtype).removeprefix("torch.")
        count[name] += 1
        count[name, "fails"] += not report.ok
        count[name, "undecided"] += report.ok and any(f.verdict is wp.Verdict.UNDECIDED for f in report.findings)
        count[name, "evaluations"] += report.evaluations
        if not report.ok:
            print(
                f"seed {seed}, {name}: {next(f.message for f in report.findings if f.verdict is wp.Verdict.FAILS)}",
                file=sys.stderr,
            )
    return count


def alarms(number: int) -> None:
    print(
        f"\n### False alarms on {number:,} correct random networks (1 to 4 layers, five activations, losses times 1e-6 to 1e6)\n"
    )
    count = _in_parts(_alarms, number)
    print("| dtype | problems | fails | undecided | evaluations per problem |\n|---|---|---|---|---|")
    for name in ("float64", "float32", "bfloat16"):
        print(
            f"| {name} | {count[name]} | {count[name, 'fails']} | {count[name, 'undecided']} | "
            f"{count[name, 'evaluations'] / count[name]:.0f} |"
        )


def _entry(seeds: range) -> Counter[Any]:
    size = 100_000
    count: Counter[Any] = Counter()
    for seed in seeds:
        draw = np.random.default_rng(seed)
        w, c = draw.standard_normal(size), draw.standard_normal(size)
        gradient = c * np.cos(w)
        place, error = int(draw.integers(size)), 1e-3 * np.linalg.norm(gradient)

        def wrong(p: Any, c: Any = c, place: int = place, error: float = error) -> Any:
            g = c * np.cos(p["w"])
            g[place] += error
            return {"w": g}

        problem = wp.FunctionProblem(lambda p, c=c: float(c @ np.sin(p["w"])), wrong, {"w": w})
        count["missed"] += not _detected(problem)
        count["evaluations"] = max(count["evaluations"], problem.evaluations)
        count["trials"] += 1
    return count


def _detected(problem: wp.FunctionProblem) -> bool:
    """Whether the two joint directions, which every check starts with, show the error; what follows only names it."""
    from wellposed.gradients.prober import Prober

    theta = problem.theta()
    prober = Prober(problem, theta, problem.layout.pack_known(problem.gradient(theta)))
    probes = prober.probes(
        [prober.directions.jointly(problem.layout.names, along_claim=along) for along in (True, False)]
    )
    return not all(probe.agrees for probe in probes)


def entry(number: int) -> None:
    print(f"\n### One entry off by 1e-3 of the gradient's norm among 100,000, float64, {number:,} trials\n")
    count = _in_parts(_entry, number)
    print(
        f"missed: {count['missed']} of {count['trials']}; at most {count['evaluations']} evaluations until it is seen"
    )


def _in_parts(task: Any, number: int) -> Counter[Any]:
    size = max(1, number // 40)
    parts = [range(start, min(start + size, number)) for start in range(0, number, size)]
    total: Counter[Any] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(task, parts):
            most = max(total["evaluations"], part["evaluations"])
            total.update(part)
            total["evaluations"] = most
    return total


def peers(number: int) -> None:
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    print(
        f"\n### The same {number} random tanh networks for every checker (3 layers, width 32, 1,200 weights): wrong answers\n"
    )
    print("| dtype | gradient | ours | torch slow | torch fast | jax check_grads |\n|---|---|---|---|---|---|")

    def failed(check: Any) -> bool:
        try:
            return not check()
        except Exception:
            return True

    for dtype, real in ((torch.float64, np.float64), (torch.float32, np.float32)):
        for error in ("none", *ERRORS):
            wrong: Counter[str] = Counter()
            for seed in range(number):
                draw = np.random.default_rng(seed)
                w = [draw.standard_normal(s) / 4 for s in ((32, 8), (24, 32), (8, 24))]
                x = draw.standard_normal((16, 8))

                xt = torch.as_tensor(x).to(dtype)
                tensors = tuple(torch.as_tensor(v).to(dtype).requires_grad_() for v in w)
                fn = _torch_loss(xt, error)
                should_fail = error != "none"
                wrong["ours"] += failed(partial(wp.gradcheck, fn, tensors)) != should_fail
                wrong["slow"] += failed(partial(torch.autograd.gradcheck, fn, tensors)) != should_fail
                wrong["fast"] += failed(partial(torch.autograd.gradcheck, fn, tensors, fast_mode=True)) != should_fail
                with jax.enable_x64(real is np.float64):
                    check = partial(
                        check_grads,
                        _jax_loss(jnp.asarray(x, real), error),
                        [jnp.asarray(v, real) for v in w],
                        1,
                        ("rev",),
                    )
                    wrong["jax"] += failed(lambda check=check: check() is None) != should_fail
            cells = " | ".join(str(wrong[k]) for k in ("ours", "slow", "fast", "jax"))
            print(
                f"| {str(dtype).removeprefix('torch.')} | {'right' if error == 'none' else error} | {cells} |",
                flush=True,
            )


def _network(a: Any, b: Any, c: Any, tanh: Any, x: Any) -> Any:
    return tanh(tanh(x @ a.T) @ b.T) @ c.T


def _torch_loss(x: Any, error: str) -> Any:
    def clean(a: Any, b: Any, c: Any) -> Any:
        return (_network(a, b, c, torch.tanh, x) ** 2).mean()

    return clean if error == "none" else planted(clean, ERRORS[error])


def _jax_loss(x: Any, error: str) -> Any:
    import jax.numpy as jnp

    spoil = _jax_planted(error)
    return lambda a, b, c: jnp.mean(_network(spoil(a), b, c, jnp.tanh, x) ** 2)


def _jax_planted(error: str) -> Any:
    import jax
    import jax.numpy as jnp

    if error == "none":
        return lambda x: x

    def backward(_: Any, g: Any) -> Any:
        spoiled = ERRORS[error](torch.as_tensor(np.array(g)))
        return (jnp.asarray(spoiled.numpy()),)

    same = jax.custom_vjp(lambda x: x)
    same.defvjp(lambda x: (x, None), backward)
    return same


PARTS = {"alarms": (alarms, 100_000), "entry": (entry, 10_000), "peers": (peers, 50)}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, wellposed {wp.__version__}, numpy {np.__version__}; CPU.")
    words = sys.argv[1:]
    for name, (part, number) in PARTS.items():
        if not words or name in words:
            given = words[words.index(name) + 1 : words.index(name) + 2] if name in words else []
            part(int(given[0]) if given and given[0].isdigit() else number)
