"""The parameters that an optimizer has, by group."""

from __future__ import annotations

from typing import Any


def groups_of(optimizer: Any) -> list[dict[str, Any]]:
    """None of a wrapper that has no groups of its own, and of what is no optimizer."""
    groups = getattr(optimizer, "param_groups", None)
    return groups if isinstance(groups, list) else []
