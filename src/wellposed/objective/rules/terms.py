"""WP409: every term that is added to the loss has a gradient, and none drowns the others unseen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from wellposed.backends.structure.shown import Term
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_COUNTS = 1e-3  # of the loss: a term below it may be anything
_ROUNDING = 1e-6  # relative, of a number in float32
_MOVES = 1e-3  # of a term: by as much it changes with the parameters, and is no constant
_DROWNED = 30.0  # times: one gradient over another, and the weight of one number over that of another
_OWN_WEIGHT = 10.0  # times, or parts: a factor further from 1 was put there to weigh a term

TERMS = Rule(
    id="WP409",
    subject="objective",
    priority=28,
    title="a term of the loss is lost",
    claim="Every term that is added to the loss has a gradient where it depends on the parameters, and none drowns.",
    judged=(
        "The sum at the end of the loss is taken apart. A term without a gradient that changes when the parameters"
        f" move by their own size, and is more than {_COUNTS:g} of the loss, fails; one of a loss function that never"
        f" changes is suspect. A term whose gradient is {_DROWNED:g} times smaller than another's is suspect where"
        " one is a mean and the other a sum, and it is the count that makes the difference; a factor that somebody"
        " has put before a term is left alone. The report has a table of"
        " all terms, with the cosine between the gradient of each and that of the loss: one below 0 is opposed by the"
        " others."
    ),
    causes=(
        Cause(
            "cut-term",
            "A term of the loss is a number to the gradient: it is counted, and not trained for.",
            "Print loss_term.requires_grad for each term.",
            (Remedy("Add the tensor itself; take .item(), float() or detach() for what is printed alone"),),
        ),
        Cause(
            "penalty-not-in-gradient",
            "A penalty is computed from a gradient without a graph: it cannot be differentiated once more.",
            "penalty.requires_grad is False.",
            (Remedy("Keep the graph", "torch.autograd.grad(outputs, inputs, create_graph=True)"),),
        ),
        Cause(
            "constant-term",
            "A loss function is called on what does not depend on the parameters at all.",
            "Print loss_term.requires_grad for each term.",
            (Remedy("Give it the model's outputs"),),
        ),
        Cause(
            "drowned-term",
            "One term is a sum over many numbers, another a mean: the larger decides alone.",
            "Print the norm of the gradient of each term.",
            (Remedy("Reduce both alike: sums over features and means over examples, or means over all"),),
        ),
    ),
    needs=("loss", "gradient"),
    figures=("terms",),
    references=("github.com/guopengf/FL-MRCM/issues/10", "github.com/ctallec/world-models/issues/12"),
    judge=lambda measured: check_terms(measured.terms),
)


def check_terms(terms: Sequence[Term]) -> list[Finding]:
    if len(terms) < 2:
        return [TERMS.not_applicable("The loss is not seen to be a sum of several terms.")]
    return list(_found(terms)) or [TERMS.holds(_table(terms))]


def _found(terms: Sequence[Term]) -> Iterator[Finding]:
    whole = abs(sum(term.value for term in terms)) or 1.0
    kept = [term for term in terms if term.gradient is not None]
    for number, term in enumerate(terms, 1):
        if term.gradient is None and term.of_loss and not term.moves:
            text = (
                f"Term {number} of {len(terms)}, `{term.function}`{f' at {term.where}' if term.where else ''}, is"
                f" {term.value:.4g} whatever the parameters are."
            )
            yield TERMS.found(
                Verdict.SUSPECT, text, where=f"term {number}", cause="constant-term", evidence=_table(terms)
            )
        if term.gradient is not None or (abs(term.value) < _COUNTS * whole and not term.by_gradient):
            continue
        if term.meant or term.moves <= _MOVES * abs(term.value) or any(_same(term, other) for other in kept):
            continue  # a constant; or a number that is taken off what has a gradient, to change its size alone
        place = f", at {term.where}" if term.where else ""
        text = (
            f"Term {number} of {len(terms)} adds {term.value:.4g} to the loss and changes by {term.moves:.3g} when the"
            f" parameters move by their own size, and no gradient passes through it{place}."
        )
        cause = "penalty-not-in-gradient" if term.by_gradient else "cut-term"
        yield TERMS.found(Verdict.FAILS, text, where=f"term {number}", cause=cause, evidence=_table(terms))
    yield from _drowned(terms, kept)


def _same(one: Term, other: Term) -> bool:
    """Whether both have one number behind them."""
    return bool(one.factor and other.factor) and abs(
        one.value / one.factor - other.value / other.factor
    ) <= _ROUNDING * abs(one.value / one.factor)


def _drowned(terms: Sequence[Term], kept: Sequence[Term]) -> Iterator[Finding]:
    kept = [term for term in kept if term.gradient is not None and isfinite(term.gradient)]
    loud = max(kept, key=lambda term: term.gradient or 0.0, default=None)
    if loud is None or not loud.gradient or not _plain(loud):
        return
    for term in kept:
        if term is loud or not term.gradient or not _plain(term):
            continue
        ratio, weight = loud.gradient / term.gradient, _weight(loud) / _weight(term)
        if ratio < _DROWNED or weight < _DROWNED:
            continue
        text = (
            f"The gradient of `{term.function}` is {ratio:.3g} times smaller than that of `{loud.function}`: one"
            f" number of the latter weighs {weight:.3g} times as much, as one of the two is a sum over more of them."
        )
        where = f"term {list(terms).index(term) + 1}"
        yield TERMS.found(Verdict.SUSPECT, text, where=where, cause="drowned-term", evidence=_table(terms))
        return


def _plain(term: Term) -> bool:
    """A mean or a sum that nobody has weighed."""
    count = term.mean_of or term.sum_of
    return count > 0 and 1 / _OWN_WEIGHT <= abs(term.factor) <= _OWN_WEIGHT


def _weight(term: Term) -> float:
    return abs(term.factor) / (term.mean_of or 1)


def _table(terms: Sequence[Term]) -> tuple[Evidence, ...]:
    told = []
    for number, term in enumerate(terms, 1):
        name = f"term {number} (`{term.function}`)"
        told.append(Evidence(f"value of {name}", term.value, f"term {number}"))
        told.append(Evidence(f"gradient of {name}, norm", term.gradient or 0.0, f"term {number}"))
    return tuple(told)
