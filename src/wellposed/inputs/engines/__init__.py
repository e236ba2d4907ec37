"""Data that lies on several processes or machines: the state travels, the arithmetic is ours.

Each engine turns its partitions into states where they lie, and merges them in the order of the partitions.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from wellposed.inputs.state import State

Engine = Callable[[Any, Any, tuple[str, ...], bool], State]

# The first part of the module that the class of the data comes from.
_ENGINES = {"dask": "dask", "dask_expr": "dask", "pyspark": "spark", "ray": "ray"}


def engine_of(data: Any) -> Engine | None:
    """(data, axis, columns, reproducible) -> state; None for data that no engine holds."""
    for kind in type(data).__mro__:
        name = _ENGINES.get(kind.__module__.split(".")[0])
        if name is not None:
            return import_module(f"wellposed.inputs.engines.{name}").state  # type: ignore[no-any-return]
    return None
