"""WP405: the future is seen."""

from __future__ import annotations

from collections.abc import Sequence

from wellposed.backends.structure.shown import LEAKS, MATCHES, Succession
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

FUTURE = Rule(
    id="WP405",
    subject="objective",
    priority=22,
    title="the future is seen",
    claim="In a model that is asked for what comes next, no output depends on what comes after it.",
    judged=(
        f"Where the targets that the loss uses are an input some positions later (at {100 * MATCHES:g} % of the"
        " positions or more, told from the gradient that the loss sends to the outputs), the input from a position"
        " on is exchanged for another example's. Outputs before it must stay as they are; where they move by more"
        f" than {LEAKS:g} of the largest output, the rule fails. So it does where outputs for the last positions alone,"
        " as a forecast is, are asked for inputs that they see. A model that draws random numbers in use, as a"
        " variational autoencoder does, is suspect; one that is asked for anything else may look where it likes."
    ),
    causes=(
        Cause(
            "future-leak",
            "What is asked for can be read off the input: the loss falls, and nothing that is of use is learned.",
            "Change x[:, t:] and compare model(x)[:, :t].",
            (
                Remedy(
                    "Let each position attend to itself and to those before it alone",
                    "scaled_dot_product_attention(q, k, v, is_causal=True)",
                ),
                Remedy("Pad convolutions on the left only, and let recurrent layers run in one direction"),
            ),
        ),
        Cause(
            "document-leak",
            "Documents that are packed into one row are read by those after them.",
            "Change the first document of a row and compare the outputs in the others.",
            (
                Remedy(
                    "Let each position attend to its own document alone",
                    "mask = causal & (document[:, :, None] == document[:, None, :])",
                ),
            ),
        ),
    ),
    needs=("loss", "gradient"),
    figures=("dependence",),
    references=("github.com/huggingface/transformers/issues/48745",),
    judge=lambda measured: check_future(measured.structure.successions),
)

NO_SEQUENCE = "No input is seen to be a sequence whose elements are asked for, position by position."


def check_future(successions: Sequence[Succession]) -> Finding:
    if any(one.ahead is not None and one.one_way for one in successions):  # a decoder: its encoder may see all
        successions = [one for one in successions if one.one_way]
    ahead = [one for one in successions if one.offset is not None and _asked_ahead(one) and one.leak == one.leak]
    if not ahead:
        return FUTURE.not_applicable(NO_SEQUENCE)
    worst = max(ahead, key=lambda one: one.leak)
    evidence = (
        Evidence(
            "change of outputs by what comes after them",
            worst.leak,
            "outputs",
            reference=f"0 (up to {LEAKS:g})",
            how="over the largest output",
        ),
    )
    if not worst.sees_ahead:
        return _across_documents(ahead) or FUTURE.holds(evidence)
    assert worst.offset is not None
    steps = f"those {worst.offset} positions later" if worst.offset else "those at the same position"
    steps = "the next position's" if worst.offset == 1 else steps
    enters = f" It enters on the way to `{worst.enters}`." if worst.enters else ""
    text = (
        f"The targets at each position are {steps} of `{worst.name}`, and outputs change by"
        f" {100 * worst.leak:.3g} % when `{worst.name}` is changed after them: the model can read off what it is asked"
        f" for.{enters}"
    )
    # What draws random numbers in use, as a variational autoencoder does, may see all of what it is to give back.
    verdict = Verdict.SUSPECT if worst.hidden else Verdict.FAILS
    return FUTURE.found(verdict, text, where=worst.enters or "outputs", cause="future-leak", evidence=evidence)


def _asked_ahead(one: Succession) -> bool:
    """For what comes later; a forecast for the last positions, the others being the past, for what stands there."""
    assert one.offset is not None
    return one.offset == 0 if one.horizon else one.offset > 0


def _across_documents(ahead: Sequence[Succession]) -> Finding | None:
    """Where documents share a row, later ones may not see those before them."""
    for one in ahead:
        if one.from_before > LEAKS:
            text = (
                f"`{one.documents}` tells documents in one row apart, and outputs in later ones change by"
                f" {100 * one.from_before:.3g} % when the first one is changed."
            )
            what = Evidence("change of outputs by the document before", one.from_before, "outputs", reference="0")
            return FUTURE.found(Verdict.SUSPECT, text, where=one.documents, cause="document-leak", evidence=(what,))
    return None
