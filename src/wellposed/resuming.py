"""`wp.check_resume`: is a run that is saved and loaded the run that was not interrupted?"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from wellposed.backends.select import runs
from wellposed.errors import InputError
from wellposed.findings import Summary
from wellposed.report import Report
from wellposed.steps.rules.resuming import RESUMING, not_saved

_OTHER = 20_261_127  # a seed, for generators as a new process has them


def check_resume(
    make: Callable[[], Any], save: Callable[[Any], Any], load: Callable[[Any, Any], None], *, k: int = 3
) -> Report:
    """2k steps in one go against k steps, a save, a load into new objects, and k more: WP606.

    `make()` returns a run: an object with a method `step()` that trains one step (and may return the loss), and that
    holds model, optimizer and all else. `save(run)` returns a checkpoint, `load(run, checkpoint)` puts it into a run
    that was newly made. Before a run is resumed, random generators are seeded otherwise, as in another process. Where
    weights, buffers or losses differ in a single bit it fails; then the parts of the run that was not interrupted are
    put into the resumed one, one at a time, and what mends it was not saved.

    Random generators are left as they were. Raises `InputError` where a run has no `step`, and where two runs that are
    not interrupted differ.
    """
    started = time.perf_counter()
    for name, given in (("make", make), ("save", save), ("load", load)):
        if not callable(given):
            raise InputError(f"{name} must be a function, not a {type(given).__name__}")
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InputError(f"k must be a whole number of steps of at least 1, not {k!r}")
    generators = runs().generators()
    try:
        finding = _Resuming(make, save, load, k, generators).findings()
    finally:
        runs().put_generators(generators)
    return Report(Summary("torch"), tuple(finding), 0, time.perf_counter() - started)


class _Resuming:
    def __init__(self, make: Any, save: Any, load: Any, k: int, generators: list[Any]) -> None:
        self._make, self._load, self._k, self._generators = make, load, k, generators
        self._whole = self._begun()
        _take(self._whole, k)
        self._there = runs().Parts(self._whole).read()
        self._losses = _take(self._whole, k)
        again = self._begun()
        if _take(again, 2 * k)[k:] != self._losses or not self._same(again):
            raise InputError(
                "two runs that are not interrupted differ, so that nothing can be said of one that is",
                hint="seed within make() whatever they draw from, and use deterministic algorithms",
            )
        first = self._begun()
        _take(first, k)
        self._saved = copy.deepcopy(save(first))

    def findings(self) -> list[Any]:
        if self._resumed(()):
            return [RESUMING.holds()]
        parts = list(self._there)
        alone = [part for part in parts if self._resumed((part,))]
        if alone:
            return [not_saved(alone[0], "save")]
        # Several are missing: what is not needed, with all others put back, was saved.
        needed = [part for part in parts if not self._resumed(tuple(other for other in parts if other != part))]
        return [not_saved(part, "save") for part in needed or ["other"]]

    def _begun(self) -> Any:
        runs().put_generators(self._generators)
        run = self._make()
        if not callable(getattr(run, "step", None)):
            raise InputError(
                f"make() must return an object with a method step(), not a {type(run).__name__}",
                hint="class Run: def step(self): ... one training step",
            )
        return run

    def _resumed(self, parts: tuple[str, ...]) -> bool:
        """Whether it is the same run, with these parts of the one that was not interrupted."""
        run = self._begun()
        runs().reseed(_OTHER)
        self._load(run, copy.deepcopy(self._saved))
        for part in parts:
            runs().Parts(run).put(part, self._there[part])
        return _take(run, self._k) == self._losses and self._same(run)

    def _same(self, run: Any) -> bool:
        return bool(runs().Parts(self._whole).same_as(runs().Parts(run)))


def _take(run: Any, count: int) -> list[float | None]:
    """The losses of as many steps, as far as `step` returns them."""
    losses = [run.step() for _ in range(count)]
    return [None if loss is None else float(loss) for loss in losses]
