"""Statistics on disk: JSON that anybody can read, written whole or not at all."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.reading import regular_text
from wellposed.writing import write_whole

_FORMAT, _VERSION = "wellposed.Standardizer", 2


def write(
    path: str | os.PathLike[str],
    params: dict[str, Any],
    arrays: dict[str, Vector],
    state: dict[str, Any],
    names: list[str],
    seen: int,
) -> None:
    """Raises `InputError` where the file cannot be written; an older one is then as it was."""
    content = {
        "format": _FORMAT, "version": _VERSION, "count": seen, "names": names, **{name: _listed(array) for name,
        array in arrays.items()},
        "parameters": {name: value.item() if isinstance(value, np.generic) else value for name,
        value in params.items()}, "state": state,
    }  # fmt: skip
    write_whole(path, lambda file: json.dump(content, file), complaint="{} cannot be written")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Vector], dict[str, Any], list[str], int]:
    """What `write` wrote: parameters, arrays, state, names, rows seen. Raises `InputError` for anything else."""
    try:
        content = json.loads(regular_text(path))
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise KeyError("format")
        arrays = {
            name: np.array(content[name], dtype=np.float64)
            for name in ("mean", "var", "scale", "quartiles", "rotation", "rotation_back", "mean_error", "std_error")
            if name in content
        }
        if not {"mean", "var", "scale"} <= {name for name, array in arrays.items() if array.ndim}:
            raise KeyError("mean")
        params = dict(content["parameters"])
        if isinstance(params.get("axis"), list):
            params["axis"] = tuple(params["axis"])
        count = int(content["count"])
        if (
            count < 0
            or (arrays["scale"] <= 0).any()
            or len({len(arrays[name]) for name in ("mean", "var", "scale")}) != 1
        ):
            raise ValueError("statistics of nothing")
        names = list(content["names"])
        if names and len(names) != len(arrays["mean"]):
            raise ValueError("names of others")
        return params, arrays, content["state"], names, count
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not a file that Standardizer.save wrote") from error


def _listed(array: Vector) -> list[Any]:
    """NaN as null, which JSON has."""
    return (
        [_listed(row) for row in array]
        if array.ndim > 1
        else [None if value != value else value for value in array.tolist()]
    )
