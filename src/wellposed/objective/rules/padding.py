"""WP407: padding changes nothing, and what is not padding counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wellposed.backends.structure.shown import Padding
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_SUSPECT_SHARE, _FAILS_SHARE = 0.2, 0.5  # of what the loss sends back
_MOVES = 1e-3  # of the largest output
_POOLED = 0.05  # of it, of an example as a whole
_STILL = 1e-6  # of it
_UNREAD = 0.9  # share of the padded examples: of a maximum over states many have no influence
_SUSPECT_CUT, _FAILS_CUT = 0.1, 1.0  # of how far examples are apart

PADDING = Rule(
    id="WP407",
    subject="objective",
    priority=32,
    title="padding counts, or what is not padding does not",
    claim="Padding changes neither the loss nor the outputs elsewhere, and what is not padding does.",
    judged=(
        "Padded positions are those that a mask or lengths among the inputs tell of, else those at one end that hold"
        " one number which hardly comes elsewhere. Of the gradient that the loss sends to the outputs they may have"
        f" {100 * _SUSPECT_SHARE:g} %; above it is suspect, above {100 * _FAILS_SHARE:g} % it fails. Where a mask or"
        f" lengths are given, outputs elsewhere must not move by {_MOVES:g} of the largest when what is padded is"
        " changed; where they move, and not when what is real is changed or the mask is turned round, it is"
        " inverted. The padding that the shortest examples have in common is cut off: outputs that move by"
        f" {100 * _SUSPECT_CUT:g} % of what separates examples are suspect; they fail where a mask is given, and by"
        f" {_FAILS_CUT:g} times of it behind a recurrent layer, as does one that is read before the last real element"
        f" of {100 * _UNREAD:g} % of the padded examples or more. Where it cannot be cut off, outputs of whole"
        f" examples that move by {100 * _POOLED:g} % with a mask's padding are suspect. What only the data tell to be"
        " padding is suspect at most, but for an inverted mask."
    ),
    causes=(
        Cause(
            "padding-in-loss",
            "Much of what the loss teaches is to write padding.",
            "(targets == pad).float().mean()",
            (Remedy("Leave padding out of the loss", "cross_entropy(scores, targets, ignore_index=pad)"),),
        ),
        Cause(
            "mask-inverted",
            "Padding is attended to, and what is real is not.",
            "torch masks: True in key_padding_mask leaves out, in scaled_dot_product_attention it keeps.",
            (Remedy("Turn the mask round", "mask = ~mask"),),
        ),
        Cause(
            "mask-ignored",
            "What is padded changes the outputs elsewhere: the mask is not used, or not everywhere.",
            "Change x where it is padded and compare the outputs.",
            (Remedy("Mask attention and pooling: scores.masked_fill(padded, -inf); sums over lengths"),),
        ),
        Cause(
            "read-at-padding",
            "A recurrent layer runs on into the padding, and is read after it.",
            "Compare model(x[:1]) and model(x[:1, :length]).",
            (Remedy("Pack the sequences, or read each one's state at its length", "pack_padded_sequence(x, lengths)"),),
        ),
        Cause(
            "all-masked",
            "An example has nothing but padding: a softmax over nothing is NaN, a mean over nothing too.",
            "mask.sum(1).min()",
            (Remedy("Leave such examples out of the batch"),),
        ),
    ),
    needs=("loss", "gradient"),
    references=("github.com/DaoyuanLi2816/Molecule-Generator/pull/20",),
    judge=lambda measured: check_padding(measured.structure.paddings),
)


def check_padding(paddings: Sequence[Padding]) -> list[Finding]:
    if not paddings:
        return [PADDING.not_applicable("No padded positions are seen in the inputs.")]
    found = {(one.cause, one.where): one for padding in reversed(paddings) for one in _found(padding)}
    return list(found.values()) or [PADDING.holds(_evidence(paddings[0]))]


def _found(padding: Padding) -> Iterator[Finding]:
    evidence, share = _evidence(padding), f"{100 * padding.share:.0f} % of `{padding.name}` is padding"
    if padding.in_loss >= _SUSPECT_SHARE:
        text = f"{share}, and it has {100 * padding.in_loss:.0f} % of what the loss sends back to the outputs."
        # What only the data show may be a state that is real and stays.
        sure = bool(padding.known_by) and padding.in_loss >= _FAILS_SHARE
        verdict = Verdict.FAILS if sure else Verdict.SUSPECT
        yield PADDING.found(verdict, text, where="loss", cause="padding-in-loss", evidence=evidence)
    if padding.moves > _MOVES and (padding.real_moves <= _STILL or padding.inverted):
        told = f"what `{padding.known_by}` tells to be padding" if padding.known_by else f"padding of `{padding.name}`"
        text = f"Outputs move by {100 * padding.moves:.3g} % when {told} is changed, and not at all " + (
            "when the mask is turned round." if padding.inverted else "when what is real is."
        )
        where = padding.known_by or padding.name
        yield PADDING.found(Verdict.FAILS, text, where=where, cause="mask-inverted", evidence=evidence)
    elif padding.unread >= _UNREAD:
        text = (
            f"In {100 * padding.unread:.0f} % of the examples the last element of `{padding.name}` that is no padding"
            " has no influence on the outputs: a recurrent layer is read before it."
        )
        yield PADDING.found(Verdict.FAILS, text, where="outputs", cause="read-at-padding", evidence=evidence)
    elif padding.known_by and _ignored(padding):
        text = (
            f"Outputs elsewhere move by {100 * padding.moves:.3g} % of the largest when what `{padding.known_by}`"
            " tells to be padding is changed."
        )
        verdict = Verdict.FAILS if padding.cut > _SUSPECT_CUT else Verdict.SUSPECT
        cause = "read-at-padding" if padding.recurrent else "mask-ignored"
        yield PADDING.found(verdict, text, where=padding.known_by, cause=cause, evidence=evidence)
    elif padding.cut > _SUSPECT_CUT:
        cause = "read-at-padding" if padding.recurrent else "mask-ignored"
        text = (
            f"{share}, and an example's outputs move by {padding.cut:.2g} times what separates examples when its"
            " padding is cut off."
        )
        sure = bool(padding.known_by) and padding.recurrent and padding.cut > _FAILS_CUT
        verdict = Verdict.FAILS if sure else Verdict.SUSPECT
        yield PADDING.found(verdict, text, where="outputs", cause=cause, evidence=evidence)
    if padding.empty:
        text = f"{padding.empty} examples of `{padding.name}` are nothing but padding."
        yield PADDING.found(Verdict.SUSPECT, text, where=padding.name, cause="all-masked", evidence=evidence)


def _ignored(padding: Padding) -> bool:
    """Whether outputs depend on what is told to be padding. Where it cannot be cut off, what a convolution reads beyond
    the end is no more than a part of what is pooled.
    """
    if padding.cut == padding.cut:
        return padding.moves > _MOVES and padding.cut > _SUSPECT_CUT
    return padding.pooled and padding.moves > _POOLED


def _evidence(padding: Padding) -> tuple[Evidence, ...]:
    told = (
        ("share of padding in what the loss sends back", padding.in_loss, f"below {_SUSPECT_SHARE:g}"),
        ("change of outputs elsewhere by padding", padding.moves, f"below {_MOVES:g}"),
        ("change of an example's outputs without its padding", padding.cut, f"below {_SUSPECT_CUT:g}"),
    )
    return tuple(Evidence(what, value, "outputs", reference=sound) for what, value, sound in told if value == value)
