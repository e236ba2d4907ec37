"""Where to start: the failing parameter nearest the loss, and the custom backward pass that is wrong by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wellposed.backends.protocol import Part, Problem
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.operations import guilty_operation
from wellposed.gradients.prober import Prober
from wellposed.gradients.quick_check import Glances, look_quickly
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.rules.zero import ZERO
from wellposed.users_code import ask

Judge = Callable[[Problem], Sequence[Finding]]


@dataclass(frozen=True)
class Proof:
    """What mending guilty backward passes changes: by tensor how far its gradient is from the one then, relative.
    `seen` is what was seen of that one, where it agrees with the loss: then nothing else is wrong.
    """

    heirs: dict[str, float]
    seen: Glances | None


_OWN = ("missing-weight-decay", "extra-weight-decay")  # what a tensor does not inherit from others
_PASSED_ON = (
    "scale",
    "sign",
    "mean-or-sum",
    "doubled",
    "stale",
    "detached",
    "in-place",
)  # of a wrong gradient, what is computed from it has these too
_MOST_FUNCTIONS = 20  # custom functions looked at


def find_guilty(problem: Problem, prober: Prober, judge: Judge) -> list[Finding]:
    """The custom backward passes that are wrong by themselves, one finding for each place; `judge` checks a part."""
    parts = problem.differentiation.parts(prober.theta)[:_MOST_FUNCTIONS]
    return [finding for part in parts if (finding := _of_part(part, judge)) is not None]


def prove(problem: Problem, prober: Prober, uncut: Prober, guilty: list[Finding]) -> Proof | None:
    """What changes once the guilty backward passes are replaced by what the framework makes of their forward passes,
    and so inherits their error; and whether the gradient agrees with the loss then. None where that is not known.
    """
    right = problem.differentiation.forward_again(prober.theta, {finding.where for finding in guilty})
    if right is None:
        return None
    there = Prober(problem, prober.theta, problem.layout.pack_known(right), prober.value, held=prober.held)
    if not np.isfinite(there.gradient).all():
        return None
    seen = look_quickly(there, there if uncut is prober else uncut)
    heirs = {}
    for name, place in problem.layout.slices.items():
        apart = float(np.linalg.norm(prober.gradient[place] - there.gradient[place]))
        size = float(np.linalg.norm(there.gradient[place]))
        if apart > np.sqrt(prober.claim_eps) * size:
            heirs[name] = apart / size if size else np.inf
    return Proof(heirs, None if seen is None or seen.contradicted else seen) if heirs else None


def tell_proven(guilty: list[Finding], proof: Proof) -> list[Finding]:
    """The guilty backward passes, and the tensors whose gradients they change."""
    names = _named(guilty)
    if all(finding.cause == "reversed" for finding in guilty):
        text = (
            f"{names} passes its input on as it is and turns the gradient round, as a gradient reversal does; with the"
            " gradient as it came, every other agrees with the loss."
        )
        return [WRONG.found(Verdict.HOLDS, text, where=guilty[0].where, cause="reversed")]
    guilty = [finding for finding in guilty if finding.cause != "reversed"]
    names = _named(guilty)
    told = [
        WRONG.found(
            Verdict.FAILS,
            "",
            where=name,
            evidence=(Evidence("distance from the gradient with that mended, relative", apart, name, reference="0"),),
        )
        for name, apart in proof.heirs.items()
    ]
    proven = f" With {names} mended, every gradient agrees with the loss: nothing else is wrong."
    first = replace(guilty[0], message=guilty[0].message + proven)
    return [first, *guilty[1:], *(_inheriting(finding, guilty) for finding in told)]


def fold_inherited(
    problem: Problem,
    prober: Prober,
    found: list[Finding],
    guilty: list[Finding],
    proof: Proof | None,
    order_of_tensors: Callable[[], list[str]],
) -> list[Finding]:
    """The findings, with the guilty backward passes first, and of several failing tensors the one to start at named.

    An error in a layer's backward pass corrupts every gradient before it, so that the failing tensor nearest the loss
    holds the bug, and the others may only inherit it. `proof` says which tensors a guilty backward pass changes, where
    that is known; `order_of_tensors` is that of their use, asked for where it matters.
    """
    failing = [
        f
        for f in found
        if f.verdict is Verdict.FAILS and f.rule in (WRONG.id, ZERO.id) and f.where in problem.layout.names
    ]
    if not failing:
        return found
    inheriting = [f for f in failing if f.cause not in _OWN]
    if guilty:
        heirs = {id(f) for f in inheriting if proof is None or f.where in proof.heirs}
        return guilty + [_inheriting(f, guilty) if id(f) in heirs else f for f in found]
    if not inheriting:
        return found
    order = order_of_tensors()
    start = max(inheriting, key=lambda f: order.index(f.where))
    if start.rule == WRONG.id and not start.cause and not prober.budget.tight:
        unexplained = [f for f in inheriting if f.rule == WRONG.id and not f.cause]
        explanation = guilty_operation(problem, prober, [f.where for f in unexplained])
        if explanation is not None:
            return _by_operation(found, unexplained, start, explanation)
    if len(inheriting) == 1:
        return found
    before = [f for f in inheriting if f is not start and order.index(f.where) < order.index(start.where)]
    likely = {id(f) for f in before if not f.cause or (f.cause == start.cause and f.cause in _PASSED_ON)}
    text = f"{start.message} Start here: of {len(inheriting)} tensors that fail it is the nearest to the loss."
    told = [replace(start, message=text)]
    for finding in found:
        if finding is start:
            continue
        words = f" It may inherit the error of `{start.where}`." if any(finding is other for other in before) else ""
        follows = start.rule if id(finding) in likely and finding.rule == start.rule else ""
        told.append(replace(finding, message=finding.message + words, follows=follows))
    return told


def _by_operation(
    found: list[Finding], unexplained: list[Finding], start: Finding, explanation: Explanation
) -> list[Finding]:
    """One operation explains them all: told at the tensor nearest the loss; the others inherit."""
    sentence = f"The gradient of `{start.where}` does not agree with the loss."
    told = replace(
        start,
        message=f"{sentence} {explanation.words}{start.message.removeprefix(sentence)}",
        cause=explanation.cause,
        remedies=WRONG.cause(explanation.cause).remedies,
    )
    heirs = {id(f) for f in unexplained if f is not start}
    return [told, *(_inheriting(f, [start]) if id(f) in heirs else f for f in found if f is not start)]


def _inheriting(finding: Finding, guilty: list[Finding]) -> Finding:
    """A failing tensor when its cause is found elsewhere: what fits its own numbers then means nothing."""
    names = _named(guilty)
    text = f"The gradient of `{finding.where}` does not agree with the loss. It inherits the error of {names}."
    remedies = (Remedy(f"Mend {names} first, then check again"),)
    return replace(finding, message=text, cause="", remedies=remedies, follows=guilty[0].rule)


def _named(guilty: Sequence[Finding]) -> str:
    """Each once, although it may be called many times."""
    return ", ".join(dict.fromkeys(f"`{one.where}`" for one in guilty))


def _of_part(part: Part, judge: Judge) -> Finding | None:
    """What fails in a part, under the part's name."""
    # A rule may not run by itself, as one that closes over what a transformation has made.
    found: Sequence[Finding] = ask(lambda: judge(part.problem), ())
    wrong = next((f for f in found if f.verdict is Verdict.FAILS), None)
    if wrong is None:
        return None
    if part.reverses:
        text = f"The backward pass `{part.name}` turns the gradient round, and the forward pass changes nothing."
        return WRONG.found(Verdict.FAILS, text, where=part.name, cause="reversed")
    place = f" (called in `{part.where}`)" if part.where else ""
    text = (
        f"The backward pass `{part.name}`{place} is wrong by itself, given what came in during the real run."
        f" {wrong.message}"
    )
    return replace(wrong, message=text, where=part.name)


def order_of_use(problem: Problem, prober: Prober) -> list[str]:
    """The parameters' names in the order in which the run uses them last; as they are listed where no run can be
    seen.
    """
    names = list(problem.layout.names)
    run = problem.network.run(prober.theta)
    if run is None:
        return names
    uses = [
        name
        for operation in run.operations
        if operation.weight
        for name in (operation.weight.name, operation.weight.bias)
    ]
    last = {name: index for index, name in enumerate(uses)}
    return sorted(names, key=lambda name: last.get(name, -1))
