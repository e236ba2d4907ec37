"""The gradient checks of torch and JAX under their own names: change the import, and the test suite runs on ours.

    from torch.autograd import gradcheck, gradgradcheck     ->  from wellposed.testing import gradcheck, gradgradcheck
    from jax.test_util import check_grads                   ->  from wellposed.testing import check_grads

As there, a wrong gradient raises: an error that is both an AssertionError and what the original raises. Steps come from
the measured noise. An `atol` or `rtol` that is given is what the caller accepts: a difference beyond our error bar and
within it passes, with a warning that names it; where neither is given, 1e-5 of the slope does so, as of a solver that
stops early. A point at which no wrong gradient could be seen passes with a warning too. `wp.gradcheck` and
`wp.check_grads` are the same checks as functions that return a `Report`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wellposed import api
from wellposed.backends.select import gradcheck_error, tensor_function
from wellposed.checks.higher_order import function_report
from wellposed.errors import CheckFailed, InputError
from wellposed.findings import Finding, Verdict
from wellposed.report import Report

_ATOL, _RTOL = 1e-5, 1e-3  # torch's own, for the one of the two that a caller leaves out
# relative: what passes with a warning where a caller gives neither, as the originals accept a hundred times as much
_UNASKED = 1e-5
_MEASURED = (
    ("claimed derivative at the worst entry measured", "measured derivative there"),
    ("claimed slope along a direction", "measured slope along it"),
    ("slope by forward mode", "measured slope"),
)


class Uninformative(UserWarning):
    """At the point checked a wrong gradient would have looked right."""


class WithinTolerance(UserWarning):
    """A difference that is more than the measurement's error, and no more than the caller accepts."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: Any = None,
    rtol: Any = None,
    raise_exception: bool = True,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    **options: Any,
) -> bool:
    """`torch.autograd.gradcheck`. Raises what the original raises, with the report, or returns False without
    `raise_exception`.

    `eps`, `nondet_tol`, `fast_mode`, `masked` and the other options of the original have no effect. Entries that are
    NaN or infinite are held. As in the original the gradient is that by the inputs; `wp.gradcheck` checks what func
    closes over too.
    """
    api.demand_known(options)
    problems = tensor_function(func, inputs, 1, finite=False, inputs_alone=True)
    report = function_report(problems, check_forward_ad or not check_backward_ad, check_backward_ad)
    return _passed(report, atol, rtol, raise_exception=raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: Any = None,
    rtol: Any = None,
    raise_exception: bool = True,
    **options: Any,
) -> bool:
    """`torch.autograd.gradgradcheck`: the gradient of the gradient, and the gradient itself. Random grad_outputs are
    drawn.
    """
    problems = tensor_function(func, inputs, 2, finite=False, inputs_alone=True)
    return _passed(function_report(problems, forward=False, backward=True), atol, rtol, raise_exception=raise_exception)


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: str | Sequence[str] = ("fwd", "rev"),
    atol: Any = None,
    rtol: Any = None,
    eps: float | None = None,
) -> None:
    """`jax.test_util.check_grads`, with any mix of modes and orders; raises an AssertionError with the report. `eps`
    has no effect.
    """
    given = (modes,) if isinstance(modes, str) else tuple(modes)
    wanted = tuple(dict.fromkeys("fwd" if mode == "lin" else mode for mode in given))
    if order < 1 or not wanted:
        return
    try:
        report = api.check_grads(f, args, order=order, modes=wanted)
    except InputError as error:
        if "contains NaN or infinity" not in str(error):
            raise
        warnings.warn(f"not compared: {error}", Uninformative, stacklevel=2)
        return
    _passed(report, atol, rtol, raise_exception=True)


def _passed(report: Report, atol: Any, rtol: Any, *, raise_exception: bool) -> bool:
    failing = [finding for finding in report.findings if finding.verdict is Verdict.FAILS]
    given = atol is not None or rtol is not None
    allowed = (_number(atol, _ATOL), _number(rtol, _RTOL)) if given else (0.0, _UNASKED)
    beyond = [finding for finding in failing if not _within(finding, *allowed)]
    if beyond:
        if raise_exception:
            raise _failure()(str(report))
        return False
    for finding in failing:
        what = (
            f"atol={allowed[0]:g}, rtol={allowed[1]:g} as given"
            if given
            else f"rtol={_UNASKED:g}, and no tolerance was given"
        )
        text = f"{finding.rule} {finding.message} It is within the tolerances ({what})."
        warnings.warn(text, WithinTolerance, stacklevel=3)
    for finding in report.findings:
        if finding.rule == "WP508" and finding.verdict is Verdict.SUSPECT:
            warnings.warn(f"WP508 {finding.message}", Uninformative, stacklevel=3)
    return True


def _number(given: Any, usual: float) -> float:
    """JAX takes tolerances by dtype too: the largest."""
    if isinstance(given, Mapping):
        return max(map(float, given.values()), default=usual)
    return usual if given is None else float(given)


def _within(finding: Finding, atol: float, rtol: float) -> bool:
    """Whether every pair of a claimed and a measured slope is as close as the caller asks."""
    values = {entry.quantity: entry.value for entry in finding.evidence}
    pairs = [
        (values[claimed], values[measured])
        for claimed, measured in _MEASURED
        if claimed in values and measured in values
    ]
    return bool(pairs) and all(abs(claimed - measured) <= atol + rtol * abs(measured) for claimed, measured in pairs)


def _failure() -> type[CheckFailed]:
    """What raises as torch's own does too, where torch is there."""
    if "torch" not in sys.modules:
        return CheckFailed
    return type("GradientCheckFailed", (CheckFailed, gradcheck_error()), {})
