"""WP407: padding changes nothing, and what is not padding counts."""

from __future__ import annotations

from collections.abc import Iterator

from wellposed.backends.structure import Padding
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_SUSPECT_SHARE, _FAILS_SHARE = 0.2, 0.5  # of what the loss sends back
_MOVES = 1e-3  # of the largest output
_STILL = 1e-6  # of it
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
        " changed; where they move, and not when what is real is changed, the mask is inverted. The padding of"
        f" single examples is cut off: outputs that move by {100 * _SUSPECT_CUT:g} % of what separates examples are"
        f" suspect; they fail where a mask is given, and by {_FAILS_CUT:g} times of it behind a recurrent layer."
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
            "The last state of a recurrent layer is read after the padding.",
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
    judge=lambda measured: check_padding(measured.padding),
)


def check_padding(padding: Padding | None) -> list[Finding]:
    if padding is None:
        return [PADDING.not_applicable("No padded positions are seen in the inputs.")]
    return list(_found(padding)) or [PADDING.holds(_evidence(padding))]


def _found(padding: Padding) -> Iterator[Finding]:
    evidence, share = _evidence(padding), f"{100 * padding.share:.0f} % of `{padding.name}` is padding"
    if padding.in_loss >= _SUSPECT_SHARE:
        text = f"{share}, and it has {100 * padding.in_loss:.0f} % of what the loss sends back to the outputs."
        verdict = Verdict.FAILS if padding.in_loss >= _FAILS_SHARE else Verdict.SUSPECT
        yield PADDING.found(verdict, text, where="loss", cause="padding-in-loss", evidence=evidence)
    if padding.moves > _MOVES and padding.real_moves <= _STILL:
        text = (
            f"Outputs move by {100 * padding.moves:.3g} % when what `{padding.known_by}` tells to be padding is"
            " changed, and not at all when what is real is."
        )
        yield PADDING.found(Verdict.FAILS, text, where=padding.known_by, cause="mask-inverted", evidence=evidence)
    elif padding.moves > _MOVES and not padding.cut <= _SUSPECT_CUT:
        text = (
            f"Outputs elsewhere move by {100 * padding.moves:.3g} % of the largest when what `{padding.known_by}`"
            " tells to be padding is changed."
        )
        yield PADDING.found(Verdict.FAILS, text, where=padding.known_by, cause="mask-ignored", evidence=evidence)
    elif padding.cut > _SUSPECT_CUT:
        cause = "read-at-padding" if padding.recurrent else "mask-ignored"
        text = (
            f"{share}, and an example's outputs move by {padding.cut:.2g} times what separates examples when its"
            " padding is cut off."
        )
        verdict = Verdict.FAILS if padding.recurrent and padding.cut > _FAILS_CUT else Verdict.SUSPECT
        yield PADDING.found(verdict, text, where="outputs", cause=cause, evidence=evidence)
    if padding.empty:
        text = f"{padding.empty} examples of `{padding.name}` are nothing but padding."
        yield PADDING.found(Verdict.SUSPECT, text, where=padding.name, cause="all-masked", evidence=evidence)


def _evidence(padding: Padding) -> tuple[Evidence, ...]:
    told = (
        ("share of padding in what the loss sends back", padding.in_loss, f"below {_SUSPECT_SHARE:g}"),
        ("change of outputs elsewhere by padding", padding.moves, f"below {_MOVES:g}"),
        ("change of an example's outputs without its padding", padding.cut, f"below {_SUSPECT_CUT:g}"),
    )
    return tuple(Evidence(what, value, "outputs", reference=sound) for what, value, sound in told if value == value)
