"""Any array as rows of features: which axes are examples, which one counts the features."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.inputs.columns import columns_of
from wellposed.numerics.accumulate import canonical
from wellposed.numerics.arrays import Array, of_any_library, plain

_IMAGES, _MOST_CHANNELS = 4, 4  # axes of a batch of images; the channels that they have at most


@dataclass(frozen=True)
class Features:
    """`array` is the data, `axes` are those that count the features; `where(j)` is the user's name for feature j."""

    array: Array
    axes: tuple[int, ...]
    names: tuple[str, ...] = ()
    label: str = "inputs"

    @property
    def rows(self) -> Array:
        """[N, D]: every other axis is one of examples. A copy, where the features are not last."""
        return np.moveaxis(canonical(self.array, self.axes), 1, 2).reshape(-1, self.size)

    @property
    def size(self) -> int:
        """The number of features."""
        return prod(self.array.shape[axis] for axis in self.axes)

    def where(self, j: int) -> str:
        if not self.axes:
            return self.label
        if self.names:
            return self.called(self.names, j)
        index = [":"] * self.array.ndim
        for axis, place in zip(
            self.axes, np.unravel_index(j, [self.array.shape[axis] for axis in self.axes]), strict=True
        ):
            index[axis] = str(int(place))
        return f"{self.label}[{', '.join(index[: self.axes[-1] + 1])}]"

    @staticmethod
    def called(names: tuple[str, ...], j: int) -> str:
        """As `where`, of data [N, D] or of one feature."""
        return f"inputs[{names[j]!r}]" if names else f"inputs[:, {j}]"


class _NotNumbers(InputError, TypeError):
    """For Python objects, as float() would raise."""


def as_array(data: Any, what: str = "the data") -> Array:
    """NumPy of real numbers from an array of any library, a table or nested lists.

    Raises `InputError` for text, objects, complex numbers and empty data.
    """
    if hasattr(data, "tocsr"):
        raise InputError(
            f"sparse input is not supported: {what} is a {type(data).__name__}",
            hint="centring makes it dense: data.toarray()",
        )
    if isinstance(data, np.ma.MaskedArray):
        data = np.ma.filled(data.astype(np.float64), np.nan)
    if data is None:
        raise InputError(f"{what} is None", hint="give an array of shape [N, D]")
    if hasattr(data, "__array_namespace__") and not isinstance(data, np.ndarray):
        data = plain(data, what)
    array = of_any_library(data, what)
    if array.dtype.kind == "O":
        array = _of_objects(array)
    if array.dtype.kind in "OUSMmV":
        columns: Any = getattr(data, "dtypes", None)
        kinds = dict(columns.items()) if hasattr(columns, "items") else {}
        offenders = [str(name) for name, kind in kinds.items() if getattr(kind, "kind", "O") not in "fiub"]
        named = f" in column {', '.join(map(repr, offenders))}" if offenders else ""
        kind = "text" if array.dtype.kind in "US" else f"{array.dtype} values"
        kind_of_error = _NotNumbers if array.dtype.kind == "O" else InputError
        said = (
            ": each entry of an argument must be a string or a number that float() reads"
            if array.dtype.kind == "O"
            else ""
        )
        raise kind_of_error(
            f"{what} holds {kind}, not numbers{named}{said}", hint="encode categories and dates as numbers first"
        )
    if array.dtype.kind == "c":
        raise InputError(
            f"Complex data not supported: {what} holds complex numbers",
            hint="stack the real and imaginary parts as two features",
        )
    if array.dtype.kind not in "fiub":
        array = array.astype(np.float64)
    if array.ndim == 0:
        raise InputError(f"{what} is one number, {array}", hint="give an array of shape [N, D]")
    if array.size == 0:
        if array.ndim > 1 and array.shape[0] and not array.shape[1]:
            raise InputError(f"{what} is empty: 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
        raise InputError(f"{what} is empty: its shape is {array.shape}")
    return array


def _of_objects(array: Array) -> Array:
    """Python numbers as float64; anything else as it is."""
    if any(isinstance(entry, str | bytes) for entry in array.ravel()[:1]):
        return array
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        return array


def features_of(data: Any, axis: int | tuple[int, ...] | None = None, what: str = "the data") -> Features:
    """`axis` counts the features (several: one feature per combination); all other axes are examples.

    Without `axis`: the second of two; the channels of four-dimensional images (axis 1 where it has at
    most 4 entries and the last has more, else the last); the last axis otherwise.
    """
    array = as_array(data, what)
    axes = feature_axes(array.shape, axis)
    names = tuple(map(str, columns_of(data))) if array.ndim == 2 and axes == (1,) else ()
    return Features(array, axes, names)


def feature_axes(shape: tuple[int, ...], axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """As positive numbers, sorted; () for one dimension: one feature. Raises `InputError` for an axis that does not
    exist.
    """
    n = len(shape)
    if axis is None:
        axis = 1 if n == _IMAGES and shape[1] <= _MOST_CHANNELS < shape[-1] else n - 1
    try:
        wanted = tuple(map(index, axis)) if isinstance(axis, tuple | list) else (index(axis),)
    except TypeError as error:
        raise InputError(f"axis={axis!r} is not a whole number or several of them") from error
    if len({one % n for one in wanted if -n <= one < n}) < len(wanted) and all(-n <= one < n for one in wanted):
        raise InputError(f"axis={axis!r} names one axis twice")
    for one in wanted:
        if not -n <= one < n:
            raise InputError(f"axis {one} does not exist in data of shape {shape}")
    return () if n == 1 else tuple(sorted(one % n for one in wanted))
