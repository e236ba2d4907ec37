"""The objects of a class that are alive, whoever holds them."""

from __future__ import annotations

import gc
from typing import Any


def alive(*kinds: type) -> list[Any]:
    """Of these classes and those below them. Objects are asked for their type alone, as `isinstance` would ask what a
    proxy stands for, and that may warn.
    """
    things = gc.get_objects()
    wanted = {kind for kind in set(map(type, things)) if issubclass(kind, kinds)}
    return [thing for thing in things if type(thing) in wanted] if wanted else []
