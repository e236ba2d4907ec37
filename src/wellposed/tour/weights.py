"""Note 3: the variance of a sum of n inputs, and 2 / n for ReLU."""

from __future__ import annotations

import numpy as np

from wellposed.api import gain
from wellposed.figures import Figure, Panel, Series
from wellposed.tour.chapter import Chapter, Code, Table

_SIZES, _DRAWS, _WIDTH, _LAYERS = (10, 100, 1000, 10000), 20000, 300, 40


def chapter() -> Chapter:
    sums = Table(("inputs n", "weights of variance 1", "weights of variance 1 / n"), tuple(_row(n) for n in _SIZES))
    rules = {"1 / n": 1.0, "2 / n": 2.0}
    series = tuple(
        Series(f"variance {name}", tuple(map(float, range(1, _LAYERS + 1))), _relu(factor))
        for name, factor in rules.items()
    )
    figure = Figure(
        "relu", "ReLU layers under two rules",
        f"Mean square of the pre-activations through {_LAYERS} ReLU layers of {_WIDTH} units, measured: with weights "
        f"of "
        f"variance 1 / n it ends "
        f"at {series[0].y[-1]:.2g}, with 2 / n at {series[1].y[-1]:.2g}.",
        (Panel("size before the activation", "layer", "mean square", series, log_y=True),),
    )  # fmt: skip
    relu, tanh = gain("relu"), gain("tanh")
    return Chapter(
        "Weight initialisation",
        (
            (
                "A unit adds n inputs, each times a weight: z = w1 x1 + ... + wn xn. For inputs of variance 1 and "
                "independent weights of variance "
                f"v the variance of z is n v. Measured over {_DRAWS:,} draws:"
            ),
            sums,
            (
                "So v = 1 / n keeps the size. ReLU throws half of it away: it keeps one half of the mean square, and v"
                " = 2 / n makes up for that."
            ),
            figure,
            (
                f"The factor is a property of the activation. For ReLU `wp.gain` finds {relu.forward**2:.4g} / n"
                f" exactly, for tanh at unit size {tanh.forward**2:.4g} / n; any function of your own will do."
            ),
            Code(
                'wp.gain("relu").forward ** 2  # 2.0\n'
                "wp.gain(lambda z: torch.nn.functional.silu(z))\n"
                "wp.initialize(model, batch)  # every layer for its place"
            ),
        ),
    )


def _row(n: int) -> tuple[str, ...]:
    """z has the same distribution as sqrt(n v) times a mean over draws; it is summed as a layer would, in blocks."""
    random = np.random.default_rng(n)
    draws = max(_DRAWS // max(n // 100, 1), 200)
    z = np.array([random.standard_normal(n) @ random.standard_normal(n) for _ in range(draws)])
    return (f"{n:,}", f"{z.var():.4g}", f"{(z / np.sqrt(n)).var():.3f}")


def _relu(factor: float) -> tuple[float, ...]:
    random = np.random.default_rng(0)
    z = random.standard_normal((_WIDTH, 64))
    sizes = []
    for _ in range(_LAYERS):
        z = np.sqrt(factor / _WIDTH) * random.standard_normal((_WIDTH, _WIDTH)) @ np.maximum(z, 0)
        sizes.append(float(np.mean(z**2)))
    return tuple(sizes)
