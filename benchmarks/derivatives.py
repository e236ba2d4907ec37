"""Numerical derivatives, ours and others', on problems with known derivatives: accuracy, coverage, evaluations, time.

The yardstick of a case is its best fixed step: the two-sided difference at the step, out of a fine grid of all sizes, whose
error is least. The error at a step is the root mean square over 16 steps within 20 % of it, so that no step is best by one
lucky rounding.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import wellposed as wp

F64, F32 = np.float64, np.float32


@dataclass(frozen=True)
class Case:
    """f at x in one dtype; `truth` is f'(x) for the x of that dtype. `f` takes numbers and arrays."""

    family: str
    name: str
    f: Callable[[Any], Any]
    x: Any
    truth: float
    domain: tuple[float, float] = (-np.inf, np.inf)


# Functions of ordinary size and their derivatives; every x in [-2, 2] is in their domain.
SHAPES = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda t: 1 / np.cosh(t) ** 2),
    "softplus": (lambda t: np.log1p(np.exp(t)), lambda t: 1 / (1 + np.exp(-t))),
    "cubic": (lambda t: t * t * t - t, lambda t: 3 * t * t - 1),
    "runge": (lambda t: 1 / (1 + 25 * t * t), lambda t: -50 * t / (1 + 25 * t * t) ** 2),
    "bump": (lambda t: t * t * np.exp(-t * t), lambda t: (2 * t - 2 * t**3) * np.exp(-t * t)),
    "pole": (lambda t: 1 / (t + 3), lambda t: -1 / (t + 3) ** 2),
    "root": (lambda t: np.sqrt(t * t + 1), lambda t: t / np.sqrt(t * t + 1)),
    "atan": (lambda t: np.arctan(5 * t), lambda t: 5 / (1 + 25 * t * t)),
}


def grid(dtype: Any, seed: int = 0) -> Iterator[Case]:
    """Scales of x and f from 1e-12 to 1e12, cancellation, oscillation, kinks and steps beside x, noise."""
    draw = np.random.default_rng(seed)
    eps = float(np.finfo(dtype).eps)

    def case(family: str, name: str, f: Callable[[Any], Any], x: float, slope: Callable[[Any], Any]) -> Case:
        there = dtype(x)
        return Case(family, name, f, there, float(slope(np.longdouble(there))))

    reach = 12 if dtype is F64 else 6
    for name, (g, dg) in SHAPES.items():
        for _ in range(20):
            t = draw.uniform(-2, 2)
            a, b = (dtype(10.0 ** draw.uniform(-reach, reach)) for _ in range(2))
            yield case(
                "scales",
                name,
                lambda x, g=g, a=a, b=b: b * g(x / a),
                t * float(a),
                lambda x, dg=dg, a=a, b=b: b * (dg(x / a) / a),
            )
            c = dtype(10.0 ** draw.uniform(0, -0.5 * np.log10(eps)))
            if draw.integers(2):
                yield case("cancellation", name, lambda x, g=g, c=c: c + g(x), t, dg)
            else:
                yield case("cancellation", name, lambda x, g=g, c=c: (c + g(x)) - c, t, dg)
            w = dtype(10.0 ** draw.uniform(0, 3))
            yield case(
                "oscillation",
                name,
                lambda x, g=g, w=w: g(np.sin(w * x)),
                t,
                lambda x, dg=dg, w=w: dg(np.sin(w * x)) * w * np.cos(w * x),
            )
            edge = dtype(t + draw.choice([-1, 1]) * 10.0 ** draw.uniform(np.log10(eps) / 2, 0))
            yield case(
                "kink beside x",
                name,
                lambda x, g=g, e=edge: g(x) + np.abs(x - e),
                t,
                lambda x, dg=dg, e=edge: dg(x) + np.sign(x - e),
            )
            yield case("step beside x", name, lambda x, g=g, e=edge: g(x) + (x > e), t, dg)
            sigma = 10.0 ** draw.uniform(np.log10(eps), -2)

            def noisy(x: Any, g: Any = g, sigma: float = sigma) -> Any:
                return (g(x) * (1 + sigma * draw.standard_normal(np.shape(x)))).astype(np.asarray(x).dtype)

            yield case("noise", name, noisy, t, dg)


def published(dtype: Any, seed: int = 0) -> Iterator[Case]:
    """The problems of the package `numericalderivative`, at its own points and at nine more each."""
    from numericalderivative import build_benchmark

    draw = np.random.default_rng(seed)
    for problem in build_benchmark():
        f, slope = problem.get_function(), problem.get_first_derivative()
        low, high = problem.get_interval()
        for x in [problem.get_x(), *draw.uniform(low, high, 9)]:
            x = dtype(x)
            with np.errstate(all="ignore"):
                truth = float(slope(np.float64(x)))
            if np.isfinite(truth):
                yield Case(
                    "published", problem.get_name(), np.vectorize(_or_nan(f), otypes=[dtype]), x, truth, (low, high)
                )


def _or_nan(f: Callable[[float], Any]) -> Callable[[Any], float]:
    """Beyond their domain some of these raise, some return complex numbers."""

    def guarded(x: Any) -> float:
        try:
            value = f(float(x))
        except (ArithmeticError, ValueError):
            return np.nan
        return np.nan if isinstance(value, complex) else float(value)

    return guarded


def best_fixed_step(case: Case) -> float:
    """The least error of a two-sided difference over steps of all sizes (see the top of the file)."""
    dtype = case.x.dtype.type
    size = abs(float(case.x)) or 1.0
    steps = size * 2.0 ** np.arange(-50 if dtype is F64 else -22, 14, 0.5)
    jitter = np.random.default_rng(1).uniform(0.8, 1.25, 16)
    h = (steps[:, None] * jitter).ravel()
    above, below = dtype(case.x + h.astype(dtype)), dtype(case.x - h.astype(dtype))
    with np.errstate(all="ignore"):
        made = above.astype(float) - below.astype(float)
        slope = (case.f(above).astype(float) - case.f(below).astype(float)) / made
        slope[(below < case.domain[0]) | (above > case.domain[1])] = np.nan
        errors = np.sqrt(np.mean((slope.reshape(-1, 16) - case.truth) ** 2, axis=1))
    errors = errors[np.isfinite(errors)]
    # The truth itself is a float64.
    return max(float(errors.min(initial=np.inf)), 2.0**-52 * abs(case.truth))


@dataclass
class Answer:
    value: float
    bar: float
    evaluations: int
    seconds: float


def measured(method: Callable[[Case, Callable[[Any], Any]], tuple[float, float]], case: Case) -> Answer:
    calls = 0

    def counted(x: Any) -> Any:
        nonlocal calls
        calls += np.size(x)
        return case.f(x)

    started = time.perf_counter()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value, bar = method(case, counted)
        except Exception:  # a peer that raises has no answer
            value, bar = np.nan, np.inf
    return Answer(float(value), float(bar), calls, time.perf_counter() - started)


def ours(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    estimate = wp.derivative(f, case.x, bounds=None if np.isinf(case.domain[0]) else case.domain)
    return estimate.value, estimate.error


def _numdifftools(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    import numdifftools

    value, error, *_ = numdifftools.Derivative(f, full_output=True)(case.x)
    return float(np.squeeze(value)), float(np.squeeze(error))


def _scipy(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    from scipy.differentiate import derivative

    found = derivative(f, case.x, initial_step=0.5 * (abs(float(case.x)) or 1.0))
    return float(found.df), float(found.error)


def _jacobi(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    from jacobi import jacobi

    value, error = jacobi(f, case.x)
    return float(value), float(error)


def _gill(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    from numericalderivative import GillMurraySaundersWright

    algorithm = GillMurraySaundersWright(f, float(case.x), absolute_precision=_precision(case, f))
    step, _ = algorithm.find_step(kmin=1e-12 * _size(case), kmax=1e4 * _size(case))
    return float(algorithm.compute_first_derivative(step)), np.nan


def _shi(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    from numericalderivative import GeneralFiniteDifference, ShiXieXuanNocedalGeneral

    formula = GeneralFiniteDifference(f, float(case.x), 1, 2, "central")
    algorithm = ShiXieXuanNocedalGeneral(formula, absolute_precision=_precision(case, f))
    step, _ = algorithm.find_step()
    return float(algorithm.compute_derivative(step)), np.nan


def _stepleman(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    from numericalderivative import SteplemanWinarsky

    algorithm = SteplemanWinarsky(f, float(case.x))
    step, _ = algorithm.find_step(0.1 * _size(case))
    return float(algorithm.compute_first_derivative(step)), np.nan


def _dumontet(case: Case, f: Callable[[Any], Any]) -> tuple[float, float]:
    from numericalderivative import DumontetVignes

    precision = _precision(case, f)
    algorithm = DumontetVignes(
        f, float(case.x), absolute_precision=precision, number_of_digits=24 if case.x.dtype == F32 else 53
    )
    step, _ = algorithm.find_step(kmin=1e-12 * _size(case), kmax=_size(case))
    return float(algorithm.compute_first_derivative(step)), np.nan


def _size(case: Case) -> float:
    return abs(float(case.x)) or 1.0


def _precision(case: Case, f: Callable[[Any], Any]) -> float:
    """What these algorithms ask their user for: the rounding of f. One evaluation."""
    return float(np.finfo(case.x.dtype).eps) * (abs(float(f(case.x))) or 1.0)


METHODS = {
    "wellposed": ours,
    "numdifftools": _numdifftools,
    "scipy.differentiate": _scipy,
    "jacobi": _jacobi,
    "Gill, Murray, Saunders, Wright (one-sided)": _gill,
    "Shi, Xie, Xuan, Nocedal (central)": _shi,
    "Stepleman, Winarsky (central)": _stepleman,
    "Dumontet, Vignes (central)": _dumontet,
}


def main() -> None:
    from importlib.metadata import version

    packages = ("wellposed", "numpy", "scipy", "numdifftools", "jacobi", "numericalderivative")
    print(", ".join(f"{name} {version(name)}" for name in packages) + "; CPU.\n")
    for dtype in (F64, F32):
        known = [(case, best_fixed_step(case)) for case in [*published(dtype), *grid(dtype)]]
        print(f"### {dtype.__name__}: {len(known)} cases\n")
        print(
            "| method | no answer | within 3 times the best fixed step | bar covers the truth | evaluations, median | time, median |"
        )
        print("|---|---|---|---|---|---|")
        for name, method in METHODS.items():
            answers = [measured(method, case) for case, _ in known]
            print(_row(name, known, answers), flush=True)
        print(
            "\n| wellposed, by family | cases | within 3 times | covered | evaluations, median |\n|---|---|---|---|---|"
        )
        answers = [measured(ours, case) for case, _ in known]
        for family in dict.fromkeys(case.family for case, _ in known):
            chosen = [(pair, answer) for pair, answer in zip(known, answers, strict=True) if pair[0].family == family]
            _, _, close, covered, evaluations, _ = _cells(*zip(*chosen, strict=True))
            print(f"| {family} | {len(chosen)} | {close} | {covered} | {evaluations} |")
        print()


def _cells(known: Any, answers: Any) -> tuple[str, str, str, str, str, str]:
    errors = np.array([abs(answer.value - case.truth) for (case, _), answer in zip(known, answers, strict=True)])
    bests, bars = np.array([best for _, best in known]), np.array([answer.bar for answer in answers])
    answered = np.isfinite(errors) & ~np.isinf(bars)
    close = np.mean(errors[answered] <= 3 * bests[answered]) if answered.any() else np.nan
    has_bar = answered & np.isfinite(bars)
    covered = f"{100 * np.mean(errors[has_bar] <= bars[has_bar]):.1f} %" if has_bar.any() else "gives none"
    evaluations = np.median([answer.evaluations for answer in answers])
    seconds = np.median([answer.seconds for answer in answers])
    return (
        "",
        f"{100 * np.mean(~answered):.1f} %",
        f"{100 * close:.1f} %",
        covered,
        f"{evaluations:.0f}",
        f"{1e6 * seconds:.0f} us",
    )


def _row(name: str, known: Any, answers: Any) -> str:
    return f"| {name} | {' | '.join(_cells(known, answers)[1:])} |"


if __name__ == "__main__":
    main()
