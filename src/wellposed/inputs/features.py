"""Any array as rows of features: which axes are examples, which one counts the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.arrays import Array


@dataclass(frozen=True)
class Features:
    """`rows` has shape [N, D]; `where(j)` is the user's name for feature j."""

    rows: Array
    shape: tuple[int, ...]
    axis: int
    names: tuple[str, ...] = ()

    def where(self, j: int) -> str:
        if self.names:
            return f"inputs[{self.names[j]!r}]"
        if len(self.shape) == 1:
            return "inputs"
        index = [":"] * len(self.shape)
        index[self.axis] = str(j)
        return f"inputs[{', '.join(index[: self.axis + 1])}]"


def as_array(data: Any, what: str = "the data") -> Array:
    """NumPy of real numbers from an array of any library, a table or nested lists.

    Raises `InputError` for text, objects, complex numbers and empty data.
    """
    if data is None:
        raise InputError(f"{what} is None", hint="give an array of shape [N, D]")
    if hasattr(data, "detach") and hasattr(data, "cpu"):
        plain = data.detach().cpu()
        data = plain.float() if str(plain.dtype) == "torch.bfloat16" else plain
    try:
        array = np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what} cannot be read as an array: {error}", hint="are all rows of one length?") from error
    if array.dtype.kind in "OUSMmV":
        columns: Any = getattr(data, "dtypes", None)
        kinds = dict(columns.items()) if hasattr(columns, "items") else {}
        offenders = [str(name) for name, kind in kinds.items() if getattr(kind, "kind", "O") not in "fiub"]
        named = f" in column {', '.join(map(repr, offenders))}" if offenders else ""
        raise InputError(f"{what} holds {array.dtype} values, not numbers{named}", hint="encode categories and dates as numbers first")
    if array.dtype.kind == "c":
        raise InputError(f"{what} holds complex numbers", hint="stack the real and imaginary parts as two features")
    if array.dtype.kind not in "fiub":
        array = array.astype(np.float64)
    if array.ndim == 0:
        raise InputError(f"{what} is one number, {array}", hint="give an array of shape [N, D]")
    if array.size == 0:
        raise InputError(f"{what} is empty: its shape is {array.shape}")
    return array


def features_of(data: Any, axis: int | None = None) -> Features:
    """`axis` counts the features; all other axes are examples.

    Without `axis`: the second of two; the channels of four-dimensional images (axis 1 where it has at
    most 4 entries and the last has more, else the last); the last axis otherwise.
    """
    array = as_array(data, "the data")
    if axis is None:
        channels_first = array.ndim == 4 and array.shape[1] <= 4 < array.shape[-1]
        axis = 1 if channels_first else array.ndim - 1
    if not -array.ndim <= axis < array.ndim:
        raise InputError(f"axis {axis} does not exist in data of shape {array.shape}")
    axis %= array.ndim
    if array.ndim == 1:
        return Features(array[:, None], array.shape, 0)
    columns = getattr(data, "columns", None)
    names = tuple(map(str, columns)) if columns is not None and array.ndim == 2 and axis == 1 else ()
    return Features(np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]), array.shape, axis, names)
