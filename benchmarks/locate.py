"""Wrong entries located among a million, and wrong tensors among many: evaluations and exactness.

python benchmarks/locate.py [trials]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

import wellposed as wp
from wellposed.gradients.locate import locate
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.residuals import Residuals
from wellposed.gradients.screen import screen

SHAPE = (1000, 1000)
TARGETS = {1: 12, 10: 250, 100: 3000}


def layer(seed: int, dtype: type) -> tuple[wp.FunctionProblem, Callable[[np.ndarray], None], np.ndarray]:
    """A tanh layer of SHAPE on four examples, mean squared error: the problem, a function that sets its gradient's error, the gradient."""
    random = np.random.default_rng(seed)
    n, m = SHAPE
    W = (random.standard_normal(SHAPE) / np.sqrt(n)).astype(dtype)
    X, v, y = (random.standard_normal(s).astype(dtype) for s in ((4, n), m, 4))
    v = (v / np.sqrt(m)).astype(dtype)
    error = np.zeros(SHAPE)

    def value(p: dict[str, np.ndarray]) -> float:
        out = np.tanh(X @ p["W"]) @ v - y
        return dtype(0.5) * np.mean(out * out)

    def right(p: dict[str, np.ndarray]) -> np.ndarray:
        h = np.tanh(X @ p["W"])
        return X.T @ (((h @ v - y) / 4)[:, None] * v * (1 - h * h))

    def spoil(e: np.ndarray) -> None:
        error[...] = e

    problem = wp.FunctionProblem(value, lambda p: {"W": right(p) + error}, {"W": W})
    return problem, spoil, right({"W": W})


def prepared(problem: wp.FunctionProblem) -> tuple[Prober, list[Probe]]:
    """What the check has measured by the time a tensor has failed: not counted."""
    theta = problem.theta()
    prober = Prober(problem, theta, problem.layout.pack_known(problem.gradient(theta)))
    probes = [prober.probes([prober.directions.random_direction(slice(0, theta.size))], second_opinion=True)[0]]
    return prober, [probe for probe in probes if probe.known]


def trial(seed: int, count: int, dtype: type, budget: int) -> tuple[bool, int]:
    """Whether exactly the wrong entries were found, and the evaluations."""
    problem, spoil, gradient = layer(seed, dtype)
    random = np.random.default_rng((seed, 1))
    places = random.choice(gradient.size, count, replace=False)
    if dtype is np.float64:
        size = 1e-2 * float(np.median(np.abs(gradient)))
    else:  # ten times what hides in the noise of a direction through all entries
        prober, probes = prepared(problem)
        residuals = Residuals(prober, slice(0, gradient.size), probes)
        whole = residuals.of(np.ones(gradient.size))
        size = 10 * whole.bar / float(np.median(residuals.sizes))
    errors = np.zeros(gradient.size)
    errors[places] = random.choice([-1.0, 1.0], count) * size * random.uniform(1, 3, count)
    spoil(errors.reshape(SHAPE))
    prober, probes = prepared(problem)
    found = locate(Residuals(prober, slice(0, gradient.size), probes), SHAPE, budget)
    got = {int(np.ravel_multi_index(entry.index, SHAPE)) for entry in found.entries}
    return got == set(map(int, places)) and not found.slices, found.evaluations


def entries(trials: int) -> None:
    print(f"### Wrong entries among {SHAPE[0] * SHAPE[1]:,}, {trials} trials each\n")
    print(
        "| dtype | wrong | target, evaluations | median | 99th percentile | most | located exactly |\n|---|---|---|---|---|---|---|"
    )
    for dtype in (np.float64, np.float32):
        for count, target in TARGETS.items():
            runs = [
                trial(seed, count, dtype, 2 * target) for seed in range(trials if count < 100 else max(trials // 10, 1))
            ]
            spent = [evaluations for _, evaluations in runs]
            exact = sum(right for right, _ in runs)
            print(
                f"| {np.dtype(dtype).name} | {count} | {target} | {np.median(spent):.0f} | {np.percentile(spent, 99):.0f} | {max(spent)} | "
                f"{exact} of {len(runs)} |",
                flush=True,
            )


def stack(depth: int, seed: int, wrong: set[str]) -> wp.FunctionProblem:
    """A chain of tanh layers, width 6; the gradients of the tensors named lack 1 %."""
    random = np.random.default_rng(seed)
    X, y = random.standard_normal((8, 6)), random.standard_normal((8, 6))
    params = {}
    for k in range(depth):
        params |= {f"W{k}": random.standard_normal((6, 6)) / 2, f"b{k}": random.standard_normal(6) / 3}

    def forward(p: dict[str, np.ndarray]) -> list[np.ndarray]:
        hs = [X]
        for k in range(depth):
            hs.append(np.tanh(hs[-1] @ p[f"W{k}"] + p[f"b{k}"]))
        return hs

    def gradient(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        hs = forward(p)
        d, out = (hs[-1] - y) / y.size, {}
        for k in reversed(range(depth)):
            d = d * (1 - hs[k + 1] ** 2)
            out |= {f"W{k}": hs[k].T @ d, f"b{k}": d.sum(0)}
            d = d @ p[f"W{k}"].T
        return {name: g * (0.99 if name in wrong else 1.0) for name, g in out.items()}

    return wp.FunctionProblem(lambda p: 0.5 * ((forward(p)[-1] - y) ** 2).mean(), gradient, params)


def tensors(trials: int) -> None:
    print(f"\n### Wrong tensors among T, 1 % missing in each of 1 to 3, {trials} trials each, float64\n")
    print("| tensors T | target 4 T + 20 | most evaluations until they are named | named exactly |\n|---|---|---|---|")
    for depth in (4, 10, 25):
        spent, exact = [], 0
        for seed in range(trials):
            random = np.random.default_rng((seed, 2))
            wrong = {
                f"{random.choice(['W', 'b'])}{k}" for k in random.choice(depth, random.integers(1, 4), replace=False)
            }
            problem = stack(depth, seed, wrong)
            theta = problem.theta()
            prober = Prober(problem, theta, problem.layout.pack_known(problem.gradient(theta)))
            u = prober.directions.jointly(problem.layout.names)
            seen = screen(prober, problem.layout.names, u, prober.probe(u), 0.01)
            exact += {name for name, verdict in seen.items() if verdict} == wrong
            spent.append(problem.evaluations)
        print(f"| {2 * depth} | {8 * depth + 20} | {max(spent)} | {exact} of {trials} |", flush=True)


if __name__ == "__main__":
    print(f"numpy {np.__version__}, wellposed {wp.__version__}; CPU.\n")
    TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    tensors(TRIALS)
    entries(TRIALS)
    print("\nErrors: 1 to 3 % of the median gradient entry in float64; 10 to 30 times the noise floor in float32.")
    print("With 100 wrong entries a tenth of the trials.")
