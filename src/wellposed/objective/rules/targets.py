"""WP406: what the loss asks for is what should be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from wellposed.backends.structure import MATCHES, Succession
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.objective.rules.future import NO_SEQUENCE
from wellposed.rule import Cause, Rule

TARGETS = Rule(
    id="WP406",
    subject="objective",
    priority=24,
    title="targets are not the right ones",
    claim="A model that sees a sequence up to a position is asked for the element after it.",
    judged=(
        "The target in use at a position is the class whose score has the negative derivative of the loss, or the"
        " number that a sum of squares pulls towards. It is held against the input at each offset. Where outputs do"
        f" not depend on what comes after them, and at {100 * MATCHES:g} % of the positions or more the target is the"
        " input two positions later, or at the same position, the rule fails; where it is one that has been, it is"
        " suspect."
    ),
    causes=(
        Cause(
            "shifted-twice",
            "Labels are shifted where the data is made, and once more in the model or in the loss.",
            "Print x[0], targets[0] and what the loss slices off.",
            (Remedy("Shift once: give labels as they are to a model or loss that shifts them itself"),),
        ),
        Cause(
            "not-shifted",
            "The model is asked for the element that it is given: it learns to copy.",
            "(targets == x).float().mean()",
            (
                Remedy(
                    "Ask for the element after it",
                    "loss = cross_entropy(scores[:, :-1].flatten(0, 1), x[:, 1:].flatten())",
                ),
            ),
        ),
        Cause(
            "shifted-back",
            "The model is asked for an element that it has seen already.",
            "Print x[0] and targets[0].",
            (Remedy("Shift the other way: scores[:, :-1] against x[:, 1:]"),),
        ),
    ),
    needs=("loss", "gradient"),
    references=(
        "github.com/huggingface/transformers/pull/46898",
        "github.com/huggingface/transformers/issues/32944",
    ),
    judge=lambda measured: check_targets(measured.successions),
)


def check_targets(successions: Sequence[Succession]) -> Finding:
    seen = [one for one in successions if one.ahead is not None and one.one_way]
    if any(one.ahead == 1 for one in seen):
        return TARGETS.holds()
    if not seen:
        return TARGETS.not_applicable(NO_SEQUENCE)
    one = seen[0]
    assert one.ahead is not None
    assert one.offset is not None
    share = one.matches[one.offset]
    evidence = (
        Evidence(
            f"share of targets that are `{one.name}` {_places(one.ahead)}",
            share,
            "targets",
            reference="of those one position later",
            how="counted from the last element that an output depends on",
        ),
    )
    text = f"At {100 * share:.3g} % of the positions the loss asks for `{one.name}` {_places(one.ahead)}"
    if one.ahead == 0:
        text += ", which the model is given there: it learns to copy."
        return TARGETS.found(Verdict.FAILS, text, where="targets", cause="not-shifted", evidence=evidence)
    if one.ahead > 1:
        text += ", and the model sees nothing after its own position: the element in between is never asked for."
        return TARGETS.found(Verdict.FAILS, text, where="targets", cause="shifted-twice", evidence=evidence)
    text += ", which the model has seen."
    return TARGETS.found(Verdict.SUSPECT, text, where="targets", cause="shifted-back", evidence=evidence)


def _places(offset: int) -> str:
    if offset == 0:
        return "at the same position"
    return f"{abs(offset)} position{'s' * (abs(offset) > 1)} {'later' if offset > 0 else 'earlier'}"
