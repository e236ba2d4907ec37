"""Random generators that are seeded again and again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from wellposed.backends.patches import Patches
from wellposed.backends.torch.watching.nodes import find_place

_READ: dict[str, Callable[[], Any]] = {
    "torch's generator": lambda: torch.get_rng_state().numpy().tobytes(),
    "NumPy's generator": lambda: np.random.get_state()[1:3],  # type: ignore[index]
    "Python's generator": random.getstate,
}


class Seeds:
    """For each generator, the places where it was seeded with the same number, one for each step in a row."""

    def __init__(self) -> None:
        self.repeated: dict[str, list[str]] = {}
        self._now: dict[str, tuple[Any, str, int]] = {}  # the number, the place, and a hash of the state after it
        self._last: dict[str, Any] = {}

    def watch(self, patches: Patches) -> None:
        patches.put(torch, "manual_seed", lambda own: self._seeding("torch's generator", own))
        patches.put(torch.random, "manual_seed", lambda own: self._seeding("torch's generator", own))
        patches.put(np.random, "seed", lambda own: self._seeding("NumPy's generator", own))
        patches.put(random, "seed", lambda own: self._seeding("Python's generator", own))
        for owner, name in ((torch, "set_rng_state"), (torch.random, "set_rng_state")):
            patches.put(owner, name, lambda own: self._putting_back("torch's generator", own))
        patches.put(np.random, "set_state", lambda own: self._putting_back("NumPy's generator", own))
        patches.put(random, "setstate", lambda own: self._putting_back("Python's generator", own))

    def _seeding(self, name: str, own: Any) -> Any:
        def seed(*args: Any, **kwargs: Any) -> Any:
            result = own(*args, **kwargs)
            self._now[name] = (repr((args, kwargs)), find_place().shown, _state(name))
            return result

        return seed

    def _putting_back(self, name: str, own: Any) -> Any:
        """What was seeded for a while, as for a fixed evaluation, goes on where it was."""

        def put(*args: Any, **kwargs: Any) -> Any:
            self._now.pop(name, None)
            return own(*args, **kwargs)

        return put

    def stepped(self) -> None:
        """A step is done: what was seeded for it, and drawn from?"""
        for name in [*self.repeated]:
            if name not in self._now:
                self.repeated[name] = []
        for name, (number, place, state) in self._now.items():
            if state == _state(name):
                continue
            known = self.repeated.setdefault(name, [])
            if known and self._last.get(name) != number:
                known.clear()
            known.append(place)
            self._last[name] = number
        self._now.clear()


def _state(name: str) -> int:
    state = _READ[name]()
    return hash(state if isinstance(state, bytes) else repr(state))
