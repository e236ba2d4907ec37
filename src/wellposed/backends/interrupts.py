"""Ctrl-C and other signals, let in only while the user's own code runs: what puts things back is never left
half-way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]


class _Gate:
    """The state of the main thread, where alone Python runs the handlers of signals."""

    def __init__(self) -> None:
        self.own: dict[int, Handler] = {}  # the handlers that were there, by signal, while a check lasts
        self.open = False
        self.waiting: list[tuple[int, FrameType | None]] = []

    def arrived(self, number: int, frame: FrameType | None) -> None:
        if not self.open:
            self.waiting.append((number, frame))
            return
        self.open = False  # what it raises leaves through code that must not be interrupted again
        self.own[number](number, frame)
        self.open = True

    def deliver(self) -> None:
        while self.waiting:
            number, frame = self.waiting.pop(0)
            self.own[number](number, frame)


_GATE = _Gate()


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Within it signals wait until `interruptible` code runs, or until it ends; then their handlers run, and may
    raise.
    """
    if threading.current_thread() is not threading.main_thread() or _GATE.own:
        yield
        return
    handlers: dict[int, Handler] = {
        int(n): handler for n in signal.valid_signals() if callable(handler := signal.getsignal(n))
    }
    _GATE.own, _GATE.open = dict(handlers), False
    replaced = []
    try:
        for number in handlers:
            signal.signal(number, _GATE.arrived)
            replaced.append(number)
        yield
    finally:
        _GATE.open = False
        for number in replaced:
            if signal.getsignal(number) == _GATE.arrived:  # the user's code may have set another
                signal.signal(number, handlers[number])
        try:
            _GATE.deliver()
        finally:
            _GATE.own, _GATE.waiting = {}, []


@contextmanager
def interruptible() -> Iterator[None]:
    """Around the user's own code, within `interrupts_deferred`."""
    if not _GATE.own or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _GATE.open
    _GATE.deliver()
    _GATE.open = True
    try:
        yield
    finally:
        _GATE.open = before
