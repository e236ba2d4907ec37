"""Arrays of any framework, as NumPy and back again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellposed.errors import InputError

Vector = NDArray[np.float64]
"""float64 of any shape; a docstring that needs the shape gives it."""

Array = NDArray[Any]
"""NumPy of any dtype and shape."""

_OWN = (np.ndarray, np.generic, float, int, complex, list, tuple)


def dtype_name(array: Any) -> str:
    """`float32`, `bfloat16`, ... of an array of any framework."""
    return str(array.dtype if hasattr(array, "dtype") else np.asarray(array).dtype).rpartition(".")[2]


def plain(array: Any, name: str = "x") -> Array:
    """A NumPy array with the same numbers, whatever the framework; floats of 16 bits become float32.

    Raises `InputError` for what is no array of numbers; `name` is what the caller calls it.
    """
    if isinstance(array, float):  # the common case, first
        return np.asarray(array)
    given = array.detach() if _tensor(array) else array
    if hasattr(given, "dtype") and dtype_name(given) in ("float16", "bfloat16"):
        given = given.float() if _tensor(given) else given.astype(np.float32)
    try:
        found: Array = np.asarray(given.cpu().resolve_conj() if _tensor(given) else given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a number or an array, not {type(array).__name__}") from error
    if found.dtype.kind not in "fiubc":
        raise InputError(f"{name} must be a number or an array of numbers, not {type(array).__name__} ({found.dtype})")
    return found


def of_any_library(data: Any, what: str, complaint: str = "{} cannot be read as an array") -> Array:
    """NumPy of an array or tensor of any library and layout, of nested lists and of lists of tensors; what NumPy lacks
    becomes float32.

    Raises `InputError` for what has no numbers, as a tensor on the meta device, and for rows of different lengths.
    """
    if isinstance(data, list | tuple) and any(map(_tensor, data)):
        data = [of_any_library(part, what) for part in data]
    elif _tensor(data):
        data = _of_tensor(data, what)
    elif str(getattr(data, "dtype", "")) in _COARSE:
        data = np.asarray(data, dtype=np.float32)
    try:
        return np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InputError(f"{complaint.format(what)}: {error}", hint="are all rows of one length?") from error


_COARSE = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e4m3b11fnuz")


def _tensor(data: Any) -> bool:
    """Whether it is one of torch's, which this module must not import."""
    return hasattr(data, "detach") and hasattr(data, "resolve_conj")


def _of_tensor(tensor: Any, what: str) -> Any:
    if tensor.is_meta:
        raise InputError(
            f"{what} is a tensor on the meta device, which has no numbers", hint="give it memory and numbers first"
        )
    if tensor.is_nested:
        raise InputError(
            f"{what} is a nested tensor, whose rows have different lengths", hint="give one of its parts, or pad it"
        )
    found = tensor.detach().cpu()
    if found.is_quantized:
        found = found.dequantize()
    if str(found.layout) != "torch.strided":
        found = found.to_dense()
    found = found.resolve_conj().resolve_neg()
    return found.float() if str(found.dtype).removeprefix("torch.") in _COARSE else found


def rebuild_like(array: Any) -> Callable[[Array], Any]:
    """A function that turns NumPy arrays into arrays of the given one's framework, device and floating-point dtype.

    Complex values become complex arrays of the same framework. Raises `InputError` for an unknown framework.
    """
    if isinstance(array, _OWN):
        dtype = np.asarray(array).dtype
        real = dtype if dtype.kind == "f" else np.dtype(float)
        # Numbers stay NumPy scalars: functions of one number then behave as with floats.
        return lambda values: np.asarray(values, dtype=values.dtype if np.iscomplexobj(values) else real)[()]
    import array_api_compat

    try:
        space, device = array_api_compat.array_namespace(array), array_api_compat.device(array)
    except TypeError:
        raise InputError(f"x must be a number or an array, not {type(array).__name__}") from None
    floating = array.dtype if dtype_name(array).startswith(("float", "bfloat")) else space.float64

    def rebuilt(values: Array) -> Any:
        made = space.asarray(np.array(values), device=device)
        return made if np.iscomplexobj(values) else space.astype(made, floating)

    return rebuilt


def mean_square(values: Array) -> tuple[float, float]:
    """Over all entries, and its relative standard error for independent ones: sqrt((kurtosis - 1) / n)."""
    squares = np.asarray(values, dtype=np.float64).ravel() ** 2
    mean = float(squares.mean())
    return mean, float(squares.std() / mean / squares.size**0.5) if mean else 0.0


def root_mean_square(values: Any) -> float:
    """In float64; of any array that NumPy can read."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, dtype=np.float64)))))
