"""WP603: what is done to the gradient between the backward pass and the step."""

from __future__ import annotations

from statistics import median

from wellposed.backends.watched import SeenStep, Watched
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_CUT = 0.01  # of the gradient that is left: a clip this far below its norm is a rate, not a guard
_STILL = 1e-4  # update over weights: a tenth of what is usual

CLIPPING = Rule(
    id="WP603",
    subject="step",
    priority=33,
    title="clipping and scaling of the gradient",
    claim="Gradients are clipped after they are unscaled and before the step, and seldom by much.",
    judged=(
        "The norm of the gradient is taken after each backward pass and again at the step. A clip after the step, or of"
        f" a gradient that a scaler still multiplies, fails. Every step cut to below {100 * _CUT:g} % of its gradient,"
        f" with updates below {_STILL:g} of the weights, is suspect. Every step skipped by the scaler fails."
    ),
    causes=(
        Cause(
            "clipped-to-nothing",
            "The limit is far below the gradient's norm: every step is as short as the limit, whatever the loss says.",
            "Print what clip_grad_norm_ returns: the norm before.",
            (Remedy("Set the limit near the norm that is usual, or leave the clip out"),),
        ),
        Cause(
            "before-unscale",
            "The gradient is clipped while the scaler still multiplies it: the limit means its value over the scale.",
            "",
            (
                Remedy(
                    "Unscale it first",
                    "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n"
                    "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
                    "scaler.step(optimizer)",
                ),
            ),
        ),
        Cause(
            "after-step",
            "The gradient is clipped after the step has been taken: the clip does nothing.",
            "",
            (Remedy("Clip between backward() and step()"),),
        ),
        Cause(
            "overflow",
            "The scaled gradient is not finite at any step: all of them are skipped.",
            "",
            (Remedy("Begin with a smaller scale, or look for what overflows: wellposed check, WP207"),),
        ),
    ),
    judge=lambda watched: _judge(watched),
    references=("Pascanu, Mikolov, Bengio 2013", "Micikevicius et al. 2018: mixed precision training"),
)


def _judge(watched: Watched) -> Finding:
    for found in (_scaled(watched), _late(watched), _nothing(watched), _skipped(watched)):
        if found is not None:
            return found
    if not watched.steps:
        return CLIPPING.not_applicable("No optimizer stepped.")
    return CLIPPING.holds(_shares(watched))


def _clips(watched: Watched) -> list[SeenStep]:
    return [step for step in watched.steps if step.raw > 0 and step.norm == step.norm]


def _shares(watched: Watched) -> tuple[Evidence, ...]:
    steps = [step for step in _clips(watched) if step.clip_limit == step.clip_limit]
    if not steps:
        return ()
    cut = [step.norm / step.raw for step in steps]
    clipped = sum(left < 1 - 1e-4 for left in cut)
    return (
        Evidence("share of steps clipped", clipped / len(steps), steps[0].place),
        Evidence("what is left of the gradient (median)", median(cut), steps[0].place),
    )


def _scaled(watched: Watched) -> Finding | None:
    for step in watched.steps:
        if step.clipped_scaled:
            text = (
                f"The gradient is clipped at {step.clipped_scaled} while the scaler still multiplies it by"
                f" {step.scale:g}: the limit works like {step.clip_limit / step.scale:.3g} where"
                f" {step.clip_limit:g} is written."
            )
            evidence = (Evidence("scale of the gradient when it is clipped", step.scale, step.clipped_scaled, "", "1"),)
            return CLIPPING.found(
                Verdict.FAILS, text, where=step.clipped_scaled, cause="before-unscale", evidence=evidence
            )
    return None


def _late(watched: Watched) -> Finding | None:
    late = [step for step in watched.steps if step.clipped_late]
    if not late or any(step.clip_limit == step.clip_limit for step in watched.steps):
        return None
    place = late[0].clipped_late
    text = f"The gradient is clipped at {place}, after the step that it is meant for: the clip does nothing."
    evidence = (Evidence("steps clipped before they are taken", 0, place, "", f"{len(watched.steps)}"),)
    return CLIPPING.found(Verdict.FAILS, text, where=place, cause="after-step", evidence=evidence)


def _nothing(watched: Watched) -> Finding | None:
    steps = [step for step in _clips(watched) if any(step.rates)]
    if len(steps) < 2:
        return None
    left = [step.norm / step.raw for step in steps]
    moved = [step.moved for step in steps if step.moved == step.moved]
    if max(left) > _CUT or not moved or max(moved) > _STILL:
        return None
    text = (
        f"Every step is cut to {100 * median(left):.2g} % of its gradient, and moves the weights by"
        f" {median(moved):.2g} of their size: training stands still."
    )
    evidence = (
        Evidence("what is left of the gradient (median)", median(left), steps[0].place, "", f"above {_CUT:g}"),
        Evidence("update over weights (median)", median(moved), steps[0].place, "", "about 1e-3"),
    )
    return CLIPPING.found(Verdict.SUSPECT, text, where=steps[0].place, cause="clipped-to-nothing", evidence=evidence)


def _skipped(watched: Watched) -> Finding | None:
    if watched.steps or watched.skipped < 4:  # a scaler begins too high, and comes down in a few steps
        return None
    text = f"The scaler skipped each of {watched.skipped} steps: the scaled gradient is not finite."
    return CLIPPING.found(Verdict.FAILS, text, where=watched.skipped_at, cause="overflow")
