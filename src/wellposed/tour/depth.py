"""Note 2: what depth does to signals and gradients."""

from __future__ import annotations

import numpy as np

from wellposed.figures import Figure, Panel, Series
from wellposed.tour.chapter import Chapter, Code, Table

_DEPTHS, _WIDTH, _LAYERS = (10, 50, 150), 200, 60


def chapter() -> Chapter:
    powers = Table(
        ("layers", "0.5 each", "0.9 each", "1.1 each", "1.5 each"),
        tuple((str(depth), *(f"{factor**depth:.3g}" for factor in (0.5, 0.9, 1.1, 1.5))) for depth in _DEPTHS),
    )
    gains = {"0.9 / sqrt(n)": 0.9, "1 / sqrt(n)": 1.0, "1.1 / sqrt(n)": 1.1}
    series = tuple(Series(name, tuple(map(float, range(_LAYERS + 1))), _sizes(gain)) for name, gain in gains.items())
    figure = Figure(
        "powers", "A signal through linear layers",
        f"Root mean square of a signal through {_LAYERS} random linear layers of {_WIDTH} units, measured: weights of "
        f"deviation 0.9 / sqrt(n) "
        f"leave {series[0].y[-1]:.2g} of it, 1 / sqrt(n) {series[1].y[-1]:.2g}, 1.1 / sqrt(n) {series[2].y[-1]:.3g}.",
        (Panel("size of the signal", "layer", "root mean square", series, log_y=True),),
    )  # fmt: skip
    return Chapter(
        "Vanishing and exploding gradients",
        (
            (
                "Take layers that are all the same and linear, with weights of 1.5 times the identity: after L of them"
                " the signal is 1.5^L times what came in, and the gradient on its way back too. A factor near 1 is no"
                " help: what counts is its power."
            ),
            powers,
            "Random layers are no different: the factor is the deviation of the weights times sqrt(n).",
            figure,
            (
                "Activations bring factors of their own, and a network that is trained needs both ways, on and back,"
                " near 1 at every layer. `wp.trace` shows them beside the theory of wide random networks:"
            ),
            Code(
                "problem = wp.TorchProblem(model, loss, (inputs,"
                " targets))\nprint(wp.trace(problem))\nprint(wp.check_signals(problem))"
            ),
        ),
    )


def _sizes(gain: float) -> tuple[float, ...]:
    random = np.random.default_rng(0)
    x = random.standard_normal((_WIDTH, 16))
    sizes = [float(np.sqrt(np.mean(x**2)))]
    for _ in range(_LAYERS):
        x = gain / np.sqrt(_WIDTH) * random.standard_normal((_WIDTH, _WIDTH)) @ x
        sizes.append(float(np.sqrt(np.mean(x**2))))
    return tuple(sizes)
