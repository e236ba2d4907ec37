"""WP604: the schedule of the learning rate, and the optimizer's arithmetic."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from wellposed.backends.watched import SeenStep, Watched
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_STEPS = 3  # watched steps from which on what is the same at each of them is no beginning
_HALF = 0.5  # of the entries
_NEAR_TOP = 0.1  # of the largest rate: steps of a warm-up below it do not count
_LEAST_RATE = 1e-6  # below it nobody trains: a warm-up or a look for the right rate begins there
_LOST = 0.25  # of the entries: a quarter of what the gradient says is not heard

SCHEDULE = Rule(
    id="WP604",
    subject="step",
    priority=37,
    title="the schedule and the optimizer's arithmetic",
    claim="The learning rate follows its schedule from the first step on, and what it asks for arrives in the weights.",
    judged=(
        "A schedule that has been stepped before the optimizer's first step, or twice for each of its steps, is"
        f" suspect. A rate of zero at each of at least {_STEPS} steps fails; a schedule that counts steps and is not"
        " stepped with them is suspect. So are more than"
        f" {100 * _LOST:g} % of the entries with a gradient whose stored number stays the same though the rate is not"
        f" zero, and more than {100 * _HALF:g} % whose gradient's root mean square is below Adam's eps."
    ),
    causes=(
        Cause(
            "too-early",
            "The schedule runs ahead of the optimizer: it is stepped before the first step, or more than once a step.",
            "Print scheduler.last_epoch beside the number of optimizer steps.",
            (Remedy("Step it once, after the optimizer", "optimizer.step()\nscheduler.step()"),),
        ),
        Cause(
            "never-moves",
            "The rate stays where the schedule begins: it is zero, or is counted in steps and stepped once an epoch.",
            "Print optimizer.param_groups[0]['lr'] over the first steps.",
            (
                Remedy(
                    "Step the schedule in the unit that it counts in", "scheduler.step()  # after each optimizer.step()"
                ),
            ),
        ),
        Cause(
            "below-rounding",
            "Updates are less than half a unit in the last place of the weights: adding them changes nothing.",
            "(p.detach() != before).float().mean()",
            (
                Remedy(
                    "Keep the weights in float32 and compute in bfloat16",
                    "with torch.autocast('cuda', torch.bfloat16): ...",
                ),
                Remedy("Or round stochastically, or sum with Kahan's compensation"),
            ),
        ),
        Cause(
            "eps-dominates",
            "Adam divides by sqrt(v) + eps, and eps is the larger: steps are shorter than the rate says, and small"
            " gradients are not scaled up.",
            "optimizer.param_groups[0]['eps']",
            (
                Remedy(
                    "Take a smaller eps; was another argument meant?",
                    "torch.optim.AdamW(params, lr=1e-3, eps=1e-8, weight_decay=1e-2)",
                ),
            ),
        ),
    ),
    judge=lambda watched: _judge(watched),
    references=(
        "torch.optim.lr_scheduler",
        "Wortsman et al. 2023, arXiv 2309.14322: eps and update size",
        "Zamirai et al. 2020, arXiv 2010.06192: updates lost in bfloat16",
    ),
)


def _judge(watched: Watched) -> list[Finding]:
    if not watched.steps:
        return [SCHEDULE.not_applicable("No optimizer stepped.")]
    judged = (_early(watched), _still(watched), _lost(watched), _eps(watched))
    return [found for found in judged if found is not None] or [SCHEDULE.holds()]


def _of(watched: Watched, optimizer: int) -> list[SeenStep]:
    return [step for step in watched.steps if step.optimizer == optimizer]


def _early(watched: Watched) -> Finding | None:
    for number, schedule in enumerate(watched.schedules):
        name = watched.optimizers[schedule.optimizer].name
        where = schedule.place or name
        steps = _of(watched, schedule.optimizer)
        if steps and schedule.before == 1:  # more often is a schedule that is wound on to where a run is resumed
            text = (
                f"The schedule ({schedule.kind}) of `{name}` is stepped before the optimizer's first step: the first"
                " value of the rate is never used, and all others come one early."
            )
            evidence = (Evidence("steps of the schedule before the first step", schedule.before, where, "", "0"),)
            return SCHEDULE.found(Verdict.SUSPECT, text, where=where, cause="too-early", evidence=evidence)
        counts = [step.schedules[number] for step in steps if number < len(step.schedules)]
        per_step = [after - before for before, after in pairwise(counts)]
        if len(per_step) >= _STEPS - 1 and min(per_step) > 1:
            text = f"The schedule ({schedule.kind}) of `{name}` is stepped {median(per_step):g} times for each step."
            evidence = (Evidence("steps of the schedule for each step", median(per_step), where, "", "1"),)
            return SCHEDULE.found(Verdict.SUSPECT, text, where=where, cause="too-early", evidence=evidence)
    return None


def _still(watched: Watched) -> Finding | None:
    for index, optimizer in enumerate(watched.optimizers):
        steps = _of(watched, index)
        if len(steps) >= _STEPS and not any(rate for step in steps for rate in step.rates):
            text = f"The learning rate of `{optimizer.name}` is zero at each of {len(steps)} steps: nothing is trained."
            evidence = (Evidence("largest rate so far", 0.0, optimizer.name, "", "above 0"),)
            return SCHEDULE.found(Verdict.FAILS, text, where=steps[0].place, cause="never-moves", evidence=evidence)
    for number, schedule in enumerate(watched.schedules):
        steps = _of(watched, schedule.optimizer)
        counts = {step.schedules[number] for step in steps if number < len(step.schedules)}
        if len(steps) >= _STEPS and len(counts) == 1 and schedule.counts_steps:
            name = watched.optimizers[schedule.optimizer].name
            text = (
                f"The schedule ({schedule.kind}) of `{name}` is made for {schedule.length} steps, a multiple of the"
                f" {schedule.batches} batches of an epoch, and is not stepped with the optimizer: the rate stays at"
                f" {steps[-1].rates[0]:.3g}."
            )
            evidence = (Evidence("steps of the schedule", 0, name, "", f"{len(steps)}"),)
            return SCHEDULE.found(Verdict.SUSPECT, text, where=name, cause="never-moves", evidence=evidence)
    return None


def _lost(watched: Watched) -> Finding | None:
    for index, optimizer in enumerate(watched.optimizers):
        steps = [step for step in _of(watched, index) if any(step.rates) and step.unmoved == step.unmoved]
        if not steps:
            continue
        top = max(max(step.rates) for step in steps)
        if top < _LEAST_RATE:
            continue
        unmoved = median([step.unmoved for step in steps if max(step.rates) >= _NEAR_TOP * top])
        if unmoved > _LOST:
            kind = f" in {optimizer.coarse}" if optimizer.coarse else ""
            text = (
                f"At a rate of {top:.3g}, {100 * unmoved:.0f} % of the entries of `{optimizer.name}` that have a"
                f" gradient keep their stored number: the update is below half a unit in the last place{kind}."
            )
            evidence = (
                Evidence("entries that stay the same (median)", unmoved, optimizer.name, "", f"below {_LOST:g}"),
            )
            return SCHEDULE.found(
                Verdict.SUSPECT, text, where=optimizer.name, cause="below-rounding", evidence=evidence
            )
    return None


def _eps(watched: Watched) -> Finding | None:
    for index, optimizer in enumerate(watched.optimizers):
        known = [step.below_eps for step in _of(watched, index) if step.below_eps == step.below_eps]
        if known and median(known) > _HALF:
            text = (
                f"For {100 * median(known):.0f} % of the entries of `{optimizer.name}` the gradient's root mean square"
                f" is below eps ({optimizer.eps:g}): the step is eps's, and less than half of what the rate says."
            )
            evidence = (Evidence("entries below eps (median)", median(known), optimizer.name, "", f"below {_HALF:g}"),)
            return SCHEDULE.found(Verdict.SUSPECT, text, where=optimizer.name, cause="eps-dominates", evidence=evidence)
    return None
