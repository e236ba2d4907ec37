"""WP410: outputs can reach the targets."""

from __future__ import annotations

from wellposed.backends.structure.shown import Reach
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_SUSPECT, _FAILS = 0.1, 0.3  # of the targets' variance

REACH = Rule(
    id="WP410",
    subject="objective",
    priority=36,
    follows=("WP401",),
    title="outputs cannot reach the targets",
    claim="The last operations of the model let its outputs take the values that the targets have.",
    judged=(
        "What comes last in the model is seen in one pass: an activation bounds the outputs, a normalisation with no"
        " weights of a layer after it fixes the mean and the spread of each example's. The share of the targets'"
        f" variance that lies beyond, or in the means of examples, cannot be reached: above {100 * _SUSPECT:g} % it"
        f" is suspect, above {100 * _FAILS:g} % it fails. A softmax over a single number fails."
    ),
    causes=(
        Cause(
            "cannot-reach",
            "Whatever the weights, a part of the targets is out of the outputs' reach.",
            "Compare the range, and each example's mean, of model(x) and of the targets.",
            (
                Remedy("Leave the normalisation before the last activation out"),
                Remedy("Take an activation whose range has the targets in it, or none; or scale the targets"),
            ),
        ),
        Cause(
            "softmax-over-one",
            "A softmax runs over an axis of one number: it is 1, whatever goes in.",
            "Print the shape of what the softmax gets.",
            (Remedy("Take the axis that is to sum to 1", "weights = scores.softmax(dim=1)"),),
        ),
    ),
    needs=("loss",),
    references=("github.com/naoto0804/chainer-cyclegan/pull/2",),
    judge=lambda measured: check_reach(measured.reach),
)


def check_reach(reach: Reach | None) -> Finding:
    if reach is not None and reach.over_one:
        text = (
            f"A softmax runs over an axis of length 1, at {reach.over_one[0]}: what comes out is 1, whatever goes in."
        )
        return REACH.found(Verdict.SUSPECT, text, where="softmax", cause="softmax-over-one")
    if reach is None:
        return REACH.not_applicable("No outputs and real targets of one shape are seen, or nothing bounds the outputs.")
    evidence = (
        Evidence(
            "share of the targets' variance out of reach", reach.missed, "outputs", reference=f"below {_SUSPECT:g}"
        ),
    )
    if reach.missed <= _SUSPECT:
        return REACH.holds(evidence)
    what = (
        f"fixes the {reach.fixed} of each example's outputs, and those of the targets vary"
        if reach.fixed
        else f"keeps the outputs within {reach.low:g} and {reach.high:g}, and the targets go beyond"
    )
    text = f"`{reach.by}` at the end of the model {what}: {100 * reach.missed:.0f} % of their variance is out of reach."
    verdict = Verdict.FAILS if reach.missed > _FAILS else Verdict.SUSPECT
    return REACH.found(verdict, text, where="outputs", cause="cannot-reach", evidence=evidence)
