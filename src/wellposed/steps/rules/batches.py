"""WP605: the data of successive steps."""

from __future__ import annotations

from wellposed.backends.watched import Watched
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_SAME = 4  # steps in a row from which on the same batch is no chance
_LEAK = 0.05  # of the rows held out, beyond what repeats within training
_CHANCE = 3.0  # standard deviations

BATCHES = Rule(
    id="WP605",
    subject="step",
    priority=16,
    title="the data of successive steps",
    claim="Successive steps see other data and other random numbers, whose targets belong to their inputs.",
    judged=(
        f"The same batch at {_SAME} or more steps, where its loader has others, is suspect. Random generators that are"
        " seeded with the same number at every step and drawn from in between are suspect, and so is a line that draws"
        " the same numbers in two steps in a row. Inputs and targets taken by index from other rows of their data fail."
        " Rows of a data"
        f" set that is not trained on which are in the one that is, {100 * _LEAK:g} % more than repeat within it, are"
        " suspect, but for those of several folds."
        " Targets that the nearest neighbours of their inputs tell no better than shuffled ones (by"
        f" {_CHANCE:g} standard deviations of those), on at least 200 rows, are suspect."
    ),
    causes=(
        Cause(
            "same-batch",
            "Every step gets the same batch: an iterator that is made anew, or a batch taken once before the loop.",
            "",
            (Remedy("Iterate over the loader", "for inputs, targets in loader: ..."),),
        ),
        Cause(
            "shuffled-apart",
            "Inputs and targets have been put into different orders: rows no longer belong together.",
            "",
            (
                Remedy(
                    "Index both with the same permutation", "order = torch.randperm(len(x))\nx, y = x[order], y[order]"
                ),
            ),
        ),
        Cause(
            "leak",
            "Examples that are held out for validation are in the training set too.",
            "",
            (
                Remedy(
                    "Split once, by index, before anything else", "torch.utils.data.random_split(dataset, [0.9, 0.1])"
                ),
            ),
        ),
        Cause(
            "same-augmentation",
            "The generator is seeded again at every step: noise, dropout and augmentation are the same each time.",
            "",
            (Remedy("Seed once, before the loop"),),
        ),
    ),
    judge=lambda watched: _judge(watched),
    references=("torch.utils.data: randomness in multi-process data loading",),
)


def _judge(watched: Watched) -> list[Finding]:
    if not watched.steps:
        return [BATCHES.not_applicable("No optimizer stepped.")]
    judged = (_same(watched), _seeded(watched) or _redrawn(watched), _leak(watched), _apart(watched))
    return [found for found in judged if found is not None] or [BATCHES.holds()]


def _same(watched: Watched) -> Finding | None:
    of_lead = [step for step in watched.steps if step.optimizer == watched.steps[0].optimizer]
    batches = {step.batch for step in of_lead}
    if len(of_lead) < _SAME or len(batches) > 1 or None in batches or watched.batches < 2:
        return None
    text = f"All {len(of_lead)} steps got the same batch, where the loader has {watched.batches} of them."
    evidence = (Evidence("different batches", 1, of_lead[0].place, "", f"{len(of_lead)}"),)
    return BATCHES.found(Verdict.SUSPECT, text, where=of_lead[0].place, cause="same-batch", evidence=evidence)


def _repeats(watched: Watched) -> str:
    """What comes again with the random numbers: the batch itself, or what is done to it."""
    batches = {step.batch for step in watched.steps if step.optimizer == watched.steps[0].optimizer}
    return "same-batch" if len(batches) == 1 and None not in batches else "same-augmentation"


def _seeded(watched: Watched) -> Finding | None:
    for name, places in watched.reseeded.items():
        if len(places) < _SAME:
            continue
        text = (
            f"{name} is seeded again with the same number at every step ({places[0]}) and drawn from in between: each"
            " step repeats the same random numbers."
        )
        evidence = (Evidence("steps that repeat them", len(places), places[0], "", "0"),)
        return BATCHES.found(Verdict.SUSPECT, text, where=places[0], cause=_repeats(watched), evidence=evidence)
    return None


def _redrawn(watched: Watched) -> Finding | None:
    if not watched.redrawn:
        return None
    place = watched.redrawn[0]
    text = f"{place} draws the same random numbers in two steps in a row: each step gets the same noise or order."
    evidence = (Evidence("lines that draw the same again", len(watched.redrawn), place, "", "0"),)
    return BATCHES.found(Verdict.SUSPECT, text, where=place, cause=_repeats(watched), evidence=evidence)


def _leak(watched: Watched) -> Finding | None:
    shared = [seen for seen in watched.held_out if seen.shared > seen.repeated + _LEAK]
    if len(shared) > 1 and len(shared) < len(watched.held_out):
        return None  # one is held out, and the others are its folds
    for seen in shared:
        if seen.shared > 0:
            text = (
                f"{100 * seen.shared:.0f} % of the rows of {seen.name}, which is not trained on, are in the"
                f" training set too"
                f" ({seen.looked_at} were looked at; {100 * seen.repeated:.0f} % of the training rows repeat)."
            )
            evidence = (Evidence("rows that are trained on", seen.shared, seen.name, "", f"{seen.repeated:.2g}"),)
            return BATCHES.found(Verdict.SUSPECT, text, where=seen.name, cause="leak", evidence=evidence)
    return None


def _apart(watched: Watched) -> Finding | None:
    if watched.apart:
        place = watched.apart[0]
        text = (
            f"In the loss at {place} the inputs and what they are held against were taken from other rows of data of"
            " the same length: they do not belong together."
        )
        evidence = (Evidence("losses whose rows are apart", len(watched.apart), place, "", "0"),)
        return BATCHES.found(Verdict.FAILS, text, where=place, cause="shuffled-apart", evidence=evidence)
    seen = watched.learnable
    if seen is None or seen.deviations > _CHANCE:
        return None
    text = (
        f"Among {seen.rows} rows the nearest neighbours of an input tell its target no better than shuffled targets"
        f" would ({seen.deviations:.1f} standard deviations above): do inputs and targets belong to each other?"
    )
    evidence = (
        Evidence("agreement above that of shuffled targets", seen.deviations, "targets", "std", f"{_CHANCE:g}"),
    )
    return BATCHES.found(Verdict.SUSPECT, text, where="targets", cause="shuffled-apart", evidence=evidence)
