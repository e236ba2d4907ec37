"""The parameters that an optimizer has, by group."""

from __future__ import annotations

from typing import Any

import torch


def groups_of(optimizer: Any) -> list[dict[str, Any]]:
    """None of a wrapper that has no groups of its own, and of what is no optimizer."""
    groups = getattr(optimizer, "param_groups", None)
    return groups if isinstance(groups, list) else []


def parameters_of(optimizer: Any) -> list[torch.Tensor]:
    """All that it has, whatever the group."""
    return [p for group in groups_of(optimizer) for p in group["params"] if isinstance(p, torch.Tensor)]
