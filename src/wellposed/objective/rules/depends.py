"""WP404: whether an example's outputs depend on its own inputs, and on no other's."""

from __future__ import annotations

from collections.abc import Callable

from wellposed.backends.measured import Dependence
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_OUTPUT_ROUNDING = 1e-7
_MIXED = 1e-3  # of the largest output: by as much no rounding changes another row


_LAST_DIGITS = 1e-12  # of the largest output, in float64: a sum in another order


DEPENDS = Rule(
    id="WP404",
    subject="objective",
    priority=50,
    follows=("WP401", "WP302", "WP303", "WP301", "WP304", "WP206", "WP204", "WP205", "WP203"),
    title="loss does not depend on the inputs, or mixes the rows of a batch",
    claim="An example's outputs depend on its own inputs, and on no other example's; the loss uses its batch.",
    judged=(
        "One example is given another's inputs. Its own outputs must change, here or after a small step; where they do"
        " not by more than rounding, the rule fails. Those of other examples must not, in evaluation mode: where they"
        f" change by more than {_MIXED:g} of the largest output, the rule fails if an operation is known that runs"
        " over the batch's axis, and is suspect if not. Each example is given another's targets, and another's inputs:"
        " a loss for which neither changes anything uses data that were not given, and is suspect."
    ),
    causes=(
        Cause(
            "ignored",
            "The outputs do not depend on the inputs.",
            "Compare model(x) and model(x.roll(1, 0)).",
            (Remedy("Follow the inputs through forward(): what is overwritten, multiplied by 0 or dropped?"),),
        ),
        Cause(
            "rows-mixed",
            "An operation runs over the batch in place of time, channels or classes.",
            "Compare model(x)[:1] and model(x[:1]).",
            (Remedy("Check the axes: batch_first=True, softmax(dim=-1), permute in place of view"),),
        ),
        Cause(
            "batch-unused",
            "The loss closes over data of its own.",
            "Give another batch: the loss is the same.",
            (
                Remedy(
                    "Compute the loss from the batch that it is given, so that what is trained on is what is checked"
                ),
            ),
        ),
        Cause(
            "targets-unused",
            "The loss does not ask for targets, as one that rebuilds its inputs.",
            "Give other targets: the loss sends the same back to the outputs.",
            (Remedy("If it should, compare the outputs with the targets that the loss is given"),),
        ),
    ),
    needs=("loss", "gradient"),
    judge=lambda measured: check_use(
        measured.structure.unused,
        check_dependence(
            measured.dependence,
            measured.dependence_after_a_step,
            measured.dependence_precisely,
            reached=measured.reached,
        ),
    ),
)


def check_use(unused: tuple[str, ...], dependence: Finding) -> Finding:
    """What is found of the outputs comes first. That targets alone are not used is no fault, and said."""
    if dependence.found or not unused:
        return dependence
    if "inputs" in unused:
        text = (
            "The loss depends neither on the inputs nor on the targets of the batch: it uses other data, of which"
            " nothing is known here."
        )
        return DEPENDS.found(Verdict.SUSPECT, text, where="loss", cause="batch-unused")
    text = "The loss does not use the targets of the batch: what is said of targets is said of these all the same."
    return DEPENDS.found(Verdict.HOLDS, text, where="loss", cause="targets-unused", evidence=dependence.evidence)


def check_dependence(
    here: Dependence | None,
    after_a_step: Callable[[], Dependence | None],
    precisely: Callable[[], Dependence | None],
    *,
    reached: bool = False,
) -> Finding:
    """`reached`: whether a gradient gets to the layers that read the inputs, so that training may mend what is found.
    `precisely`: the same in float64, where other rows of a right network do not change by a single bit.
    """
    if here is None:
        return DEPENDS.not_applicable(
            "The examples of the batch cannot be told apart in the inputs, the outputs and the targets."
        )
    evidence = (
        Evidence(
            "change of an example's outputs by its own inputs",
            here.own,
            "outputs",
            reference="above 0",
            how="over the largest output",
        ),
        Evidence(
            "change by another example's inputs", here.others, "outputs", reference="0", how="over the largest output"
        ),
    )
    if here.own <= _OUTPUT_ROUNDING and here.others <= _OUTPUT_ROUNDING:
        later = after_a_step()
        if later is not None and later.own <= _OUTPUT_ROUNDING:
            text = (
                "The outputs of an example do not change when it is given another example's inputs, here nor after a"
                " step."
            )
            return DEPENDS.found(
                Verdict.SUSPECT if reached else Verdict.FAILS, text, where="outputs", cause="ignored", evidence=evidence
            )
        return DEPENDS.undecided(
            "Here the outputs do not depend on the inputs; after a step they do.", evidence=evidence
        )
    if here.others <= _MIXED:
        confirmed = precisely() if here.others > 0 else None
        if confirmed is None or confirmed.others <= _LAST_DIGITS:
            return DEPENDS.holds(evidence)
        here = confirmed
    runs = f": {here.mixer} runs over the batch" if here.mixer else ""
    text = f"The outputs of an example change by {100 * here.others:.2g} % when another example's inputs change{runs}."
    return DEPENDS.found(
        Verdict.FAILS if here.mixer else Verdict.SUSPECT, text, where="outputs", cause="rows-mixed", evidence=evidence
    )
