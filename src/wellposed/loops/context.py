"""A context manager around training: a check-up before it, and another at what it has led to."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from wellposed.api import checkup
from wellposed.backends.protocol import Problem
from wellposed.checks.run import demand_problem
from wellposed.report import Report

_OFTEN = 3
_entered: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


class Checked:
    """`before` is the report at the start; `after`, at the trained parameters, is None within the block and where the
    block raised.
    """

    def __init__(self, before: Report) -> None:
        self.before = before
        self.after: Report | None = None


@contextmanager
def checked_training(problem: Problem, *, fail: bool = False, **options: Any) -> Iterator[Checked]:
    """A check-up on the way in, at random initialisation, and another on the way out, after some training.

    Put it around the whole of training, not around a step: a third time round the same model it warns. `options` are
    those of `wp.checkup`. With `fail` training does not begin where something fails: raises `CheckFailed`. Raises
    `InputError` for what is no problem.
    """
    demand_problem(problem)
    _count(getattr(problem, "model", problem))
    checked = Checked(checkup(problem, **options))
    if fail:
        checked.before.raise_if_failed()
    yield checked
    checked.after = checkup(problem, **options)


def _count(model: Any) -> None:
    with suppress(TypeError):  # what cannot be remembered weakly
        _entered[model] = _entered.get(model, 0) + 1
        if _entered[model] == _OFTEN:
            warnings.warn(
                "wellposed checks this model for the third time: a check-up costs as much as tens of training steps."
                " Put it around training, not around every step.",
                stacklevel=4,
            )
