"""The columns of a table of any library."""

from __future__ import annotations

from typing import Any


def columns_of(data: Any) -> list[Any]:
    """As the table names them; none of what is no table."""
    columns = getattr(data, "columns", None)
    return [] if columns is None or callable(columns) else list(columns)
