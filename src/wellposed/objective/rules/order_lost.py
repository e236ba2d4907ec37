"""WP408: outputs know the order that targets depend on."""

from __future__ import annotations

from collections.abc import Sequence

from wellposed.backends.structure.shown import Order, Reshape, Structure
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_PERMUTED = 1e-4  # of the largest output: outputs nearer than that merely permute
_PLACED = 1e-3  # of the largest output: by as much no rounding changes an example
_CONFLICTS = 0.1  # share of the positions

ORDER = Rule(
    id="WP408",
    subject="objective",
    priority=34,
    title="order is lost",
    claim="Outputs know the order of the inputs where targets depend on it.",
    judged=(
        f"Positions are permuted. Where outputs merely permute with them (to {_PERMUTED:g} of the largest), a"
        " position is known by its element alone. The rule fails where that cannot give the targets: where at"
        f" {100 * _CONFLICTS:g} % of the positions or more another target is asked for than at another place with the"
        " same element in the same example, which the elements beside it would settle. A model of sets, asked for"
        " what a set has, holds. A view or reshape fails whose result has the shape that a permutation of the axes"
        " would give; it is suspect where neighbours that are stacked would have that shape too. Examples that"
        f" change places in the batch must keep their outputs: a change of more than {_PLACED:g} of the largest is"
        " suspect."
    ),
    causes=(
        Cause(
            "order-lost",
            "Every position has the same encoding, or none.",
            "Compare model(x[:, places]) and model(x)[:, places].",
            (
                Remedy(
                    "Add an encoding that differs from position to position",
                    "x = x + positions[:, : x.shape[1]]  # not positions[:, x.shape[1]]",
                ),
            ),
        ),
        Cause(
            "by-place-in-batch",
            "An encoding of positions is added along the axis that counts examples.",
            "Compare model(x.roll(1, 0)) and model(x).roll(1, 0).",
            (Remedy("Add it along the axis that counts positions", "x = x + encoding[: x.shape[1]]  # [N, T, d]"),),
        ),
        Cause(
            "reshape-mixes",
            "A view or reshape stands where axes should be permuted: numbers of different places end up in one.",
            "Compare x.reshape(...) and x.transpose(1, 2).reshape(...) on torch.arange.",
            (Remedy("Permute the axes, then reshape", "x = x.transpose(1, 2).reshape(n, length, -1)"),),
        ),
    ),
    needs=("loss", "gradient"),
    references=("github.com/DiffPoseTalk/DiffPoseTalk/issues/20",),
    judge=lambda measured: check_order(measured.structure, measured.reshapes),
)


def check_order(structure: Structure, reshapes: Sequence[Reshape] = ()) -> list[Finding]:
    mixed = [
        ORDER.found(
            Verdict.SUSPECT if one.may_stack else Verdict.FAILS,
            f"{list(one.before)} is reshaped to {list(one.after)}, at {one.line}: so it would be if axes had been"
            " permuted before. As it is, numbers of different places are mixed.",
            where="reshape",
            cause="reshape-mixes",
        )
        for one in reshapes
    ]
    if mixed:
        return mixed
    in_order = _of_positions(structure.order)
    return [in_order] if in_order.found else [_of_the_batch(structure.by_place) or in_order]


def _of_the_batch(by_place: float) -> Finding | None:
    """What is meant for positions and counts examples, where the axes have changed places."""
    if not by_place > _PLACED:
        return None
    text = (
        f"An example's outputs change by {100 * by_place:.2g} % of the largest when it stands at another place in the"
        " batch."
    )
    what = Evidence(
        "change by the place in the batch", by_place, "outputs", reference="0", how="over the largest output"
    )
    return ORDER.found(Verdict.SUSPECT, text, where="outputs", cause="by-place-in-batch", evidence=(what,))


def _of_positions(order: Order | None) -> Finding:
    if order is None:
        return ORDER.not_applicable("The model gives no outputs along a sequence, or makes each of a single element.")
    evidence = (
        Evidence(
            "distance of outputs from those at permuted positions",
            order.apart,
            "outputs",
            reference=f"above {_PERMUTED:g}",
            how="over the largest output",
        ),
        Evidence("share of positions that only their order tells apart", order.conflicts, "targets"),
    )
    if order.apart > _PERMUTED or order.conflicts < _CONFLICTS:
        return ORDER.holds(evidence)
    text = (
        f"When the positions of `{order.name}` are permuted, outputs merely permute with them; but at"
        f" {100 * order.conflicts:.0f} % of the positions another target is asked for than at another place with the"
        " same element."
    )
    return ORDER.found(Verdict.FAILS, text, where=order.name, cause="order-lost", evidence=evidence)
