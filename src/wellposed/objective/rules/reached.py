"""WP403: which parameters training reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wellposed.backends.measured import Uncut
from wellposed.findings import Finding, Remedy, Verdict
from wellposed.numerics.theta import Gradient, Layout, missing
from wellposed.printable import listed
from wellposed.rule import NEGLIGIBLE, Cause, Rule

REACHED = Rule(
    id="WP403",
    subject="objective",
    priority=30,
    cause_follows={"detached": ("WP409",), "not-in-optimizer": ("WP602",)},
    title="parameters unused, detached or not in the optimizer",
    claim="Every parameter of the model that should be trained gets a gradient and is in the optimizer.",
    judged=(
        "A parameter that the optimizer does not know is never trained: none of them known fails, some of them known"
        " is suspect, as it may be on purpose. Layers that the loss depends on and that are no parameters of the model"
        f" (kept in a plain list) fail. Layers that the loss does not depend on are suspect from {100 * NEGLIGIBLE:g} %"
        " of the model's parameters on, and a note below."
    ),
    causes=(
        Cause(
            "not-in-optimizer",
            "The optimizer was built from other parameters: of another model, or before layers were replaced.",
            "",
            (
                Remedy(
                    "Build the optimizer when the model is complete",
                    "optimizer = type(optimizer)(model.parameters(), lr=optimizer.defaults['lr'])",
                ),
            ),
            treatment="train-all",
        ),
        Cause(
            "unregistered",
            "Layers in a plain list or dictionary are no part of the model: they have no place in parameters().",
            "len(list(model.parameters()))",
            (Remedy("Keep them in a ModuleList or ModuleDict", "self.layers = nn.ModuleList(layers)"),),
        ),
        Cause(
            "unused",
            "The loss does not depend on these parameters: a layer that is never called, or whose output is dropped.",
            "",
            (Remedy("Use the layer, or remove it"),),
        ),
        Cause(
            "detached",
            "The graph is cut by a detach, no_grad, item or a copy in NumPy between these parameters and the loss.",
            "",
            (Remedy("Take out what cuts it"),),
        ),
    ),
    needs=("loss", "gradient"),
    judge=lambda measured: check_reached(
        measured.problem.layout,
        measured.gradient,
        measured.problem.training.left_out(),
        measured.problem.training.unregistered(),
        measured.uncut,
        measured.matters,
        measured.redrawn,
    ),
)


def check_reached(
    layout: Layout,
    gradient: Gradient,
    left_out: Sequence[str],
    unregistered: Sequence[str],
    uncut: Uncut | None,
    matters: Callable[[Sequence[str]], bool],
    redrawn: Callable[[], Iterator[Gradient]],
) -> Finding:
    """`left_out` of the optimizer, `unregistered` at the model; `uncut` is the gradient with nothing cut, where
    something is; `matters` whether the loss changes when the parameters of these names are moved by their own size;
    `redrawn` gives the gradient for other random numbers.
    """
    if unregistered:
        return _unlisted(unregistered)
    if left_out:
        return _unknown_to_the_optimizer(list(gradient), left_out)
    unused = missing(gradient)
    if len(unused) == len(gradient):
        text = f"No parameter gets a gradient. {'' if uncut is None else uncut.cuts}".rstrip()
        return REACHED.found(Verdict.FAILS, text, where="model", cause="detached")
    used = {_layer(name) for name in gradient if name not in unused}
    whole = [name for name in unused if _layer(name) not in used]
    if not whole:
        return REACHED.holds()
    behind = [name for name in whole if uncut is not None and (uncut.raised or uncut.gradient.get(name) is not None)]
    if behind and uncut is not None:
        text = f"{_named(behind)} get no gradient: the loss does not depend on them. {uncut.cuts}".rstrip()
        return REACHED.found(Verdict.SUSPECT, text, where=behind[0], cause="detached")
    if matters(whole):
        text = (
            f"{_named(whole)} get no gradient, and yet the loss depends on them: it changes when they are moved by"
            " their own size. A step, an argmax, a rounding, or a way around autograd lies between."
        )
        return REACHED.found(Verdict.FAILS, text, where=whole[0], cause="detached")
    for other in redrawn():  # layers that are left out at random get theirs at another step
        whole = [name for name in whole if name in set(missing(other))]
        if not whole:
            return REACHED.holds()
    verdict = Verdict.HOLDS if layout.share(whole) < NEGLIGIBLE else Verdict.SUSPECT
    text = f"{_named(whole)} get no gradient: the loss does not depend on them."
    return REACHED.found(verdict, text, where=whole[0], cause="unused")


def _unlisted(names: Sequence[str]) -> Finding:
    text = (
        f"The loss depends on {_named(names)}, which the model holds but does not list among its parameters(): an"
        " optimizer built from these never trains them, and they are not saved or moved with the model."
    )
    return REACHED.found(Verdict.FAILS, text, where=names[0], cause="unregistered")


def _unknown_to_the_optimizer(names: Sequence[str], left_out: Sequence[str]) -> Finding:
    known, everything = len(names) - len(left_out), len(left_out) == len(names)
    what = (
        "no parameter of the model" if everything else f"{known} of {len(names)} parameters and not {_named(left_out)}"
    )
    text = f"The optimizer knows {what}: what it does not know stays as it is."
    verdict = Verdict.FAILS if everything else Verdict.SUSPECT
    return REACHED.found(verdict, text, where=left_out[0], cause="not-in-optimizer")


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _named(names: Sequence[str]) -> str:
    return listed([f"`{name}`" for name in names])
