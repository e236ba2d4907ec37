"""Note 4: 3.0001 against 3.0301."""

from __future__ import annotations

import numpy as np

from wellposed.derivatives.functions import derivative
from wellposed.figures import Figure, Panel, Series
from wellposed.tour.chapter import Chapter, Code, Table


def chapter() -> Chapter:
    steps = 10.0 ** np.arange(-15, 0.1, 0.5)
    two, one = (
        np.array([(_cube(1 + h) - _cube(1 - h)) / (2 * h) for h in steps]),
        np.array([(_cube(1 + h) - _cube(1)) / h for h in steps]),
    )
    found = derivative(_cube, 1.0)
    exact = Table(
        ("", "formula", "step 0.01", "error"),
        (
            ("two-sided", "(f(1 + h) - f(1 - h)) / 2h", f"{(_cube(1.01) - _cube(0.99)) / 0.02:.4f}", "0.0001 = h^2"),
            ("one-sided", "(f(1 + h) - f(1)) / h", f"{(_cube(1.01) - _cube(1)) / 0.01:.4f}", "0.0301 = 3h + h^2"),
        ),
    )
    series = (
        Series("two-sided", tuple(steps), tuple(np.where(two == 3, np.nan, np.abs(two - 3)))),
        Series("one-sided", tuple(steps), tuple(np.where(one == 3, np.nan, np.abs(one - 3)))),
    )
    figure = Figure(
        "steps", "Error of a difference over its step",
        f"Both errors fall with the step h until rounding takes over, about 1e-16 / h: the best two-sided error is "
        f"{np.abs(two - 3).min():.1g}, "
        f"the best one-sided {np.abs(one - 3).min():.1g}, and neither difference says how wrong it is.",
        (Panel("f = x^3 at 1", "step h", "error", series, log_x=True, log_y=True),),
    )  # fmt: skip
    return Chapter(
        "Numerical derivatives",
        (
            "The slope of f(x) = x^3 at 1 is 3. Nudge x by 0.01 to both sides, or to one:",
            exact,
            (
                "Two-sided differences are wrong by a multiple of h^2, one-sided ones by a multiple of h. So take two "
                "sides; but which step? Too "
                "large a one cuts the curve short, too small a one is lost in rounding."
            ),
            figure,
            (
                "`wp.derivative` measures the noise of f, climbs a ladder of steps, and gives an error bar that covers"
                " the truth:"
            ),
            Code("wp.derivative(lambda x: x**3, 1.0)"),
            f"It finds {float(found.value):.15g} ± {float(found.error):.1g}, from {found.evaluations} evaluations.",
        ),
    )


def _cube(x: float) -> float:
    return x**3
