"""The singular values of a network's input-output Jacobian, example by example, from products with it alone.

Where the smaller of the two sides is small the Jacobian is built, and everything is exact. Else Golub-Kahan-Lanczos
bidiagonalisation with full reorthogonalisation gives the largest singular value with a bound on its error, and, by
Gauss quadrature (Golub & Meurant 1994; Ubaru, Chen & Saad 2017), the moments of all of them with a standard error over
examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.backends.measured import InputMap
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector

_DENSE, _STEPS, _DRAWS = 512, 40, 16
_SETTLED = 0.3


@dataclass(frozen=True)
class Spectrum:
    """Singular values s of the Jacobian d output / d input (shape [out, in]) at examples of the batch.

    `largest` and `smallest` over the examples measured (`smallest` is NaN where it cannot be known from products),
    `largest_error` a bound on what the largest may be off by. `mean_square`: the mean of s^2 over the min(in, out)
    singular values; `log_variance`: the variance of ln s over them (infinite where one is 0, NaN where products do not
    resolve the small ones); both with the standard error over examples. `nonlinearity`: the coefficient of Philipp &
    Carbonell 2018 (arXiv 1712.05577), sqrt(E tr(J Cov(x) J^T) / tr Cov(f)): 1 for a linear map, about 1 to 5 in
    networks that train well; NaN for one row. `values`: the singular values themselves, [examples, min(in, out)], where
    they are all known.
    """

    largest: float
    largest_error: float
    smallest: float
    mean_square: float
    mean_square_error: float
    log_variance: float
    log_variance_error: float
    nonlinearity: float
    inputs: int
    outputs: int
    examples: int
    values: Vector | None = None

    def __str__(self) -> str:
        smallest = f"{self.smallest:.4g}" if np.isfinite(self.smallest) else "not known"
        return (
            f"Jacobian {self.outputs} x {self.inputs} at {self.examples} examples: largest singular value"
            f" {self.largest:.4g} (± {self.largest_error:.1g}), smallest {smallest}; mean square {self.mean_square:.4g}"
            f" (± {self.mean_square_error:.1g}), variance of the logarithm {self.log_variance:.4g} (±"
            f" {self.log_variance_error:.1g}); nonlinearity coefficient {self.nonlinearity:.3g}"
        )


def spectrum_of(network: InputMap, examples: int = 4) -> Spectrum:
    """The spectrum at the first `examples` rows of the batch."""
    if not isinstance(examples, int) or examples < 1:
        raise InputError(f"examples must be a whole number from 1 on, not {examples!r}")
    if not np.isfinite(network.outputs).all():
        raise InputError(
            "the outputs are NaN or infinite at this batch, so there is no Jacobian",
            hint="wp.check_signals names the operation",
        )
    rows = min(examples, network.inputs.shape[0])
    size_in, size_out = network.inputs.shape[1], network.outputs.shape[1]
    random = np.random.default_rng(0)
    if min(size_in, size_out) <= _DENSE:
        jacobians = [_jacobian(network, row) for row in range(rows)]
        if not np.isfinite(jacobians).all():
            raise InputError(
                "the Jacobian is NaN or infinite at this batch", hint="wp.check_signals names the operation"
            )
        values = np.stack([np.linalg.svd(jacobian, compute_uv=False) for jacobian in jacobians])
        squares = np.mean(values**2, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.var(np.log(values), axis=1)
        spread = np.where(values.min(axis=1) > 0, spread, np.inf)
        error, smallest, all_values = 0.0, float(values.min()), values
        largest = float(values.max())
    else:
        found = [_bidiagonalised(network, row, random) for row in range(rows)]
        largest, error = max((top, bound) for top, bound, *_ in found)
        squares, spread = np.array([square for *_, square, _ in found]), np.array([variance for *_, variance in found])
        smallest, all_values = float("nan"), None
    return Spectrum(
        largest, error, smallest, float(squares.mean()), _standard_error(squares), float(spread.mean()),
        _standard_error(spread), _nonlinearity(network, random), size_in, size_out, rows, all_values,
    )  # fmt: skip


def _standard_error(values: Vector) -> float:
    if len(values) < 2 or not np.isfinite(values).all():
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _jacobian(network: InputMap, row: int) -> Vector:
    """[out, in] of one row, by the products that are fewer."""
    size_in, size_out = network.inputs.shape[1], network.outputs.shape[1]
    if size_out <= size_in:
        return np.stack([network.vjp(row, unit) for unit in np.eye(size_out)])
    return np.stack([network.jvp(row, unit) for unit in np.eye(size_in)], axis=1)


def _bidiagonalised(network: InputMap, row: int, random: np.random.Generator) -> tuple[float, float, float, float]:
    """(largest, bound on its error, mean square, variance of the logarithm) from one start on the smaller side."""
    size_in, size_out = network.inputs.shape[1], network.outputs.shape[1]
    there, back = (network.jvp, network.vjp) if size_in <= size_out else (network.vjp, network.jvp)
    v = random.standard_normal(min(size_in, size_out))
    v /= np.linalg.norm(v)
    right: list[Vector] = []
    left: list[Vector] = []
    alphas: list[float] = []
    betas: list[float] = []
    while len(alphas) < _STEPS:
        right.append(v)
        u = there(row, v)
        u = _orthogonal(u, left)
        alphas.append(float(np.linalg.norm(u)))
        if alphas[-1] == 0:
            break
        left.append(u / alphas[-1])
        v = _orthogonal(back(row, left[-1]), right)
        betas.append(float(np.linalg.norm(v)))
        if betas[-1] <= 1e-14 * max(alphas):
            break
        v = v / betas[-1]
    steps = len(alphas)
    bidiagonal = np.diag(alphas) + np.diag(betas[: steps - 1], 1)
    p, s, qt = np.linalg.svd(bidiagonal)
    bound = float(betas[-1] * abs(p[-1, 0])) if len(betas) == steps else 0.0
    # In fewer steps the small end is seen less well: where that matters it is not known from these either.
    half, whole = (_log_variance(bidiagonal[:m, :m]) for m in (max(steps // 2, 1), steps))
    spread = whole if abs(whole - half) <= _SETTLED * whole or not np.isfinite(whole) else float("nan")
    return float(s[0]), max(bound, float(np.finfo(float).eps * s[0])), float(qt[:, 0] ** 2 @ s**2), spread


def _log_variance(bidiagonal: Vector) -> float:
    """The variance of ln s by Gauss quadrature; infinite where a singular value is 0 in rounding."""
    _, s, qt = np.linalg.svd(bidiagonal)
    if s[-1] <= 1e-12 * s[0]:
        return float("inf")
    weights, logs = qt[:, 0] ** 2, np.log(s)
    return float(weights @ (logs - weights @ logs) ** 2)


def _orthogonal(vector: Vector, basis: list[Vector]) -> Vector:
    for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
        for direction in basis:
            vector = vector - (direction @ vector) * direction
    return vector


def _nonlinearity(network: InputMap, random: np.random.Generator) -> float:
    """E tr(J Cov(x) J^T) by Hutchinson: for a random u, E <J^T u, x - mean>^2 over examples at which J is taken and
    x.
    """
    x, f = network.inputs, network.outputs
    if x.shape[0] < 2:
        return float("nan")
    apart = x - x.mean(axis=0)
    total, rows = 0.0, min(x.shape[0], 8)
    for row in range(rows):
        for _ in range(max(_DRAWS // rows, 1)):
            pulled = network.vjp(row, random.standard_normal(f.shape[1:]))
            total += float(np.mean((apart @ pulled) ** 2))
    spread = float(((f - f.mean(axis=0)) ** 2).sum(axis=1).mean())
    if not spread > 0:
        return float("nan")
    return float(np.sqrt(total / (rows * max(_DRAWS // rows, 1)) / spread))
