"""Figures of a problem's structure: the terms of its loss, and which outputs depend on which inputs."""

from __future__ import annotations

from collections.abc import Sequence

from wellposed.backends.structure.shown import LEAKS, Succession, Term
from wellposed.figures import Figure, Panel, Series

_FLOOR = 1e-9  # of the largest output: what is nothing is drawn there


def draw_terms(terms: Sequence[Term], rules: tuple[str, ...]) -> Figure | None:
    """What each adds to the loss and to its gradient; None where there is one alone."""
    if len(terms) < 2:
        return None
    at = tuple(map(float, range(len(terms))))
    names = tuple(f"{number} {_short(term)}" for number, term in enumerate(terms, 1))
    values, norms = tuple(term.value for term in terms), tuple(term.gradient or 0.0 for term in terms)
    along = tuple(term.along for term in terms)
    panels = (
        Panel("What each term adds to the loss", "term", "loss", (Series("value", at, values, "bars"),), names=names),
        Panel("What it adds to the gradient", "term", "norm", (Series("norm", at, norms, "bars"),), names=names),
        *(
            [
                Panel(
                    "Its direction",
                    "term",
                    "cosine with the gradient",
                    (Series("cosine", at, along, "bars"),),
                    names=names,
                )
            ]
            if any(one == one for one in along)
            else []
        ),
    )
    told = "; ".join(
        f"{name}: {term.value:.3g}, " + ("no gradient" if term.gradient is None else f"gradient {term.gradient:.3g}")
        for name, term in zip(names, terms, strict=True)
    )
    return Figure("terms", "The terms of the loss", f"{len(terms)} terms. {told}.", panels, rules)


def _short(term: Term) -> str:
    line = term.where.partition(":")[0]
    return f"{term.function}, {line}" if line else term.function


def draw_dependence(successions: Sequence[Succession], rules: tuple[str, ...]) -> Figure | None:
    """How far outputs at each position move when the input at one position is exchanged; None where nobody looked."""
    known = [one for one in successions if one.moved and (one.one_way or (one.offset or 0) > 0)]
    if not known:
        return None
    one = max(known, key=lambda one: one.leak if one.leak == one.leak else 0.0)
    series = tuple(
        Series(
            f"position {at}",
            tuple(map(float, range(len(change)))),
            tuple(max(size, _FLOOR) for size in change),
        )
        for at, change in one.moved.items()
    )
    before = max((max(change[:at], default=0.0) for at, change in one.moved.items()), default=0.0)
    seen = f"by up to {before:.2g} before it" if before > LEAKS else "by nothing before it"
    text = (
        f"One position of `{one.name}` at a time is given to another example: outputs, over the largest of them, move"
        f" {seen}."
    )
    panel = Panel("Change of outputs", "position of the output", "relative", series, log_y=True)
    return Figure("dependence", "Which outputs see which inputs", text, (panel,), rules)
