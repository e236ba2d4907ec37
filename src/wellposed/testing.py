"""The gradient checks of torch and JAX under their own names: change the import, and the test suite runs on ours.

    from torch.autograd import gradcheck, gradgradcheck     ->  from wellposed.testing import gradcheck, gradgradcheck
    from jax.test_util import check_grads                   ->  from wellposed.testing import check_grads

As there, a wrong gradient raises. The tolerances and steps that the originals ask for are accepted and not needed. `wp.gradcheck` and
`wp.check_grads` are the same checks as functions that return a `Report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wellposed import api


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    **options: Any,
) -> bool:
    """`torch.autograd.gradcheck`. Raises `CheckFailed` with the report, or returns False without `raise_exception`.

    `eps`, `atol`, `rtol`, `nondet_tol`, `fast_mode`, `masked` and the other options of the original have no effect.
    """
    report = api.gradcheck(
        func,
        inputs,
        raise_exception=raise_exception,
        check_forward_ad=check_forward_ad,
        check_backward_ad=check_backward_ad,
        **options,
    )
    return bool(report)


def gradgradcheck(func: Callable[..., Any], inputs: Any, grad_outputs: Any = None, *, raise_exception: bool = True, **options: Any) -> bool:
    """`torch.autograd.gradgradcheck`: the gradient of the gradient, and the gradient itself. Random grad_outputs are drawn."""
    return bool(api.gradcheck(func, inputs, order=2, raise_exception=raise_exception))


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """`jax.test_util.check_grads`. Raises `CheckFailed` with the report; the tolerances and eps have no effect."""
    api.check_grads(f, args, order=order, modes=modes).raise_if_failed()
