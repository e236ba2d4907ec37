"""WP411: the mode is the one that training needs, and the one that use needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import nan

from wellposed.backends.structure.shown import Modes, Statistics
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_OFFSET, _RATIO = 0.5, 3.0  # deviations, and times or parts of a variance: beyond them statistics are another data's
_FEWEST_NUMBERS = 4  # that a mean and a variance are taken of
_LEAST_MOMENTUM, _MOST_MOMENTUM = 1e-3, 0.9  # of a running average
_APART = 0.5  # of how far examples are apart: healthy networks have been seen to reach 0.14
_FORGOTTEN = 0.01  # share of the first statistics in the running ones

MODE = Rule(
    id="WP411",
    subject="objective",
    priority=26,
    title="training and use in the wrong mode",
    claim="Batch normalisation trains by the batch, and dropout is active in training alone.",
    judged=(
        "One pass in the mode that the model is in, and one in evaluation mode. A batch normalisation in evaluation"
        f" mode whose running statistics nothing has touched fails where the batch is off by {_OFFSET:g} deviations"
        f" or a factor of {_RATIO:g}, and is suspect where not. Statistics of {_FEWEST_NUMBERS} numbers or fewer, or"
        f" of one example, are suspect; so are running ones with a momentum of {_MOST_MOMENTUM:g} or more or below"
        f" {_LEAST_MOMENTUM:g}, and dropout that is called with a mode of its own: active in evaluation mode, passive"
        " in training mode. After steps (--after-steps), when running statistics have forgotten where they began,"
        f" outputs in evaluation mode that are {_APART:g} times as far from those in training mode as examples are from"
        " each other are suspect."
    ),
    causes=(
        Cause(
            "eval-mode",
            "The model trains in evaluation mode, with statistics that belong to no data: nothing is normalised.",
            "model.training, and running_mean of a BatchNorm: all zero.",
            (Remedy("Train in training mode", "model.train()"),),
        ),
        Cause(
            "tiny-batch",
            "Batch normalisation takes its statistics of so few numbers that they say more of chance than of the data.",
            "Print the shape of what the BatchNorm gets.",
            (Remedy("Take a larger batch, or a normalisation over each example: GroupNorm, LayerNorm"),),
        ),
        Cause(
            "statistics-lag",
            "The running statistics cannot be those of the data: they keep the last batch alone, or hardly move.",
            "Print the momentum: torch's is the share of the new batch (0.1), others' that of the old ones (0.9).",
            (Remedy("Take torch's usual share of the new batch", "nn.BatchNorm1d(n, momentum=0.1)"),),
        ),
        Cause(
            "dropout-always",
            "Dropout is active in evaluation mode: predictions are random.",
            "model.eval(), then model(x) twice.",
            (Remedy("Pass the module's own mode", "F.dropout(x, p, training=self.training)"),),
        ),
        Cause(
            "dropout-never",
            "Dropout is passive in training mode: it does nothing.",
            "model.train(), then model(x) twice.",
            (Remedy("Pass the module's own mode", "F.dropout(x, p, training=self.training)"),),
        ),
    ),
    needs=("loss",),
    references=("Ioffe & Szegedy 2015, arXiv 1502.03167", "Srivastava et al. 2014, JMLR 15"),
    judge=lambda measured: check_mode(measured.modes, lambda: measured.modes_later),
)


def check_mode(modes: Modes | None, later: Callable[[], tuple[int, float]] = lambda: (0, nan)) -> list[Finding]:
    """`later` gives a number of steps and how far evaluation mode is from training mode after them."""
    if modes is None:
        return [MODE.not_applicable("This problem shows no model with a mode.")]
    return list(_found(modes)) or [_after_steps(modes, *later()) or MODE.holds()]


def _after_steps(modes: Modes, steps: int, apart: float) -> Finding | None:
    """Once the running statistics would have forgotten where they began."""
    moving = [one for one in modes.statistics if one.uses_batch and one.momentum is not None]
    if not moving or apart <= _APART or apart != apart:
        return None
    if max((1 - (one.momentum or 0.0)) ** steps for one in moving) > _FORGOTTEN:
        return None
    text = (
        f"After {steps} steps outputs in evaluation mode are {apart:.2g} times as far from those in training mode as"
        f" examples are from each other: the running statistics are not those of the data."
    )
    what = Evidence("distance of evaluation from training mode", apart, "outputs", reference=f"below {_APART:g}")
    return MODE.found(Verdict.SUSPECT, text, where="outputs", cause="statistics-lag", evidence=(what,))


def _found(modes: Modes) -> Iterator[Finding]:
    untouched = [one for one in modes.statistics if not one.uses_batch and one.untouched]
    if untouched:
        yield _in_evaluation(untouched)
    batch = [one for one in modes.statistics if one.uses_batch]
    tiny = [one for one in batch if one.numbers <= _FEWEST_NUMBERS or one.rows == 1]
    if tiny:
        worst = min(tiny, key=lambda one: one.numbers)
        text = (
            f"`{worst.name}` normalises each channel by {worst.numbers} numbers of {worst.rows}"
            f" example{'s' * (worst.rows > 1)}."
        )
        yield MODE.found(
            Verdict.SUSPECT, text, where=worst.name, cause="tiny-batch", evidence=(_numbers(worst.numbers, worst.name),)
        )
    lagging = [
        one for one in batch if one.momentum is not None and not _LEAST_MOMENTUM <= one.momentum < _MOST_MOMENTUM
    ]
    if lagging:
        one = lagging[0]
        assert one.momentum is not None
        what = "keep little but the last batch" if one.momentum >= _MOST_MOMENTUM else "hardly follow the data"
        more = f", as those of {len(lagging) - 1} more" if len(lagging) > 1 else ""
        text = f"With a momentum of {one.momentum:g} the running statistics of `{one.name}` {what}{more}."
        yield MODE.found(
            Verdict.SUSPECT,
            text,
            where=one.name,
            cause="statistics-lag",
            evidence=(Evidence("momentum", one.momentum, one.name, reference="0.1"),),
        )
    for lines, cause, words in (
        (modes.active_in_use, "dropout-always", "Dropout is active in evaluation mode"),
        (modes.passive_in_training, "dropout-never", "Dropout is passive in training mode"),
    ):
        if lines:
            yield MODE.found(Verdict.SUSPECT, f"{words}, at {lines[0]}.", where="dropout", cause=cause)


def _numbers(count: int, name: str) -> Evidence:
    return Evidence("numbers that a mean is taken of", float(count), name, reference=f"above {_FEWEST_NUMBERS}")


def _in_evaluation(untouched: list[Statistics]) -> Finding:
    worst = max(untouched, key=lambda one: max(one.offset / _OFFSET, one.ratio / _RATIO))
    off = worst.offset > _OFFSET or worst.ratio > _RATIO
    text = (
        f"`{worst.name}` is in evaluation mode, and its running statistics are those that it was made with (mean 0,"
        f" variance 1): on this batch means are up to {worst.offset:.2g} deviations away, variances {worst.ratio:.3g}"
        f" times apart. In all {len(untouched)} batch normalisations of the model are so."
    )
    evidence = (
        Evidence(
            "furthest mean from the running one, in deviations", worst.offset, worst.name, reference=f"below {_OFFSET}"
        ),
        Evidence("variance over the running one, or under it", worst.ratio, worst.name, reference=f"below {_RATIO:g}"),
    )
    if worst.ratio / _RATIO > worst.offset / _OFFSET:
        evidence = evidence[::-1]
    return MODE.found(
        Verdict.FAILS if off else Verdict.SUSPECT, text, where=worst.name, cause="eval-mode", evidence=evidence
    )
