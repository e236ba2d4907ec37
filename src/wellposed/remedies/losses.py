"""The loss of a problem after some steps."""

from __future__ import annotations

from wellposed.backends.protocol import Problem
from wellposed.users_code import ask


def loss_after(problem: Problem, steps: int) -> float:
    """After steps of the optimizer given, of Adam without one, on a copy; NaN where the loss has no value."""
    with problem.preserved():
        theta = problem.theta()
        # A loss that raises is one of the things that are mended.
        return ask(
            lambda: problem.value(problem.training.trained(theta, steps) if steps else theta), float("nan"), ours=False
        )
