"""One check at a time: parameters are moved in place, and random generators are the process's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from wellposed.backends.interrupts import interrupts_deferred

_LOCK = threading.RLock()


@contextmanager
def exclusively() -> Iterator[None]:
    """A second thread waits until the first is done; signals wait while nothing of the user's own runs."""
    with _LOCK, interrupts_deferred():
        yield
