"""Note 5: a gradient check of a network with a planted bug, with L2 and with dropout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wellposed.api import check_gradients
from wellposed.backends.numpy import FunctionProblem
from wellposed.numerics.arrays import Vector
from wellposed.tour.chapter import Chapter, Code

Params = Mapping[str, Vector]
_DECAY, _KEPT = 0.1, 0.8


class Network:
    """One hidden layer of tanh units and a squared error, by hand; a bug can be planted in its backward pass."""

    def __init__(self, bug: str = "", *, decay: bool = False, dropout: bool = False) -> None:
        random = np.random.default_rng(0)
        self.x, self.y = random.standard_normal((20, 5)), random.standard_normal((20, 1))
        self.params = {
            "W1": 0.5 * random.standard_normal((5, 8)), "b1": np.zeros(8), "W2": 0.4 * random.standard_normal((8, 1)),
            "b2": np.zeros(1),
        }  # fmt: skip
        self.bug, self.decay, self.dropout = bug, decay, dropout
        self._random = np.random.default_rng()  # without a seed: that is the trap

    def loss(self, p: Params) -> float:
        hidden = np.tanh(self.x @ p["W1"] + p["b1"])
        if self.dropout:
            hidden = hidden * (np.random.default_rng().random(hidden.shape) < _KEPT) / _KEPT
        error = hidden @ p["W2"] + p["b2"] - self.y
        penalty = _DECAY * sum(float(np.sum(p[name] ** 2)) for name in ("W1", "W2")) / 2 if self.decay else 0.0
        return float(np.mean(error**2)) + penalty

    def gradient(self, p: Params) -> dict[str, Vector]:
        hidden = np.tanh(self.x @ p["W1"] + p["b1"])
        error = 2 * (hidden @ p["W2"] + p["b2"] - self.y) / len(self.x)
        slope = np.ones_like(hidden) if self.bug == "tanh" else 1 - hidden**2
        back = error @ p["W2"].T * slope
        decay = {name: _DECAY * p[name] if self.decay and self.bug != "decay" else 0.0 for name in ("W1", "W2")}
        return {
            "W1": self.x.T @ back + decay["W1"], "b1": back.sum(axis=0),
            "W2": hidden.T @ error + decay["W2"], "b2": error.sum(axis=0),
        }  # fmt: skip

    def problem(self) -> FunctionProblem:
        return FunctionProblem(self.loss, self.gradient, self.params)


def chapter() -> Chapter:
    healthy = check_gradients(Network(decay=True).problem())
    return Chapter(
        "Gradient checking",
        (
            (
                "Hold the gradient that the backward pass claims against differences of the loss. Only to debug: a"
                " check costs many evaluations, so it has no place in the training loop. Here a network of one hidden"
                " layer, written by hand in NumPy."
            ),
            Code("problem = wp.FunctionProblem(loss, gradient, params)\nreport = wp.check_gradients(problem)"),
            "As it should be:" if healthy.ok else "",
            healthy,
            (
                "Now with a bug: the derivative of tanh is forgotten. Look at the components, and where they disagree:"
                " W1 and b1 lie before the tanh, W2 and b2 behind it."
            ),
            check_gradients(Network("tanh").problem()),
            "Remember regularisation: the loss has an L2 penalty here, and the gradient has none of it.",
            check_gradients(Network("decay", decay=True).problem()),
            (
                "Dropout needs care: with another mask at every call the loss is another one too. Where wellposed finds"
                " the generator it holds it still; one that is made anew at each call without a seed it cannot hold,"
                " and says so."
            ),
            check_gradients(Network(dropout=True).problem()),
            (
                "And run it at random initialisation and again after some training, for some mistakes show only where "
                "weights are no longer small:"
            ),
            Code("wp.check_gradients(problem, after_steps=20)"),
        ),
    )
