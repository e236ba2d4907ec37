"""WP406: what the loss asks for is what should be asked for."""

from __future__ import annotations

from collections.abc import Sequence

from wellposed.backends.structure.shown import MATCHES, Copied, Succession
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.objective.rules.future import NO_SEQUENCE
from wellposed.rule import Cause, Rule

_FREE = 0.95  # of the numbers
_ALL = 0.98  # of the targets: fewer are what they are given where some of it is hidden on purpose
_TWICE = 2  # positions

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
        f" token two positions later, or (at {100 * _ALL:g} %) the input at the same position, which neither random"
        " numbers nor a bottleneck hide, the rule fails; a number two positions later, what is further ahead, and the"
        " input of one position before are suspect. Targets that are numbers of the input in every example fail where"
        " it is a single one, and are suspect where there are several, if the loss has no other term and"
        f" {100 * _FREE:g} % of them reach the outputs independently of each other, each its own."
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
        Cause(
            "target-is-input",
            "What is asked for is among what is given: the model learns to copy it.",
            "(targets == x).all() for the numbers of x that are named.",
            (
                Remedy("Give what is known before, and ask for what is not: y[t] = x[t + 1], not x[t - 1]"),
                Remedy("Ask a denoiser for the noise, or for what was there before it was added"),
            ),
        ),
    ),
    needs=("loss", "gradient"),
    references=(
        "github.com/huggingface/transformers/pull/46898",
        "github.com/huggingface/transformers/issues/32944",
    ),
    judge=lambda measured: check_targets(
        measured.structure.successions, measured.structure.copied, alone=len(measured.terms) < 2
    ),
)


def check_targets(successions: Sequence[Succession], copied: Copied | None = None, *, alone: bool = True) -> Finding:
    """`alone`: whether the loss has no other term, that may keep a model from copying."""
    found = _of_sequences(successions)
    if found.verdict is Verdict.NOT_APPLICABLE and copied is not None:
        return _copied(copied, alone) or found
    return found


def _copied(copied: Copied, alone: bool) -> Finding | None:
    if not (alone and copied.free >= _FREE):
        return None
    evidence = (
        Evidence("numbers asked for that are given", float(copied.count), copied.name, reference="0"),
        Evidence("share of them that reach the outputs by themselves", copied.free, "outputs"),
    )
    if copied.count == 1:
        text = f"The number that is asked for is one of `{copied.name}`, in every example."
        return TARGETS.found(Verdict.FAILS, text, where="targets", cause="target-is-input", evidence=evidence[:1])
    text = (
        f"All {copied.count} numbers that are asked for are numbers of `{copied.name}`, and"
        f" {100 * copied.free:.0f} % of them reach the outputs independently of each other: nothing keeps the model"
        " from copying them."
    )
    return TARGETS.found(Verdict.SUSPECT, text, where="targets", cause="target-is-input", evidence=evidence)


def _of_sequences(successions: Sequence[Succession]) -> Finding:
    seen = [one for one in successions if one.ahead is not None and one.one_way and not (one.ahead == 0 and one.hidden)]
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
    if one.ahead == 0 and share >= _ALL:
        text += ", which the model is given there: it learns to copy."
        return TARGETS.found(Verdict.FAILS, text, where="targets", cause="not-shifted", evidence=evidence)
    if one.ahead > 1:
        text += ", and the model sees nothing after its own position: the element in between is never asked for."
        # A token so far ahead is a mistake; a number may be a forecast that is meant, as is what is further ahead.
        verdict = Verdict.FAILS if one.ahead == _TWICE and one.tokens else Verdict.SUSPECT
        return TARGETS.found(verdict, text, where="targets", cause="shifted-twice", evidence=evidence)
    if one.ahead < -1 or one.ahead == 0:
        return TARGETS.holds(evidence)  # recalled after a delay; or mended where some of it was hidden
    text += ", which the model has seen."
    return TARGETS.found(Verdict.SUSPECT, text, where="targets", cause="shifted-back", evidence=evidence)


def _places(offset: int) -> str:
    if offset == 0:
        return "at the same position"
    return f"{abs(offset)} position{'s' * (abs(offset) > 1)} {'later' if offset > 0 else 'earlier'}"
