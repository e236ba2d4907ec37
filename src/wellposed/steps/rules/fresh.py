"""WP601: whether the gradient that a step takes is this step's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from wellposed.backends.watched import SeenStep, Watched
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.printable import listed
from wellposed.rule import Cause, Rule

_UNDIVIDED = 1.5  # times the mean over micro-batches: between once, and twice for two of them

FRESH = Rule(
    id="WP601",
    subject="step",
    priority=12,
    title="the gradient is not this step's",
    claim="Each step takes the gradient of the losses since the step before, all of it and no other.",
    judged=(
        "For every tensor of an optimizer it is followed which backward passes its gradient came from since it was"
        " cleared. At a step it must have those since the optimizer's last step: gradients that are older fail, and so"
        " do passes whose gradient was cleared before the step had it. Micro-batches that are accumulated, each with"
        f" the mean over its rows, are to add up to a mean: from {_UNDIVIDED:g} times that on the step is suspect, if"
        " its size depends on the gradient's scale."
    ),
    causes=(
        Cause(
            "never-cleared",
            "Nothing clears the gradients: each step adds this step's to those of all steps before.",
            "Print p.grad.norm() before backward(): it must be None or 0.",
            (Remedy("Clear them before each backward pass, or after each step", "optimizer.zero_grad()"),),
        ),
        Cause(
            "cleared-too-early",
            "Gradients are cleared between the backward pass and the step: what was computed is lost.",
            "",
            (
                Remedy(
                    "Clear them after the step, or before the first backward pass of the next one",
                    "loss.backward()\noptimizer.step()\noptimizer.zero_grad()",
                ),
            ),
        ),
        Cause(
            "other-optimizer",
            "Something is cleared just there, but it is another optimizer or model than the one that steps.",
            "",
            (Remedy("Clear the gradients of the optimizer that steps next"),),
        ),
        Cause(
            "not-divided",
            "The losses of k accumulated micro-batches are means and are added up: the gradient, and with it the rate,"
            " is k times as large.",
            "Compare the gradient's norm with that of one batch of all rows.",
            (Remedy("Divide each loss by their number", "(loss / accumulation_steps).backward()"),),
        ),
    ),
    judge=lambda watched: _judge(watched),
    references=("torch.optim.Optimizer.zero_grad", "FIELD: gradient accumulation, transformers!34191"),
)


def _judge(watched: Watched) -> Finding:
    for found in (_stale(watched), _lost(watched), _undivided(watched)):
        if found is not None:
            return found
    if not watched.steps:
        return FRESH.not_applicable("No optimizer stepped.")
    return FRESH.holds()


def _name(watched: Watched, step: SeenStep) -> str:
    return watched.optimizers[step.optimizer].name


def _lines(watched: Watched, numbers: Sequence[int]) -> str:
    return listed(list(dict.fromkeys(watched.backwards[number].place for number in numbers)))


def _stale(watched: Watched) -> Finding | None:
    for step in watched.steps:
        if not step.stale or not step.stale_share:
            continue
        name = _name(watched, step)
        others = [cleared for cleared in step.cleared if cleared != name]
        cause = "other-optimizer" if others else "never-cleared"
        instead = f" What was cleared before it: {listed([f'`{other}`' for other in others])}." if others else ""
        text = (
            f"Gradients are not cleared between steps: when `{name}` steps at {step.place}, those of"
            f" {100 * step.stale_share:.0f} % of its tensors still hold what backward passes before its last step left"
            f" ({_lines(watched, step.stale)}).{instead}"
        )
        number = sum(bool(other.stale) for other in watched.steps if other.optimizer == step.optimizer)
        count = sum(other.optimizer == step.optimizer for other in watched.steps)
        evidence = (
            Evidence("steps with older gradients", number, step.place, "", f"0 of {count}"),
            Evidence("tensors that have them", step.stale_share, step.place, "", "0"),
        )
        return FRESH.found(Verdict.FAILS, text, where=step.place, cause=cause, evidence=evidence)
    return None


def _lost(watched: Watched) -> Finding | None:
    for step in watched.steps:
        if not step.lost or not step.lost_from:
            continue
        kept = {watched.backwards[number].site for number in step.own}
        sites = {watched.backwards[number].site for number in step.lost_from}
        trains = all(watched.backwards[number].trains for number in step.lost_from)
        if step.own and not sites & kept and not trains:  # a backward pass of another kind, for something else
            continue
        of = f"{len(step.lost_from)} of {len(step.lost_from) + len(step.own)} backward passes"
        text = (
            f"When `{_name(watched, step)}` steps at {step.place}, the gradient of {of} since its last step"
            f" ({_lines(watched, step.lost_from)}) has been cleared: it steps"
            f" {'without it' if step.own else 'with none'}."
        )
        evidence = (Evidence("tensors whose gradient was lost", step.lost, step.place, "", "0"),)
        return FRESH.found(Verdict.FAILS, text, where=step.place, cause="cleared-too-early", evidence=evidence)
    return None


def _undivided(watched: Watched) -> Finding | None:
    for step in watched.steps:
        counted = Counter(watched.backwards[number].site for number in step.own)
        site, count = max(counted.items(), key=lambda pair: pair[1], default=(0, 0))
        known = next((seen for seen in watched.backwards if seen.site == site and seen.average is not None), None)
        if count < 2 or known is None or not known.average:
            continue
        place, factor = known.place, known.factor / step.scale
        if not factor * count >= _UNDIVIDED:
            continue
        optimizer = watched.optimizers[step.optimizer]
        costs = not optimizer.scale_free or step.clip_limit == step.clip_limit
        text = (
            f"{count} micro-batches are accumulated at {place}, and the mean loss of each is multiplied by"
            f" {factor:.3g}: their gradients add up to {factor * count:.3g} times that of their mean."
        )
        if not costs:
            text += f" {optimizer.kind} takes the same steps whatever the scale, so this costs little."
        evidence = (Evidence("gradient over that of the mean loss", factor * count, place, "", "1"),)
        verdict = Verdict.SUSPECT if costs else Verdict.HOLDS
        return FRESH.found(verdict, text, where=place, cause="not-divided", evidence=evidence)
    return None
