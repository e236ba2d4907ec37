"""What could not be seen of a gradient, where nothing wrong was: undecided, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients import tensor
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.quick_check import VISIBLE
from wellposed.gradients.rules.noise_floor import NOISE_FLOOR
from wellposed.gradients.rules.wrong import WRONG
from wellposed.numerics.theta import Gradient, Separate

UNSEEN = 0.99
"""Chance: what an error as large as is to be seen would rather have passed than not was not looked at."""
CHANCE = "chance that an error of 1 % of a tensor's gradient was missed"
_NO_PART = 1e-6  # of the whole gradient: an error that costs nothing, as far below what single precision has
_UNEXPLAINED_RATIO = 10.0  # times what is allowed: a joint disagreement that single tensors do not explain


def no_part_of(gradient: Gradient, floors: Mapping[str, float]) -> set[str]:
    """Tensors whose gradient is nothing but rounding beside the whole one and beside that of another tensor of the same
    module, and where an error that is as small would be all that could hide: a bias before a normalisation, which takes
    it away. Where a whole module has next to no gradient, that is another matter.
    """
    if isinstance(gradient, Separate):
        return set()
    sizes = {name: 0.0 if gradient[name] is None else float(np.linalg.norm(gradient[name])) for name in floors}  # type: ignore[arg-type]
    whole = float(np.linalg.norm(list(sizes.values())))
    seen = {name.rpartition(".")[0] for name, floor in floors.items() if floor <= VISIBLE} - {""}
    return {
        name
        for name, floor in floors.items()
        if sizes[name] and floor * sizes[name] < _NO_PART * whole and name.rpartition(".")[0] in seen
    }


def tell_buried(problem: Problem, prober: Prober, buried: dict[str, float], tensors: int) -> Finding:
    worst = max(buried, key=lambda name: buried[name])
    text = (
        f"In {len(buried)} of {tensors} tensors ({tensor.some(list(buried))}) the slope is lost in the"
        f" noise of the loss (in {problem.dtype}): even at best, an error below"
        f" {100 * min(buried.values()):.2g} % of it would not be seen."
    )
    evidence = (
        Evidence("smallest relative error that could be seen", buried[worst], worst, reference="below 0.01"),
        Evidence(
            "noise of the loss",
            prober.near.level,
            "loss",
            how="standard deviation, by differences on a fine grid",
        ),
    )
    return NOISE_FLOOR.undecided(text, where=next(iter(buried)), evidence=evidence, remedies=NOISE_FLOOR.remedies)


def tell_not_seen(blind: dict[str, float], tensors: int) -> Finding:
    worst = max(blind, key=lambda name: blind[name])
    text = (
        f"What was measured agrees, but in {len(blind)} of {tensors} tensors ({tensor.some(list(blind))})"
        f" an error of 1 % of the gradient would have been missed with a chance of {100 * blind[worst]:.0f} %."
    )
    evidence = (Evidence(CHANCE, blind[worst], worst, reference=f"below {UNSEEN:g}"),)
    return WRONG.undecided(text, where=next(iter(blind)), evidence=evidence)


def tell_nowhere(joint: list[Probe]) -> Finding:
    probe = max(joint, key=lambda p: abs(p.residual) / p.allowed if p.known else 0.0)
    text = (
        f"Along a direction through all tensors the slope is {probe.measured:.6g}, where {probe.claimed:.6g} is"
        " claimed, but in no single tensor does the gradient disagree by more than the error bar."
    )
    return WRONG.undecided(text, where="all tensors")


def unexplained(joint: list[Probe], closer: list[str]) -> bool:
    far = [
        probe
        for probe in joint
        if probe.known and not probe.slope.kink and abs(probe.residual) > _UNEXPLAINED_RATIO * probe.allowed
    ]
    return bool(closer) and bool(far)


def tell_before(found: list[Finding], nearest: str, others: int) -> list[Finding]:
    """With a word on the tensors that were not looked at, beside the wrong one nearest to the loss."""
    if not others:
        return found
    text = (
        f" It is the nearest to the loss of those that are wrong; the other {others} tensors were not looked at one by"
        " one, and those before it may inherit its error."
    )
    return [replace(f, message=f.message + text) if f.rule == WRONG.id and f.where == nearest else f for f in found]


def tell_left_out(found: list[Finding], others: list[str], *, brief: bool) -> list[Finding]:
    """With a word on tensors that are wrong and are not told of one by one; a brief look has a closer one after it."""
    first = next((f for f in found if f.rule == WRONG.id and f.verdict is Verdict.FAILS), None)
    if not others or first is None:
        return found
    closer = (
        "`wellposed check --full --select WP501` tells of each"
        if brief
        else "errors are inherited by what lies before them, so mend this first and check again"
    )
    text = f" {len(others)} more disagree with the loss ({tensor.some(others)}): {closer}."
    return [replace(f, message=f.message + text) if f is first else f for f in found]
