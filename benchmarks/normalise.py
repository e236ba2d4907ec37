"""Note 1 in figures: accuracy, constants, speed, memory, early stopping, one data set through every engine; peers in the same run.

python benchmarks/normalise.py [nist stream constants fit bytes transform disk early engines]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from math import log10
from pathlib import Path

import numpy as np

import wellposed as wp

NIST = json.loads((Path(__file__).parents[1] / "tests/data/strd_univariate.json").read_text())
TRIALS = 1000


def digits(found: float, truth: Fraction) -> float:
    """-log10 of the relative error of a standard deviation, given the exact variance."""
    error = abs(Fraction(float(found)) ** 2 - truth) / truth / 2
    return 17.0 if error == 0 else min(17.0, -log10(error))


def exact_variance(values: np.ndarray) -> Fraction:
    numbers = [Fraction(float(v)) for v in values]
    mean = sum(numbers) / len(numbers)
    return sum((n - mean) ** 2 for n in numbers) / len(numbers)


def random_tree(column: np.ndarray, draw: np.random.Generator) -> wp.Moments:
    """Random batches, merged in random order."""
    cuts = np.sort(draw.choice(len(column) + 1, draw.integers(1, min(len(column), 60)), replace=True))
    parts = [wp.Moments.of(part) for part in np.split(column, cuts)]
    draw.shuffle(parts)
    while len(parts) > 1:
        i = int(draw.integers(len(parts) - 1))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0]


def nist() -> None:
    from sklearn.preprocessing import StandardScaler

    print(f"### NIST StRD: digits of the standard deviation, the fewest of {TRIALS} random batchings and merge trees (target 15)\n")
    print("| | " + " | ".join(NIST) + " |\n|---|" + "---|" * len(NIST))
    rows: dict[str, list[float]] = {"wellposed": [], "wellposed, reproducible": [], "sklearn partial_fit, batches of 10": [], "numpy, at once": []}
    for data in NIST.values():
        column = np.array([float(entry) for entry in data["y"]])[:, None]
        truth, draw = exact_variance(column[:, 0]), np.random.default_rng(0)
        rows["wellposed"].append(min(digits(random_tree(column, draw).std[0], truth) for _ in range(TRIALS)))
        rows["wellposed, reproducible"].append(digits(wp.Moments.of(column, reproducible=True).std[0], truth))
        scaler = StandardScaler()
        for start in range(0, len(column), 10):
            scaler.partial_fit(column[start : start + 10])
        rows["sklearn partial_fit, batches of 10"].append(digits(float(scaler.var_[0]) ** 0.5, truth))
        rows["numpy, at once"].append(digits(column.std(), truth))
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(f"{d:.1f}" for d in found) + " |")
    print()


def stream() -> None:
    rows, batch = 100_000_000, 1_000_000
    draw = np.random.default_rng(0)
    total, exact = wp.Moments.empty(1), None
    for _ in range(rows // batch):
        part = (1e4 + draw.standard_normal((batch, 1), dtype=np.float32)).astype(np.float32)
        total = total + wp.Moments.of(part)
        found = wp.Moments.of(part, reproducible=True)
        exact = found if exact is None else exact + found
    assert exact is not None
    error = abs(total.std[0] / exact.std[0] - 1)
    print(f"### {rows:,} rows of float32, mean 1e4, standard deviation 1, in batches of {batch:,}\n")
    print(f"relative error of the standard deviation, against exact sums: {error:.1e} (target 1e-12)\n")


if __name__ == "__main__":
    import sklearn

    print(f"wellposed {wp.__version__}, numpy {np.__version__}, scikit-learn {sklearn.__version__}; {os.cpu_count()} cores.\n")
    parts: dict[str, Callable[[], None]] = {f.__name__: f for f in (nist, stream)}
    for name in sys.argv[1:] or parts:
        parts[name]()
