"""WP402: the optimizer's own steps, tried on a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.numerics.arrays import Vector
from wellposed.numerics.floats import format_of
from wellposed.numerics.theta import Gradient, Theta, all_finite
from wellposed.rule import Cause, Rule

_FEW, _MANY = 8, 32
_GROWN, _FELL, _LEAP = 2.0, 0.7, 4.0
_SLOW, _STILL, _LOST = 1e-6, 1e-8, 0.9
_LOWER, _HIGHER = (0.1, 0.01, 0.001), (100.0, 1000.0)
_FAR_LOWER = (
    1e-4,
    1e-5,
    1e-6,
    1e-7,
    1e-8,
    1e-10,
)  # tried one after the other, where none of the others lowers the loss
_SOLVED_BY_STEPS = 1e-3  # of the loss: what is left of it where large steps have done their work
_TELLING = 0.01  # of the loss: a fall that is told from a standstill
_STRIDE = 0.5  # of the weights' size: a first step as long forgets how they were initialised
_CRAWL = _FEW * np.log(2) / 1e4  # of the loss, in a few steps: ten thousand would not halve it


_RATE_LOWER = Remedy("Lower the learning rate until the loss on one batch falls from step to step")
_RATE_HIGHER = Remedy("Raise the learning rate: steps of about a thousandth of the weights are usual")

RATE = Rule(
    id="WP402",
    subject="objective",
    priority=260,
    follows=(
        "WP104",
        "WP604",
        "WP401",
        "WP403",
        "WP404",
        "WP101",
        "WP102",
        "WP303",
        "WP301",
        "WP306",
        "WP202",
        "WP305",
    ),
    title="learning rate against curvature",
    claim=(
        "The optimizer's steps are small enough for the curvature of the loss, and large enough to change the weights."
    ),
    judged=(
        "A few steps of the given optimizer on a copy, all on this batch. They fail where the loss ends not finite, or"
        f" above {_GROWN:g} times what it was, while {_LOWER[0]:g} or {_LOWER[1]:g} times the learning rate (or less)"
        " lowers it; for gradient descent the largest eigenvalue of the Hessian tells how small it must be (learning"
        " rate times eigenvalue below 2). They fail too where the step is below half a unit in the last place of most"
        " weights, so that nothing changes, or where the optimizer's own arithmetic makes NaN. Suspect are steps of"
        " which ten thousand would not move a weight by a hundredth of its size, a first step of more than half the"
        " weights' size where a smaller rate gets further, steps that hardly lower the loss where a hundred or a"
        " thousand times the rate does, and weight decay that moves weights further than the gradient does. Without an"
        " optimizer there is nothing to judge."
    ),
    causes=(
        Cause(
            "too-large",
            "The steps overshoot: the loss grows from step to step.",
            "Divide the learning rate by ten.",
            (_RATE_LOWER,),
            treatment="lower-rate",
        ),
        Cause(
            "too-small",
            "The steps hardly move the weights.",
            "Print (lr * grad).norm() / weight.norm().",
            (_RATE_HIGHER,),
            treatment="raise-rate",
        ),
        Cause(
            "rounded-away",
            "The steps are smaller than the gaps between the numbers of the weights' dtype, so the weights stay as they"
            " are.",
            "",
            (Remedy("Raise the learning rate, or keep the weights in float32"),),
            treatment="raise-rate",
        ),
        Cause(
            "decay",
            "Weight decay outweighs the gradient: the weights shrink whatever the data say.",
            "Print weight_decay * weight.norm() and grad.norm().",
            (Remedy("Lower the weight decay", "weight_decay=1e-4"),),
        ),
        Cause(
            "not-finite",
            "The optimizer divides by what is 0, or leaves the range of the weights' dtype.",
            "Print the parameters after one step.",
            (
                Remedy(
                    "Keep the weights in float32 and cast in the forward pass",
                    'with torch.autocast("cuda", dtype=torch.float16):\n    loss = criterion(model(inputs), targets)',
                ),
                Remedy("Give the optimizer an eps that the dtype can hold", "eps=1e-4"),
            ),
        ),
        Cause(
            "ascent",
            "The steps raise the loss however small they are: it is maximised.",
            "",
            (Remedy("Turn the sign of the loss"),),
        ),
    ),
    references=("LeCun et al.: Efficient BackProp, 1998", "Cohen et al. 2021, arXiv 2103.00065"),
    needs=("loss", "gradient"),
    judge=lambda measured: check_rate(measured.loss, measured.theta, measured.optimizer_steps, measured.gradient),
)


@dataclass(frozen=True)
class Steps:
    """`course` gives theta after each of several numbers of steps, `stepped(n, factor)` after n with `factor` times the
    learning rate; `value` is the loss there, `named` theta's parts, `moved` the
    size of each matrix at one point and its distance from there to another.

    `undecayed` is theta after one step without weight decay, None where there is none. `rate` is the learning rate,
    `eigenvalue` the largest of the Hessian where the optimizer is plain gradient descent, else None.
    """

    course: Callable[[Sequence[int]], Iterator[Theta]]
    stepped: Callable[[int, float], Theta]
    undecayed: Callable[[], Theta | None]
    value: Callable[[Theta], float]
    named: Callable[[Theta], Mapping[str, Vector]]
    moved: Callable[[Theta, Theta], Mapping[str, tuple[float, float]]]
    rate: float
    dtype: str
    eigenvalue: Callable[[], float] | None


def check_rate(loss: float, theta: Theta, steps: Steps | None, gradient: Gradient) -> Finding:
    if steps is None:
        return RATE.not_applicable(
            "The optimizer is not known, so its steps cannot be tried.",
            remedies=(Remedy("Give it", "wp.TorchProblem(model, loss, batch, optimizer=optimizer)"),),
        )
    if not np.isfinite(loss):
        return RATE.undecided("The loss is not finite, so no step can be judged.")
    course = steps.course((1, _FEW))
    after = next(course)
    if steps.rate and not all_finite(after) and not all_finite(steps.stepped(1, _LOWER[-1])):
        text = (
            "The first step makes weights NaN or infinite, at a thousandth of the learning rate too, although loss and"
            f" gradient are finite: the optimizer's own arithmetic fails in {steps.dtype} (Adam's eps of 1e-8 is 0 in"
            " float16)."
        )
        return RATE.found(Verdict.FAILS, text, where="optimizer", cause="not-finite")
    stride = _size(theta, after, steps)
    still = _still(theta, after, stride, steps)
    if still is not None:
        return still
    first, decayed = steps.value(after), _decayed(theta, after, steps)
    del after  # which is as large as the model
    few = steps.value(next(course))
    if np.isfinite(few) and few <= loss and first - loss <= _LEAP * abs(loss) and not stride > _STRIDE:
        other = decayed or (_crawling(loss, few, theta, steps) if loss - few < _CRAWL * abs(loss) else None)
        fell = (Evidence(f"loss after {_FEW} steps over that before", _over(few, loss), "loss", reference="below 1"),)
        return other or RATE.holds(fell)
    return _overshooting(loss, first, few, stride, steps, lambda: _climbs(theta, gradient, steps))


def _climbs(theta: Theta, gradient: Gradient, steps: Steps) -> bool:
    """Whether a step goes up the gradient."""
    before, after = steps.named(theta), steps.named(steps.stepped(1, _LOWER[-1]))
    inner = (np.vdot(after[name] - before[name], part) for name, part in gradient.items() if part is not None)
    return float(sum(inner)) > 0


def _overshooting(
    loss: float, first: float, few: float, stride: float, steps: Steps, climbs: Callable[[], bool]
) -> Finding:
    """Steps that raise the loss, leap or run away: whether smaller ones get further."""
    grown = not np.isfinite(few) or few - loss > (_GROWN - 1) * abs(loss)
    taken, many = (_FEW, few) if grown else (_MANY, steps.value(steps.stepped(_MANY, 1.0)))
    lower = _lower(loss, many, steps)
    evidence = [
        Evidence(f"loss after {taken} steps on this batch", many, "loss", reference=f"below the {loss:.4g} before"),
        Evidence("loss before", loss, "loss"),
        Evidence("loss after the first step on this batch", first, "loss"),
        *([] if grown else [Evidence(f"loss after {_FEW} steps", few, "loss")]),
        *(
            Evidence(f"loss after {_MANY} steps at {factor:g} times the rate", value, "loss")
            for factor, value in lower.items()
        ),
    ]
    good = {factor: value for factor, value in lower.items() if _falls(value, loss)}
    if not good:
        if all(value > loss for value in lower.values()) and climbs():
            text = "The optimizer's steps raise the loss, however small they are."
            return RATE.found(Verdict.SUSPECT, text, where="optimizer", cause="ascent", evidence=tuple(evidence))
        return RATE.undecided(
            "Neither this learning rate nor a smaller one lowers the loss on this batch.", evidence=tuple(evidence)
        )
    best = min(good, key=good.__getitem__)
    worse = (
        not np.isfinite(many) or many - loss > (_GROWN - 1) * abs(loss) or (many >= loss and good[best] <= _FELL * loss)
    )
    leaping = stride > _STRIDE and good[best] <= _FELL * many and many > _SOLVED_BY_STEPS * loss
    if stride > _STRIDE:
        evidence.append(
            Evidence(
                "size of the first step over that of the weights (median)", stride, reference="about 1e-3, below 0.5"
            )
        )
    if not worse and not leaping and many < loss and first - loss <= _LEAP * abs(loss):
        return RATE.holds(tuple(evidence))
    if steps.eigenvalue is not None:
        largest = steps.eigenvalue()
        if np.isfinite(largest):
            evidence.append(
                Evidence(
                    "learning rate times the largest eigenvalue of the Hessian",
                    steps.rate * largest,
                    reference="below 2",
                )
            )
    text = (
        f"The first step takes the loss from {loss:.4g} to {first:.4g}, {taken} steps on this batch to {many:.4g}; with"
        f" {best:g} times the learning rate{_told(best, steps.rate)} it is {good[best]:.4g} after"
        f" {_MANY}."
    )
    found = RATE.found(
        Verdict.FAILS if worse else Verdict.SUSPECT,
        text,
        where="optimizer",
        cause="too-large",
        evidence=tuple(evidence),
    )
    return replace(found, remedies=(_at(best, steps.rate, "Lower"),))


def _lower(loss: float, many: float, steps: Steps) -> dict[float, float]:
    """The loss after many steps at smaller rates, until one gets clearly further than the steps as they are (which take
    it to `many`); far smaller rates where none of these lowers it.
    """
    lower: dict[float, float] = {}
    for factor in _LOWER:
        lower[factor] = value = steps.value(steps.stepped(_MANY, factor))
        if value <= _FELL * loss and not value > _FELL * many:
            return lower
    if any(_falls(value, loss) for value in lower.values()):
        return lower
    if not lower[_LOWER[-1]] - loss <= (_GROWN - 1) * abs(loss):
        for factor in _FAR_LOWER:
            lower[factor] = steps.value(steps.stepped(_MANY, factor))
            if _falls(lower[factor], loss):
                break
    return lower


def _falls(value: float, loss: float) -> bool:
    return value < loss - _TELLING * abs(loss)


def _still(theta: Theta, moved: Theta, stride: float, steps: Steps) -> Finding | None:
    """Whether a step (of size `stride`, to `moved`) changes the weights too little to be of use, or by nothing that
    their dtype holds.
    """
    if steps.rate == 0:
        return RATE.found(
            Verdict.FAILS, "The learning rate is 0: no step changes anything.", where="optimizer", cause="too-small"
        )
    if stride > _SLOW:
        return None
    before, after, far = (steps.named(at) for at in (theta, moved, steps.stepped(1, 1e3)))
    trained = [name for name, weight in before.items() if weight.any() and (far[name] != weight).any()]
    if not trained:
        return RATE.undecided(
            "No step of any size changes the weights: there is no gradient, or the optimizer does not know them."
        )
    changes = {
        name: after[name] - before[name] for name in trained if before[name].ndim > 1 and np.isfinite(after[name]).all()
    }
    if not changes:
        return None
    ratio = float(
        np.median([np.linalg.norm(change) / np.linalg.norm(before[name]) for name, change in changes.items()])
    )
    # Entries that no step moves, such as rows of an embedding that the batch leaves out, say nothing.
    unmoved = float(np.median([np.mean(change[far[name] != before[name]] == 0) for name, change in changes.items()]))
    evidence = (
        Evidence(
            "size of a step over that of the weights (median)", ratio, "optimizer", reference="about 1e-3, above 1e-6"
        ),
        Evidence("share of entries that a step leaves as they are (median)", unmoved, "optimizer", reference="0"),
    )
    if ratio > _SLOW:
        return None
    if unmoved > _LOST:
        text = (
            f"A step leaves {100 * unmoved:.0f} % of the weights as they are: it is smaller than the gaps between"
            f" numbers of {steps.dtype} (about {format_of(steps.dtype).eps:.1g} of their size)."
        )
        return RATE.found(Verdict.FAILS, text, where="optimizer", cause="rounded-away", evidence=evidence)
    text = (
        f"A step moves the weights by {ratio:.2g} of their size: ten thousand such steps move them by"
        f" {1e4 * ratio:.2g}."
    )
    return RATE.found(
        Verdict.FAILS if ratio < _STILL else Verdict.SUSPECT,
        text,
        where="optimizer",
        cause="too-small",
        evidence=evidence,
    )


def _decayed(theta: Theta, after: Theta, steps: Steps) -> Finding | None:
    """Whether weight decay makes more of a step than the gradient does."""
    bare = steps.undecayed()
    if bare is None:
        return None
    own, by_decay = steps.moved(theta, bare), steps.moved(bare, after)
    ratios = [by_decay[name][1] / step for name, (_, step) in own.items() if step]
    share = float(np.median(ratios)) if ratios else 0.0
    if share <= 1:
        return None
    evidence = (
        Evidence(
            "weight decay's part of the first step over the gradient's (median)",
            share,
            "optimizer",
            reference="below 1",
        ),
    )
    text = (
        f"Weight decay moves the weights {share:.3g} times as far as the gradient does: they shrink whatever the data"
        " say."
    )
    return RATE.found(Verdict.SUSPECT, text, where="optimizer", cause="decay", evidence=evidence)


def _crawling(loss: float, few: float, theta: Theta, steps: Steps) -> Finding | None:
    """Whether steps many times larger would lower the loss where these hardly do."""
    faster: dict[float, float] = {}
    for factor in _HIGHER:
        faster[factor] = steps.value(steps.stepped(_MANY, factor))
        if faster[factor] <= _FELL * loss:
            break
    good = {factor: value for factor, value in faster.items() if value <= _FELL * loss}
    if loss <= 0 or not good or any(weight.ndim > 1 and not weight.any() for weight in steps.named(theta).values()):
        return None  # what starts at zero needs a step before anything behind it can move
    best = min(good, key=good.__getitem__)
    evidence = (
        Evidence(f"loss after {_FEW} steps over that before", _over(few, loss), "loss"),
        *(
            Evidence(f"loss after {_MANY} steps at {factor:g} times the rate", value, "loss")
            for factor, value in faster.items()
        ),
    )
    text = (
        f"{_FEW} steps on this batch lower the loss by {(loss - few) / loss:.1g} of itself; {_MANY} at {best:g} times"
        f" the learning rate{_told(best, steps.rate)} take it from {loss:.4g} to"
        f" {good[best]:.4g}."
    )
    found = RATE.found(Verdict.SUSPECT, text, where="optimizer", cause="too-small", evidence=evidence)
    return replace(found, remedies=(_at(best, steps.rate, "Raise"),))


def _size(theta: Theta, after: Theta, steps: Steps) -> float:
    """The size of a step over that of the weights, in the median over matrices; 0 where there is none."""
    sizes = steps.moved(theta, after).values()
    return float(np.median([step / size for size, step in sizes if size and step] or [0.0]))


def _at(factor: float, rate: float, word: str) -> Remedy:
    """At that many times the rate, in a unit of its own where it is not known."""
    new = float(f"{factor * rate if isfinite(rate) else factor:.3g}")
    code = f"lr={new:g}" if isfinite(rate) else f"lr = {new:g} * lr"
    return Remedy(f"{word} the learning rate", code, rate=new)


def _told(factor: float, rate: float) -> str:
    return f" ({factor * rate:.3g} for {rate:.3g})" if isfinite(rate) else ""


def _over(after: float, before: float) -> float:
    return after / before if before else float("nan")
