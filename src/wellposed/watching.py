"""`wp.watch`: a training step as it runs."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from wellposed.api import checkup
from wellposed.backends.select import FRAMEWORKS, watch_of
from wellposed.checks.step import not_checked, report_on_step
from wellposed.errors import InputError
from wellposed.imported import WhenImported
from wellposed.report import Report
from wellposed.steps.neighbours import learnable
from wellposed.users_code import Raised, attempt

STEPS = 8  # that are watched: as many as show what repeats


class Watching:
    """What `with wp.watch()` gives: `report` is there when the block is left, None where nothing was trained. `look` is
    called with each loss, its optimizer and all trained parameters in place of a check-up. With `fail` a loss in which
    something fails raises `CheckFailed` before weights have moved. Where `during` is no longer true, nothing more is
    seen.
    """

    def __init__(
        self,
        *,
        step: int = 1,
        steps: int = STEPS,
        fail: bool = False,
        during: Callable[[], bool] | None = None,
        done: Callable[[], None] | None = None,
        look: Callable[[Any, Any, set[int]], None] | None = None,
        **options: Any,
    ) -> None:
        for name, number in (("step", step), ("steps", steps)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {number!r}")
        self.report: Report | None = None
        self._options, self._fail = options, fail
        self._only = options.get("only", lambda _rule: True)
        self._losses: list[tuple[str, Report]] = []
        self._step = step
        self._started = 0.0
        self._how = {"step": step, "steps": steps, "untouched": done is None, "during": during or _always}
        self._done, self._looks = done or _go_on, look or self._look
        self._watches: list[Any] = []
        self._frameworks = WhenImported({name: partial(self._begin, name) for name in FRAMEWORKS})

    @property
    def seen(self) -> bool:
        """Whether anything was trained so far."""
        return any(watch.seen for watch in self._watches)

    @property
    def finished(self) -> bool:
        """Whether as much of it was seen as was asked for."""
        return any(watch.seen and watch.finished for watch in self._watches)

    def _begin(self, framework: str) -> None:
        watch = watch_of(framework, self._looks, self._done, **self._how)
        self._watches.append(watch.__enter__())

    def __enter__(self) -> Watching:
        self._started = time.perf_counter()
        self._frameworks.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._frameworks.__exit__(kind, error, trace)
        for watch in self._watches:
            watch.__exit__(kind, error, trace)
            if watch.failed is not None:
                what = f"{type(watch.failed).__name__}: {watch.failed}"
                warnings.warn(f"wellposed stopped watching, and training went on: {what}", stacklevel=2)
            if watch.seen:
                if watch.pairs is not None:
                    watch.watched.learnable = learnable(*watch.pairs)
                seconds = time.perf_counter() - self._started
                if not self._losses:
                    reason = f"Step {self._step} was not reached: the losses of no step were checked."
                    self._losses.append(("", not_checked(reason, self._only)))
                self.report = report_on_step(self._losses, watch.watched, watch.backend, self._only, seconds)

    def _look(self, captured: Any, optimizer: Any, trained: set[int]) -> None:
        """One loss of the step, where the script stands still."""
        if captured.unlike:
            reason = f"The loss at {captured.shown} could not be made again as the script made it: {captured.unlike}."
            self._losses.append((captured.shown, not_checked(reason, self._only)))
            return
        with captured.as_it_was(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the script has said it
            made = attempt(lambda: self._report(captured, captured.problem(optimizer, trained)), ours=True)
        if isinstance(made, Raised):
            made = self._unchecked(captured, made.line)
        self._losses.append((captured.shown, made))
        if self._fail:
            made.raise_if_failed()

    def _report(self, captured: Any, problem: Any) -> Report:
        unlike = captured.differs(problem)
        return self._unchecked(captured, unlike) if unlike else checkup(problem, **self._options)

    def _unchecked(self, captured: Any, why: str) -> Report:
        return not_checked(f"The loss at {captured.shown} could not be checked: {why}.", self._only)


def watch(step: Callable[..., Any] | None = None, *batch: Any, **options: Any) -> Any:
    """A training step as it runs: its losses are checked where it stands, and what it does is watched.

    `with wp.watch() as watched:` around training gives `watched.report` after it; `wp.watch(step, *batch)` calls
    `step(*batch)` and returns the report. Nothing needs to be said of the model: what is called on the way from
    parameters to the tensor of `backward()` is recorded, made again, held against the script's own loss and gradient,
    and checked as `wp.checkup` checks a problem; the rules WP601 to WP606 judge the steps. Several backward passes are
    several losses in one report. Training goes on bit for bit as without it. Of a step in JAX, jitted or not, the loss
    is checked that it gives to `jax.value_and_grad` or `jax.grad`.

    `step=` (1) is the number of the step whose losses are checked, `steps=` (8) how many are watched; with `fail=True`
    a loss in which something fails raises `CheckFailed` before weights have moved. The other options are those of
    `wp.checkup`. Raises `InputError` where nothing was trained.
    """
    if step is None:
        return Watching(**options)
    if not callable(step):
        raise InputError(
            f"watch takes a function that trains one step, not a {type(step).__name__}",
            hint="wp.watch(train_step, batch), or: with wp.watch() as watched: ...",
        )
    with Watching(**options) as watching:
        _call(step, batch)
    if watching.report is None:
        raise InputError(
            "the step differentiated nothing: it called no backward(), jax.grad or jax.value_and_grad",
            hint="give the function that trains: forward pass, gradient and optimizer step",
        )
    return watching.report


def _call(step: Callable[..., Any], batch: tuple[Any, ...]) -> None:
    """What jax.jit has compiled before is run as it was written: else nothing of it would be seen."""
    jax = sys.modules.get("jax")
    if jax is not None and hasattr(step, "lower") and hasattr(step, "__wrapped__"):
        with jax.disable_jit():
            step(*batch)
    else:
        step(*batch)


def _always() -> bool:
    return True


def _go_on() -> None:
    """Training goes on."""
