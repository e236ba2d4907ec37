"""Subtract the mean, divide by the standard deviation: with the training set's numbers, for every set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from wellposed.backends.select import jax_normalising, torch_normalising
from wellposed.errors import InputError
from wellposed.inputs import engines, saved
from wellposed.inputs.early import Errors, Sample, in_random_order
from wellposed.inputs.estimator import Estimator, column_names, plain_only
from wellposed.inputs.features import Features, feature_axes, features_of
from wellposed.inputs.fit import ONE_DIMENSION, alike, finite_only, state_of, state_of_chunk
from wellposed.inputs.quantiles import quantiles
from wellposed.inputs.rotation import rotated
from wellposed.inputs.sources import Chunk, Source, source_of
from wellposed.inputs.state import State, merge
from wellposed.inputs.whitening import Covariance, rotation
from wellposed.numerics.affine import restore, standardize
from wellposed.numerics.arrays import Array, Vector, rebuild_like
from wellposed.numerics.moments import Moments, weights_of

_NORMAL_IQR = 1.3489795003921634  # interquartile range of a normal distribution of standard deviation 1
_LOOK = 100  # rows of a stream between two looks at how well it is known
_QUARTILES = (0.25, 0.5, 0.75)


class Standardizer(Estimator):
    """Each feature with mean 0 and standard deviation 1, by the statistics of the data it was fitted on; scikit-learn's
    contract.

    `axis` counts the features (several: one per combination; None: see `fit`), `ddof` is subtracted from the count in
    the variance. `whiten` "zca" or "pca" makes the features uncorrelated too; `robust` takes the median and the
    interquartile range (over 1.349, what a normal distribution has) instead. `early_stop=0.01` stops reading when the
    standard errors of mean and standard deviation are below 1 % of the standard deviation; `random_state` decides which
    rows it draws. `reproducible` sums without rounding: the same bits in whatever order rows come. `infinite` says what
    infinity in `fit` means: "refuse", or "skip" as NaN.

    After `fit`: `mean_`, `var_`, `scale_` (shape [D], float64), `n_samples_seen_` (entries of axis 0), `state_`
    (moments and a fingerprint of the rows). A constant feature (smallest equal to largest: no threshold) has scale 1
    and becomes 0. NaN is skipped in `fit` and stays NaN in `transform`.
    """

    mean_: Vector
    var_: Vector
    scale_: Vector
    n_samples_seen_: int
    state_: State
    errors_: Errors | None
    rotation_: tuple[Vector, Vector] | None
    quartiles_: Vector | None

    def __init__(
        self,
        axis: int | tuple[int, ...] | None = None,
        ddof: float = 0,
        whiten: str | None = None,
        robust: bool = False,
        early_stop: float | None = None,
        reproducible: bool = False,
        infinite: str = "refuse",
        random_state: int = 0,
    ) -> None:
        self.axis, self.ddof, self.whiten, self.robust = axis, ddof, whiten, robust
        self.early_stop, self.reproducible, self.infinite, self.random_state = (
            early_stop,
            reproducible,
            infinite,
            random_state,
        )

    def fit(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, columns: Sequence[str] = (), key: Any = None
    ) -> Self:
        """Learn the statistics of x: an array of any library [N, ..., D] (or with `axis` elsewhere; images [N, C, H, W]
        by channel); a table; an iterable of batches, of which the first item or `key` counts; a path, a pattern or a
        list of paths; data on Dask, Spark or Ray.

        Raises `InputError` for empty data, text, infinity, one row with ddof=1, a feature without any number, batches
        that do not fit together, files that cannot be read. What was fitted before is then still there.
        """
        self._sensible()
        errors: Errors | None = None
        many = self.whiten is not None or self.robust or self.early_stop is not None
        if many and engines.engine_of(x) is not None:
            raise InputError(
                "whiten, robust and early_stop read data on this machine, not on an engine",
                hint="fit on a sample of it",
            )
        if sample_weight is not None:
            sample_weight = weights_of(sample_weight)
            if self.early_stop is not None:
                raise InputError("early_stop reads a sample of the rows, and knows no weights of them")
        if self.early_stop is not None:
            state, errors = self._until_known(source_of(x, columns, key), self.early_stop)
        else:
            state = state_of(
                x,
                self.axis,
                columns=columns,
                key=key,
                weights=sample_weight,
                reproducible=self.reproducible,
                refuse_infinite=self.infinite == "refuse",
            )
        values = self._values(state)
        extra: dict[str, Any] = {"rotation_": None, "quartiles_": None}
        if self.whiten or self.robust:
            extra |= self._read_again(source_of(x, columns, key), values, sample_weight)
        return self._learned(state, values, errors, extra)

    @plain_only
    def partial_fit(self, x: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from one more batch, an array or table; a batch that is refused changes nothing. What is not known yet
        is NaN: a feature of which no number was seen, a variance with ddof=1 of one row."""
        self._sensible()
        nothing = {"rotation_": None, "quartiles_": None}
        if not self.__sklearn_is_fitted__():
            state = state_of(x, self.axis, weights=sample_weight, reproducible=self.reproducible)
            return self._learned(*self._with_values(state, more=True), None, nothing)
        self._match_names(x)
        self._features(x)
        state = self.state_ + state_of(x, self.axis, weights=sample_weight, reproducible=self.reproducible)
        return self._learned(*self._with_values(state, more=True), None, nothing)

    def fit_transform(self, x: Any, y: Any = None, **fit_params: Any) -> Any:
        return self.fit(x, y, **fit_params).transform(x)

    def transform(self, x: Any, out: Array | None = None) -> Any:
        """(x - mean_) / scale_ in x's own floating dtype (float64 for integers), shape as x; a tensor, or an array of
        JAX, comes back as one. x is not changed, unless it is `out`.
        """
        return self._applied(x, out, forward=True)

    def inverse_transform(self, x: Any, out: Array | None = None) -> Any:
        """x * scale_ + mean_, in x's own floating dtype."""
        return self._applied(x, out, forward=False)

    def all_gather(self, group: Any = None) -> Self:
        """Inside torch.distributed, after each rank has fitted its own rows: the statistics of all of them, the same on
        every rank.
        """
        self._require_fitted()
        if self.whiten or self.robust:
            raise InputError("whiten and robust are not gathered over ranks", hint="fit them on one rank and save")
        return self._learned(*self._with_values(self._gathered(group)), None, {"rotation_": None, "quartiles_": None})

    def as_module(self, dtype: Any = None) -> Any:
        """A `torch.nn.Module` that does what `transform` does, in the dtype of its inputs; it moves, saves, exports and
        compiles.

        `dtype` is that of its buffers, torch's default where it is None. Raises `InputError` where the statistics do
        not fit into it.
        """
        self._require_fitted()
        rotation = None if self.rotation_ is None else self.rotation_[0]
        return torch_normalising().Standardize(self._mean_parts(), self.scale_, rotation, self._axes_of, dtype)

    def as_jax(self) -> Any:
        """A function of JAX arrays that does what `transform` does."""
        self._require_fitted()
        rotation = None if self.rotation_ is None else self.rotation_[0]
        return jax_normalising().standardize(self._mean_parts(), self.scale_, rotation, self._axes_of)

    def to_onnx(self, path: str | os.PathLike[str], shape: tuple[int, ...]) -> None:
        """`as_module` as an ONNX file, for inputs of that shape; where its first entry is above 1, for any number of
        rows.
        """
        torch_normalising().written_as_onnx(self.as_module(), path, shape)

    def fold_into(self, layer: Any, digits: float = 1.0) -> Any:
        """A copy of a torch Linear or Conv layer that takes raw inputs in place of standardized ones.

        Raises `InputError`, with the number, where that costs more than `digits` decimal digits (a mean of many
        standard deviations), or where the layer pads with zeros.
        """
        self._require_fitted()
        if self.rotation_ is not None:
            raise InputError("a rotation is not folded", hint="keep standardizer.as_module() before the layer")
        return torch_normalising().fold(layer, self._mean_parts()[0], self.scale_, digits)

    def confidence_interval(self, level: float = 0.95) -> dict[str, Vector]:
        """{"mean": [2, D], "std": [2, D]}: lower and upper bounds, after a fit with `early_stop`."""
        self._require_fitted()
        if self.errors_ is None:
            raise InputError("this Standardizer was not fitted with early_stop", hint="Standardizer(early_stop=0.01)")
        from scipy.stats import norm

        width = float(norm.ppf((1 + level) / 2))
        pairs = (("mean", self.mean_, self.errors_.mean), ("std", np.sqrt(self.var_), self.errors_.std))
        return {name: np.stack([value - width * error, value + width * error]) for name, value, error in pairs}

    def save(self, path: str | os.PathLike[str]) -> None:
        """JSON, whole or not at all: a failed save leaves an older file as it was."""
        self._require_fitted()
        arrays = {"mean": self.mean_, "var": self.var_, "scale": self.scale_}
        if self.quartiles_ is not None:
            arrays["quartiles"] = self.quartiles_
        if self.errors_ is not None:
            arrays |= {"mean_error": self.errors_.mean, "std_error": self.errors_.std}
        if self.rotation_ is not None:
            arrays |= {"rotation": self.rotation_[0], "rotation_back": self.rotation_[1]}
        names = [] if self._known_names is None else list(map(str, self._known_names))
        saved.write(path, self.get_params(), arrays, self.state_.to_dict(), names, self.n_samples_seen_)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """A saved Standardizer; nothing in the file is executed. Raises `InputError` for any other file."""
        params, arrays, state, names, seen = saved.read(path)
        try:
            loaded = cls(**params)
        except TypeError as error:
            raise InputError(f"{path} is not a file that Standardizer.save wrote") from error
        loaded.mean_, loaded.var_, loaded.scale_ = arrays["mean"], arrays["var"], arrays["scale"]
        loaded.quartiles_ = arrays.get("quartiles")
        loaded.rotation_ = (arrays["rotation"], arrays["rotation_back"]) if "rotation" in arrays else None
        loaded.errors_ = Errors(arrays["mean_error"], arrays["std_error"]) if "mean_error" in arrays else None
        loaded.state_, loaded.n_samples_seen_ = State.from_dict(state), seen
        loaded.n_features_in_ = loaded.mean_.size
        loaded._remember_names(tuple(names))
        return loaded

    def _sensible(self) -> None:
        if self.whiten not in (None, "zca", "pca"):
            raise InputError(f"whiten={self.whiten!r} is unknown", hint='None, "zca" or "pca"')
        if self.infinite not in ("refuse", "skip"):
            raise InputError(f"infinite={self.infinite!r} is unknown", hint='"refuse" or "skip"')
        if not isinstance(self.ddof, int | float | np.number):
            raise InputError(f"ddof={self.ddof!r} is no number")
        if self.early_stop is not None and not (
            isinstance(self.early_stop, int | float | np.number) and 0 < self.early_stop < 1
        ):
            raise InputError(
                f"early_stop={self.early_stop!r} is not a fraction of the standard deviation", hint="early_stop=0.01"
            )
        if self.whiten and self.robust:
            raise InputError("whiten and robust exclude each other", hint="whitening needs the covariance")

    def _with_values(self, state: State, *, more: bool = False) -> tuple[State, tuple[Vector, Vector]]:
        return state, self._values(state, more=more)

    def _values(self, state: State, *, more: bool = False) -> tuple[Vector, Vector]:
        """Variance and standard deviation; raises `InputError` where there are none, unless `more` batches may come:
        NaN until then.
        """
        moments: Moments = state.moments
        if self.infinite == "refuse":
            finite_only(state)
        if more:
            return moments.variance(self.ddof), moments.deviation(self.ddof)
        if (moments.count == 0).any():
            raise InputError(
                f"{state.where(int(np.argmin(moments.count)))} holds nothing but NaN", hint="drop the feature"
            )
        if (moments.count <= self.ddof).any():
            j = int(np.argmin(moments.count))
            number = int(moments.count[j])
            raise InputError(
                f"{state.where(j)} has {number} value{'' if number == 1 else 's'}, too few for ddof={self.ddof}"
            )
        return moments.variance(self.ddof), moments.deviation(self.ddof)

    def _learned(
        self, state: State, values: tuple[Vector, Vector], errors: Errors | None, extra: dict[str, Any]
    ) -> Self:
        """All at once, so that a fit that fails changes nothing."""
        variance, deviation = values
        self.state_, self.errors_, self.rotation_, self.quartiles_ = (
            state,
            errors,
            extra["rotation_"],
            extra["quartiles_"],
        )
        self.mean_, self.var_, self.scale_ = state.moments.mean, variance, np.where(deviation == 0, 1.0, deviation)
        if self.quartiles_ is not None:
            spread = (self.quartiles_[2] - self.quartiles_[0]) / _NORMAL_IQR
            # Half of all values may be one number: the standard deviation then has to do.
            self.mean_, self.scale_ = self.quartiles_[1], np.where(spread > 0, spread, self.scale_)
        self.n_samples_seen_ = state.fingerprint.rows
        self.n_features_in_ = len(state.moments)
        self._remember_names(state.names)
        return self

    def _mean_parts(self) -> tuple[Vector, Vector]:
        if self.quartiles_ is not None:
            return self.mean_, np.zeros_like(self.mean_)
        return self.state_.moments.mean_parts

    def _axes_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return feature_axes(shape, self.axis)

    def _gathered(self, group: Any) -> State:
        found = torch_normalising().gather(self.state_.to_dict(), group)
        return merge(map(State.from_dict, found))

    def _until_known(self, source: Source, tolerance: float) -> tuple[State, Errors]:
        sample, total = Sample(), None
        for chunk in self._sampled(source):
            sample.add(chunk.rows, self.axis)
            found = state_of_chunk(chunk, self.axis, reproducible=self.reproducible)
            total = found if total is None else total + found
            if sample.due and sample.errors().within(tolerance, total.moments.std):
                break
        if total is None:
            raise InputError("the data is empty")
        return total, sample.errors()

    def _sampled(self, source: Source) -> Iterator[Chunk]:
        """At random where rows can be had at will; else as they come."""
        at = source.at
        if at is None or source.total is None:
            for chunk in alike(source.chunks(), self.axis):
                for start in range(0, len(chunk.rows), _LOOK):
                    yield chunk._replace(rows=chunk.rows[start : start + _LOOK])
            return
        yield from alike(
            (chunk for indices in in_random_order(source.total, self.random_state) for chunk in at(indices)), self.axis
        )

    def _read_again(self, source: Source, values: tuple[Vector, Vector], weights: Any) -> dict[str, Any]:
        if not source.again:
            raise InputError(
                "whiten and robust read the data more than once",
                hint="give a list, a loader or files instead of a generator",
            )

        def rows() -> Iterator[tuple[Array, Vector | None]]:
            start = 0
            for chunk in source.chunks():
                found = features_of(chunk.rows, self.axis).rows
                own = None if weights is None else weights[start : start + len(chunk.rows)]
                yield found, None if own is None else np.repeat(own, len(found) // len(own))
                start += len(chunk.rows)

        if self.robust:
            return {"rotation_": None, "quartiles_": quantiles(rows, len(values[0]), _QUARTILES)}
        covariance = Covariance.merged(Covariance.of(part, share) for part, share in rows())
        scale = np.where(values[1] > 0, values[1], 1.0)
        return {"rotation_": rotation(covariance, scale, str(self.whiten)), "quartiles_": None}

    def _applied(self, x: Any, out: Array | None, *, forward: bool) -> Any:
        self._require_fitted()
        self._match_names(x)
        features = self._features(x)
        array = features.array
        dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
        if out is None:
            out = np.empty(array.shape, dtype)
        elif (
            not isinstance(out, np.ndarray)
            or out.shape != array.shape
            or out.dtype.kind != "f"
            or not out.flags.writeable
        ):
            kind = (
                f"shape {out.shape}, dtype {out.dtype}{'' if out.flags.writeable else ', read-only'}"
                if isinstance(out, np.ndarray)
                else type(out).__name__
            )
            raise InputError(f"out must be a writable array of shape {array.shape} and dtype {dtype}, not {kind}")
        mean = self._mean_parts()
        if self.rotation_ is None:
            (standardize if forward else restore)(array, features.axes, mean, self.scale_, out)
        else:
            rotated(features, out, mean, self.scale_, self.rotation_[0 if forward else 1], forward=forward)
        return (
            rebuild_like(x)(out)
            if _of_another_library(x) and self._container() == "default"
            else self._contained(out, x)
        )

    def _features(self, x: Any) -> Features:
        names = column_names(x)
        # A table whose columns NumPy does not take as they are is read as fit reads it.
        known = names and hasattr(x, "__array__")
        kinds = {kind.kind if isinstance(kind, np.dtype) else "O" for kind in x.dtypes} if known else {"O"}
        odd = bool(names) and not kinds <= set("fiub")
        data = np.concatenate([chunk.rows for chunk in source_of(x, names).chunks()]) if odd else x
        features = features_of(data, self.axis, "X")
        if not features.axes:
            raise InputError(ONE_DIMENSION)
        if features.size != self.n_features_in_:
            axis = features.axes[0] if features.axes else 0
            raise InputError(
                f"X has {features.size} features, but {type(self).__name__} is expecting {self.n_features_in_} features"
                f" as input (along axis {axis} of shape {features.array.shape})",
                hint="were the statistics fitted on another set of columns?",
            )
        return features


def _of_another_library(x: Any) -> bool:
    """Whether it is an array of a framework, as torch's and JAX's are, and no table."""
    return not isinstance(x, np.ndarray) and (hasattr(x, "__dlpack__") or hasattr(x, "__array_namespace__"))
