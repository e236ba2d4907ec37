"""Subtract the mean, divide by the standard deviation: with the training set's numbers, for every set."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np

from wellposed.errors import InputError
from wellposed.inputs.features import as_array, features_of
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.moments import Moments

_FORMAT = "wellposed.Standardizer"


class Standardizer:
    """Each feature with mean 0 and standard deviation 1, by the statistics of the data it was fitted on.

    `axis` counts the features (None: see `fit`), `ddof` is subtracted from the count in the variance.
    After `fit`: `mean_`, `var_`, `scale_` (shape [D], float64) and `n_samples_seen_`. A constant feature
    (smallest equal to largest: no threshold) has scale 1 and becomes 0. NaN is skipped in `fit` and
    stays NaN in `transform`; infinity is refused by name.
    """

    mean_: Vector
    var_: Vector
    scale_: Vector
    n_samples_seen_: int

    def __init__(self, axis: int | None = None, ddof: int = 0) -> None:
        self.axis, self.ddof = axis, ddof

    def fit(self, x: Any, y: Any = None) -> Self:
        """Learn the statistics of x, an array or table of shape [N, ..., D] (or with `axis` elsewhere).

        Raises `InputError` for empty data, text, infinity, one row with ddof=1, and a feature without
        any number.
        """
        features = features_of(x, self.axis)
        moments = Moments.of(features.rows)
        if moments.inf_count.any():
            j = int(np.argmax(moments.inf_count > 0))
            raise InputError(
                f"{features.where(j)} contains infinity ({int(moments.inf_count[j])} times)",
                hint="a mean over infinity is infinite; clip or drop these rows",
            )
        if (moments.count == 0).any():
            raise InputError(f"{features.where(int(np.argmin(moments.count)))} holds nothing but NaN", hint="drop the feature")
        if (moments.count <= self.ddof).any():
            raise InputError(
                f"{features.where(int(np.argmin(moments.count)))} has {int(moments.count.min())} value, too few for ddof={self.ddof}"
            )
        variance = np.where(moments.constant, 0.0, moments.variance(self.ddof))
        if not np.isfinite(variance).all():
            j = int(np.argmax(~np.isfinite(variance)))
            raise InputError(f"the variance of {features.where(j)} is beyond float64", hint="divide the feature by a constant first")
        self.mean_, self.var_ = moments.mean, variance
        self.scale_ = np.where(variance > 0, np.sqrt(variance), 1.0)
        self.n_samples_seen_ = features.rows.shape[0]
        return self

    def transform(self, x: Any) -> Array:
        """(x - mean_) / scale_ in x's own floating dtype (float64 for integers), shape as x. x is not changed."""
        return self._applied(x, forward=True)

    def inverse_transform(self, x: Any) -> Array:
        """x * scale_ + mean_, in x's own floating dtype."""
        return self._applied(x, forward=False)

    def fit_transform(self, x: Any, y: Any = None) -> Array:
        return self.fit(x).transform(x)

    def save(self, path: str | os.PathLike[str]) -> None:
        """JSON, whole or not at all: a failed save leaves an older file as it was."""
        self._fitted()
        target = Path(path)
        state = {
            "format": _FORMAT, "version": 1, "axis": self.axis, "ddof": self.ddof, "count": self.n_samples_seen_,
            "mean": self.mean_.tolist(), "var": self.var_.tolist(), "scale": self.scale_.tolist(),
        }  # fmt: skip
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
        try:
            with os.fdopen(handle, "w") as part:
                json.dump(state, part)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """A saved Standardizer; nothing in the file is executed. Raises `InputError` for any other file."""
        try:
            state = json.loads(Path(path).read_text())
            if state["format"] != _FORMAT or state["version"] != 1:
                raise KeyError("format")
            loaded = cls(axis=state["axis"], ddof=state["ddof"])
            loaded.mean_, loaded.var_, loaded.scale_ = (np.array(state[key], dtype=np.float64) for key in ("mean", "var", "scale"))
            loaded.n_samples_seen_ = int(state["count"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a file that Standardizer.save wrote") from error
        return loaded

    def _fitted(self) -> None:
        if not hasattr(self, "mean_"):
            raise InputError("this Standardizer has not been fitted", hint="Standardizer().fit(x_train)")

    def _applied(self, x: Any, *, forward: bool) -> Array:
        self._fitted()
        array = as_array(x)
        axis = features_of(array, self.axis).axis
        features = 1 if array.ndim == 1 else array.shape[axis]
        if features != self.mean_.size:
            raise InputError(
                f"the data has {features} features along axis {axis}, but the statistics are of {self.mean_.size}",
                hint="were they fitted on another set of columns?",
            )
        shape = [1] * array.ndim
        shape[axis] = features
        if array.ndim == 1:
            shape = [1]
        mean, scale = self.mean_.reshape(shape), self.scale_.reshape(shape)
        # In float64 throughout: a mean rounded to float32 is off by half its last digit.
        wide = array.astype(np.float64)
        result = (wide - mean) / scale if forward else wide * scale + mean
        return result.astype(array.dtype if array.dtype.kind == "f" else np.float64)
