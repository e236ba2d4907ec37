"""Note 1: loss contours and gradient descent, before and after normalising the inputs."""

from __future__ import annotations

import numpy as np

from wellposed.api import check_inputs
from wellposed.figures import Figure, Panel, Series
from wellposed.inputs.standardizer import Standardizer
from wellposed.numerics.arrays import Vector
from wellposed.tour.chapter import Chapter, Code, Table

_ROWS, _STEPS, _LEVELS = 200, 40, (0.05, 0.3, 1.0)


def chapter() -> Chapter:
    random = np.random.default_rng(0)
    raw = np.stack([random.uniform(50, 250, _ROWS), random.uniform(1, 6, _ROWS)], axis=1)
    price = _normal(raw) @ np.array([0.8, 0.5]) + 0.1 * random.standard_normal(_ROWS)
    normalised = Standardizer().fit(raw).transform(raw)
    rows, panels = [], []
    for name, x in (("square metres and rooms as they are", raw), ("standardised", np.asarray(normalised))):
        values, vectors, best = _bowl(x, price)
        path, losses = _descent(x, price, 2 / (values[0] + values[1]))
        ratio = (values[1] - values[0]) / (values[1] + values[0])
        rows.append((name, f"{values[1] / values[0]:.3g}", f"{ratio:.6f}", f"{losses[0]:.3g}", f"{losses[-1]:.3g}"))
        panels.append(_panel(name, values, vectors, best, path, losses))
    table = Table(
        ("inputs", "condition number", "error left by a step", "loss at first", f"after {_STEPS} steps"), tuple(rows)
    )
    figure = Figure(
        "contours", "Loss contours and gradient descent",
        f"Level lines of the loss over the two weights, and {_STEPS} steps of gradient descent at its best rate: along "
        f"a narrow valley for the "
        "inputs as they are, straight to the bottom for standardised ones.",
        tuple(panels),
    )  # fmt: skip
    return Chapter(
        "Normalise the inputs",
        (
            (
                "Two features of a flat, its square metres (50 to 250) and its rooms (1 to 6), and a linear model of"
                " its price. The loss is a bowl over the two weights, and gradient descent walks down its slope."
            ),
            (
                "How fast, the bowl's shape decides: the condition number c is the largest curvature over the smallest."
                " At the best possible learning rate every step leaves (c - 1) / (c + 1) of the error."
            ),
            table,
            figure,
            (
                "Subtract the mean, divide by the standard deviation, both of the training set, and use the same two"
                " numbers on the test set."
            ),
            Code(
                "standardizer = wp.Standardizer().fit(x_train)\nx_train = standardizer.transform(x_train)\n"
                "x_test = standardizer.transform(x_test)"
            ),
            "`wp.check_inputs(x)` says of the inputs as they are:",
            check_inputs(raw),
        ),
    )


def _normal(x: Vector) -> Vector:
    return np.asarray((x - x.mean(axis=0)) / x.std(axis=0))


def _bowl(x: Vector, y: Vector) -> tuple[Vector, Vector, Vector]:
    """Curvatures, smallest first, their directions, and the bottom of mean((x w - y)^2) / 2."""
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    best = np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
    return np.asarray(values), np.asarray(vectors), best


def _descent(x: Vector, y: Vector, rate: float) -> tuple[Vector, list[float]]:
    w, path, losses = np.zeros(2), [], []
    for _ in range(_STEPS + 1):
        residual = x @ w - y
        path.append(w)
        losses.append(float(np.mean(residual**2) / 2))
        w = w - rate * (x.T @ residual) / len(x)
    return np.array(path), losses


def _panel(name: str, values: Vector, vectors: Vector, best: Vector, path: Vector, losses: list[float]) -> Panel:
    """Level lines at parts of the drop from the first step to the bottom, and the path."""
    circle = np.linspace(0, 2 * np.pi, 120)
    drop = max(float((path[0] - best) @ (vectors * values) @ vectors.T @ (path[0] - best)) / 2, 1e-300)
    lines = []
    for level in _LEVELS:
        ring = best[:, None] + vectors @ (
            np.sqrt(2 * level * drop / values)[:, None] * np.stack([np.cos(circle), np.sin(circle)])
        )
        lines.append(Series(f"{level:g} of the drop", tuple(ring[0]), tuple(ring[1]), "dashes"))
    lines.append(Series("gradient descent", tuple(path[:, 0]), tuple(path[:, 1]), "line"))
    return Panel(name, "first weight", "second weight", tuple(lines))
