"""Decorrelated features: covariances that merge, and the rotation that undoes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector


@dataclass(frozen=True)
class Covariance:
    """Of D features over rows without NaN or infinity: the count, a mean [D] and the products of deviations [D, D]."""

    count: float
    mean: Vector
    products: Vector

    @staticmethod
    def of(rows: Array, weights: Vector | None = None) -> Covariance:
        """Of rows [N, D] with weights [N], about a shift near their mean (the corrected two-pass algorithm, as for
        variances).
        """
        with np.errstate(all="ignore"):
            found = Covariance._of(rows.astype(np.float64), weights)
        if not np.isfinite(found.products).all():
            largest = float(np.nanmax(np.abs(np.where(np.isfinite(rows), rows, np.nan).astype(np.float64))))
            raise InputError(
                f"features as large as {largest:.3g} cannot be decorrelated: their squares overflow",
                hint="divide them by their size first",
            )
        return found

    @staticmethod
    def _of(values: Vector, weights: Vector | None) -> Covariance:
        d = values.shape[1]
        share = np.ones(len(values)) if weights is None else weights
        keep = np.isfinite(values).all(axis=1) & (share > 0)
        values, share = values[keep], share[keep]
        if not len(values):
            return Covariance(0.0, np.zeros(d), np.zeros((d, d)))
        count = float(share.sum())
        mean = values[0] + share @ (values - values[0]) / count
        centred = values - mean
        rest = share @ centred / count
        return Covariance(count, mean + rest, (share[:, None] * centred).T @ centred - count * np.outer(rest, rest))

    def __add__(self, other: Covariance) -> Covariance:
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        delta = other.mean - self.mean
        between = np.outer(delta, delta) * (self.count * other.count / count)
        return Covariance(count, self.mean + delta * (other.count / count), self.products + other.products + between)

    @staticmethod
    def merged(parts: Iterable[Covariance]) -> Covariance:
        total: Covariance | None = None
        for part in parts:
            total = part if total is None else total + part
        if total is None or not total.count:
            raise InputError("no row is free of NaN: whitening needs whole rows", hint="impute first")
        return total


def rotation(covariance: Covariance, scale: Vector, kind: str) -> tuple[Vector, Vector]:
    """W and its inverse, both [D, D]: (x - mean) / scale @ W has the identity for its covariance.

    By the eigenvectors of the correlation matrix, so that no unit of a feature matters: "zca" stays as near to the
    features as it can (ZCA-cor), "pca" sorts the directions by their variance (PCA-cor; Kessy, Lewin, Strimmer 2018). A
    direction in which the correlation is zero up to rounding becomes 0, and its inverse too.
    """
    with np.errstate(all="ignore"):
        correlation = covariance.products / covariance.count / np.outer(scale, scale)
    if not np.isfinite(correlation).all():
        raise InputError(
            f"features that vary by as little as {scale.min():.3g} cannot be decorrelated: their squares vanish",
            hint="divide them by their size first",
        )
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))] < 0, -1.0, 1.0)
    alive = values > len(values) * np.finfo(float).eps * max(values[0], 0.0)
    root = np.sqrt(np.where(alive, values, 1.0))
    there, back = vectors * np.where(alive, 1 / root, 0.0), (vectors * np.where(alive, root, 0.0)).T
    return (there @ vectors.T, vectors @ back) if kind == "zca" else (there, back)
