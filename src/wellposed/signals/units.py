"""Which layer an activation belongs to, as its owner knows it."""

from __future__ import annotations

from wellposed.backends.measured import Operation
from wellposed.signals.trace import Trace


def find_layer(trace: Trace, index: int, operation: Operation) -> str:
    """The weighted layer that the activation reads, which is what its owner knows by name; else the activation."""
    return next((site.name for site in trace.sites if site.reader == index), operation.name)
