"""The learning-rate schedules that there are, and how far each of them is."""

from __future__ import annotations

from typing import Any

from torch.optim import lr_scheduler

from wellposed.backends.torch.watching.alive import alive

_LENGTHS = ("total_steps", "T_max", "total_iters")


def schedules_of(optimizers: list[Any]) -> list[tuple[Any, int]]:
    """Each with the number of its optimizer; parts of another one are left out."""
    found = alive(lr_scheduler.LRScheduler)
    parts = {id(part) for thing in found for part in getattr(thing, "_schedulers", ())}
    known = {id(optimizer): number for number, optimizer in enumerate(optimizers)}
    pairs = []
    for thing in found:
        optimizer = getattr(thing, "optimizer", None)
        number = known.get(id(getattr(optimizer, "optimizer", optimizer)))
        if number is not None and id(thing) not in parts:
            pairs.append((thing, number))
    return pairs


def stepped(schedule: Any) -> int:
    """How often, since it was made."""
    return int(getattr(schedule, "_step_count", 1)) - 1


def length_of(schedule: Any) -> int:
    """0 where it does not say."""
    for name in _LENGTHS:
        length = getattr(schedule, name, None)
        if isinstance(length, int) and length > 0:
            return length
    return 0
