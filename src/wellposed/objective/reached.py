"""WP403: which parameters training reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wellposed.findings import Finding, Verdict
from wellposed.numerics.theta import Gradient
from wellposed.rules.objective import REACHED

_SHOWN = 4


def check_reached(
    gradient: Gradient, left_out: Sequence[str], unregistered: Sequence[str], cut: str, matters: Callable[[Sequence[str]], bool]
) -> Finding:
    """`left_out` of the optimizer, `unregistered` at the model; `cut` says what cuts the graph, where known; `matters` whether the loss
    changes when the parameters of these names are moved by their own size.
    """
    names = list(gradient)
    if unregistered:
        text = (
            f"The loss depends on {_named(unregistered)}, which the model holds but does not list among its parameters(): an optimizer "
            "built from these never trains them, and they are not saved or moved with the model."
        )
        return REACHED.found(Verdict.FAILS, text, where=unregistered[0], cause="unregistered")
    if left_out:
        everything = len(left_out) == len(names)
        what = (
            "no parameter of the model"
            if everything
            else f"{len(names) - len(left_out)} of {len(names)} parameters and not {_named(left_out)}"
        )
        return REACHED.found(
            Verdict.FAILS if everything else Verdict.SUSPECT,
            f"The optimizer knows {what}: what it does not know stays as it is.",
            where=left_out[0],
            cause="not-in-optimizer",
        )
    unused = [name for name, part in gradient.items() if part is None]
    layers = {name.rpartition(".")[0] for name in unused} - {name.rpartition(".")[0] for name in names if name not in unused}
    whole = [name for name in unused if name.rpartition(".")[0] in layers]
    if len(unused) == len(names):
        return REACHED.found(Verdict.FAILS, f"No parameter gets a gradient. {cut}".rstrip(), where="model", cause="detached")
    if whole and not cut and matters(whole):
        text = (
            f"{_named(whole)} get no gradient, and yet the loss depends on them: it changes when they are moved by their own size. "
            "A step, an argmax, a rounding, or a way around autograd lies between."
        )
        return REACHED.found(Verdict.FAILS, text, where=whole[0], cause="detached")
    if whole:
        cause = "detached" if cut else "unused"
        text = f"{_named(whole)} get no gradient: the loss does not depend on them. {cut}".rstrip()
        return REACHED.found(Verdict.SUSPECT, text, where=whole[0], cause=cause)
    return REACHED.holds()


def _named(names: Sequence[str]) -> str:
    return _some([f"`{name}`" for name in names])


def _some(things: Sequence[str]) -> str:
    more = len(things) - _SHOWN
    return ", ".join(things[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
