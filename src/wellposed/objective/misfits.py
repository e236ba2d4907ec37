"""What a known loss function gets, held against what it is made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from wellposed.backends.measured import LossArguments
from wellposed.findings import Evidence, Verdict
from wellposed.numerics.activations import RANGES
from wellposed.numerics.arrays import Array, Vector

_POSITIVE = 0.5  # a binary target beyond it is one of the positive class
_ONE = 1e-3  # how far a sum of probabilities may be from 1
NATS, VARIANCE = 0.1, 0.05  # of a loss, and of the targets: what can be reached below it counts as reached
_FAVOURS = 1.5
_SCORES, _LOGS = ("cross_entropy",), ("nll_loss", "kl_div")
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_CUT_OFF = 0.1  # share of the examples whose own score is cut off
_FEWEST_SUMS = 8  # freedoms in rows that sum to 1: fewer may do so by chance
_REAL = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "a difference")


@dataclass(frozen=True)
class _Misfit:
    cause: str
    verdict: Verdict
    message: str
    evidence: tuple[Evidence, ...] = ()


_Check = Callable[[LossArguments], _Misfit | None]


def misfits(call: LossArguments) -> Iterator[_Misfit]:
    checks: tuple[_Check, ...] = (
        _combined,
        _one_unit,
        _wrong_axis,
        _classes,
        _scores,
        _logs,
        _binary,
        _real,
        _favoured,
    )
    for check in checks:
        misfit = check(call)
        if misfit is not None:
            yield misfit
            return
    if call.raised:
        text = f"{call.function} raised: {call.raised.rstrip('.')}. {_shapes(call)}"
        yield _Misfit(_unfitting(call), Verdict.FAILS, text)


def _unfitting(call: LossArguments) -> str:
    outputs, targets = call.outputs.shape, call.targets.shape
    return "lengths" if outputs and targets and outputs[0] != targets[0] else "shapes"


def _combined(call: LossArguments) -> _Misfit | None:
    """A row and a column of the user's own, in whatever is written by hand."""
    if not call.line:
        return None
    one, other = list(call.outputs.shape), list(call.targets.shape)
    whole = list(np.broadcast_shapes(call.outputs.shape, call.targets.shape))
    text = (
        f"{call.function[0].upper()}{call.function[1:]} of shapes {one} and {other} is broadcast to {whole}, at"
        f" {call.line}: every example is held against every other."
    )
    return _Misfit("broadcast", Verdict.FAILS, text)


def _shapes(call: LossArguments) -> str:
    return (
        f"Outputs have shape {list(call.outputs.shape)}, targets {list(call.targets.shape)} of"
        f" {call.dtype or call.targets.dtype}."
    )


def _one_unit(call: LossArguments) -> _Misfit | None:
    classes = call.outputs.shape[1] if call.outputs.ndim > 1 else 0
    if call.function in _SCORES and classes == 1:
        return _Misfit(
            "one-unit-softmax",
            Verdict.FAILS,
            "cross_entropy gets a single score per example: the loss is 0 whatever it is.",
        )
    if call.endings[:1] in (("softmax",), ("log_softmax",)) and call.outputs.size and call.outputs.shape[-1] == 1:
        text = (
            f"The last layer has one unit and a softmax: every output is {call.outputs.flat[0]:g} whatever the inputs"
            " are."
        )
        return _Misfit("one-unit-softmax", Verdict.FAILS, text)
    return None


def _wrong_axis(call: LossArguments) -> _Misfit | None:
    logarithms = call.endings[:1] == ("log_softmax",) or call.endings[:2] == ("log", "softmax")
    if not (logarithms or call.endings[:1] == ("softmax",)) or call.outputs.ndim < 2 or call.outputs.shape[0] < 2:
        return None
    outputs = np.exp(call.outputs) if logarithms else call.outputs
    over_rows, over_classes = (
        _apart(outputs.sum(axis=0)),
        min(_apart(outputs.sum(axis=axis)) for axis in range(1, outputs.ndim)),
    )
    if over_rows < _ONE <= over_classes:
        evidence = (
            Evidence("furthest column sum from 1", over_rows, "outputs"),
            Evidence("furthest row sum from 1", over_classes, "outputs"),
        )
        text = "The softmax before the loss runs over the examples of the batch: columns sum to 1, and rows do not."
        return _Misfit("wrong-softmax-axis", Verdict.FAILS, text, evidence)
    return None


def _apart(sums: Vector) -> float:
    return float(np.abs(sums - 1).max()) if sums.size else np.inf


def _classes(call: LossArguments) -> _Misfit | None:
    """Targets that are no class indices, for a loss of classes."""
    if call.function not in (*_SCORES, "nll_loss"):
        return None
    targets, outputs = call.targets, call.outputs
    if targets.dtype.kind == "f":
        if targets.shape == outputs.shape:
            return None  # probabilities
        return _Misfit(
            "target-dtype",
            Verdict.FAILS,
            f"{call.function} takes class indices, and the targets are real numbers. {_shapes(call)}",
        )
    if call.raised and call.dtype not in ("int64", "uint8"):
        return _Misfit("target-dtype", Verdict.FAILS, f"{call.function} takes class indices of int64. {_shapes(call)}")
    if targets.shape == outputs.shape and targets.ndim > 1:
        return _Misfit(
            "one-hot",
            Verdict.FAILS,
            f"{call.function} takes class indices, and got rows of whole numbers. {_shapes(call)}",
        )
    classes = outputs.shape[1] if outputs.ndim > 1 else outputs.shape[0]
    kept = targets[targets != call.ignored] if call.ignored is not None else targets
    if not kept.size or (kept.min() >= 0 and kept.max() < classes):
        return None
    counted = " They seem to be counted from 1." if kept.min() == 1 and kept.max() == classes else ""
    text = (
        f"Class indices go from {kept.min()} to {kept.max()}, and there are {classes} scores: 0 to {classes - 1} are"
        f" allowed.{counted}"
    )
    return _Misfit("class-range", Verdict.FAILS, text)


def _scores(call: LossArguments) -> _Misfit | None:
    """Scores that are probabilities already, bounded or rectified."""
    outputs = call.outputs
    if call.function not in _SCORES or outputs.ndim < 2 or not np.isfinite(outputs).all() or outputs.shape[1] < 2:
        return None
    classes, sums = outputs.shape[1], outputs.sum(axis=1)
    ending = call.endings[0] if call.endings else ""
    if sums.size * (classes - 1) >= _FEWEST_SUMS and outputs.min() >= 0 and _apart(sums) < _ONE:
        lowest = _lowest(classes, 0.0, 1.0)
        text = (
            "cross_entropy gets probabilities: every row sums to 1. It applies a softmax itself, so that the loss can"
            f" never fall below {lowest:.3g}, and its gradient is small where the network is wrong and sure."
        )
        proof = (
            Evidence("lowest loss possible", lowest, "loss", "nats", "0"),
            Evidence("furthest row sum from 1", _apart(sums), "outputs"),
        )
        return _Misfit("double-softmax", Verdict.FAILS, text, proof)
    if ending == "relu":
        return _rectified(call)
    if ending not in RANGES or not np.isfinite(RANGES[ending]).all():
        return None
    lowest = _lowest(classes, *RANGES[ending])
    low, high = RANGES[ending]
    text = (
        f"cross_entropy gets scores between {low:g} and {high:g}, of {ending}: the loss can never fall below"
        f" {lowest:.3g}."
    )
    evidence = (Evidence("lowest loss possible", lowest, "loss", "nats", reference=f"below {NATS}"),)
    return _Misfit("bounded-scores", Verdict.FAILS if lowest > NATS else Verdict.SUSPECT, text, evidence)


def _lowest(classes: int, low: float, high: float) -> float:
    """The cross-entropy of scores that are `high` for the right class and `low` for all others: ln(1 + (C - 1) e^(low -
    high)).
    """
    return float(np.log1p((classes - 1) * np.exp(low - high)))


def _rectified(call: LossArguments) -> _Misfit | None:
    """Scores of which a ReLU has cut off the right ones."""
    outputs, targets = call.outputs, call.targets
    if targets.dtype.kind == "f" or targets.ndim != outputs.ndim - 1:
        return None
    kept = targets != call.ignored
    right = np.take_along_axis(outputs, np.clip(np.expand_dims(targets, 1), 0, outputs.shape[1] - 1), axis=1).squeeze(
        1
    )[kept]
    cut = float(np.mean(right == 0)) if right.size else 0.0
    evidence = (Evidence("share of examples whose own class has a score of exactly 0", cut, "outputs", reference="0"),)
    text = (
        f"A ReLU stands before the loss. For {100 * cut:.0f} % of the examples it cuts off the score of their own"
        " class, which then gets no gradient."
    )
    return _Misfit("rectified-scores", Verdict.FAILS if cut > _CUT_OFF else Verdict.SUSPECT, text, evidence)


def _logs(call: LossArguments) -> _Misfit | None:
    outputs = call.outputs
    if call.function not in _LOGS or outputs.ndim < 2 or not np.isfinite(outputs).all() or outputs.shape[1] < 2:
        return None
    over: tuple[int | tuple[int, ...], ...] = (1,)
    if call.function == "kl_div":  # of distributions along any axis, over an image, or over everything
        over = (1, -1, tuple(range(1, outputs.ndim)), tuple(range(outputs.ndim)))
    apart = min(float(np.abs(logsumexp(outputs, axis=axes)).max()) for axes in over)
    if apart < 10 * _ONE:
        return None
    probable = outputs.min() >= 0 and min(_apart(outputs.sum(axis=axes)) for axes in over) < _ONE
    if call.function == "kl_div" and probable and _are_logs(call.targets, over):
        text = (
            "kl_div takes logarithms of the model's probabilities first and probabilities of the targets second; here"
            " it gets probabilities first and logarithms second."
        )
        return _Misfit("argument-order", Verdict.FAILS, text)
    are = "probabilities" if probable else "no logarithms of probabilities"
    text = (
        f"{call.function} takes logarithms of probabilities; what it gets are {are}: their exponentials do not sum"
        " to 1."
    )
    evidence = (Evidence("furthest log of a sum of exponentials from 0", apart, "outputs", reference="0"),)
    return _Misfit("missing-log-softmax", Verdict.FAILS, text, evidence)


def _are_logs(array: Array, over: tuple[int | tuple[int, ...], ...]) -> bool:
    """Whether they are logarithms of probabilities along one of these axes."""
    if array.dtype.kind != "f" or array.max(initial=0.0) > 0:
        return False
    return min(float(np.abs(logsumexp(array, axis=axes)).max()) for axes in over) < 10 * _ONE


def _binary(call: LossArguments) -> _Misfit | None:
    if call.function not in _BINARY:
        return None
    outputs, targets = call.outputs, call.targets
    if targets.shape != outputs.shape:
        return _Misfit(
            "broadcast" if not call.raised else _unfitting(call),
            Verdict.FAILS,
            f"{call.function} takes one target per score. {_shapes(call)}",
        )
    if targets.dtype.kind != "f" and call.raised:
        return _Misfit("target-dtype", Verdict.FAILS, f"{call.function} takes targets as real numbers. {_shapes(call)}")
    if targets.size and not call.weighted and (targets.min() < 0 or targets.max() > 1):
        span = f"{targets.min():g} to {targets.max():g}"
        text = f"{call.function} takes targets from 0 to 1, and these go from {span}: the loss has no lower bound."
        return _Misfit("target-range", Verdict.FAILS, text)
    if call.function == "binary_cross_entropy" and outputs.size and (outputs.min() < 0 or outputs.max() > 1):
        text = (
            f"binary_cross_entropy takes probabilities, and the outputs go from {outputs.min():.3g} to"
            f" {outputs.max():.3g}."
        )
        return _Misfit("missing-sigmoid", Verdict.FAILS, text)
    ending = call.endings[0] if call.endings else ""
    if call.function == "binary_cross_entropy" or ending not in RANGES:
        return None
    low, high = RANGES[ending]
    lowest = float(np.mean(np.where(targets > _POSITIVE, np.log1p(np.exp(-high)), np.log1p(np.exp(low)))))
    cause = "double-sigmoid" if ending == "sigmoid" else "rectified-scores" if ending == "relu" else "bounded-scores"
    text = (
        f"binary_cross_entropy_with_logits applies a sigmoid to what {ending} has made, from {low:g} to {high:g}: the"
        f" loss can never fall below {lowest:.3g}."
    )
    evidence = (Evidence("lowest loss possible for these targets", lowest, "loss", "nats", reference=f"below {NATS}"),)
    return _Misfit(cause, Verdict.FAILS if lowest > NATS else Verdict.SUSPECT, text, evidence)


def _real(call: LossArguments) -> _Misfit | None:
    if call.function not in _REAL:
        return None
    outputs, targets = call.outputs, call.targets
    if outputs.shape != targets.shape:
        return _broadcast(call)
    ending = call.endings[0] if call.endings else ""
    if ending not in RANGES or not targets.size or call.weighted or not np.isfinite(targets).all():
        return None
    low, high = RANGES[ending]
    beyond = targets - np.clip(targets, low, high)
    variance = float(np.var(targets))
    left = float(np.mean(beyond**2)) / variance if variance > 0 else 0.0
    if left > 0:
        share = float(np.mean(beyond != 0))
        text = (
            f"{100 * share:.0f} % of the targets lie beyond what {ending} can reach ({low:g} to {high:g}): they go from"
            f" {targets.min():.3g} to {targets.max():.3g}."
        )
        evidence = (
            Evidence(
                "lowest squared error over the variance of the targets", left, "loss", reference=f"below {VARIANCE}"
            ),
        )
        return _Misfit("target-range", Verdict.FAILS if left > VARIANCE else Verdict.SUSPECT, text, evidence)
    if call.function == "mse_loss" and ending in ("sigmoid", "softmax") and _two_valued(targets):
        text = f"Squared error on classes behind {ending}: the gradient vanishes where the network is wrong and sure."
        return _Misfit("squared-error-on-classes", Verdict.SUSPECT, text)
    return None


def _broadcast(call: LossArguments) -> _Misfit | None:
    try:
        shape = np.broadcast_shapes(call.outputs.shape, call.targets.shape)
    except ValueError:
        return None  # the call itself raises
    if int(np.prod(shape)) <= max(call.outputs.size, call.targets.size):
        return None  # a spare axis of length 1
    text = (
        f"{_shapes(call)} They are broadcast to {list(shape)}, so that every output is held against every target: the"
        " best is their mean."
    )
    return _Misfit("broadcast", Verdict.FAILS, text)


def _favoured(call: LossArguments) -> _Misfit | None:
    """Class weights that add to an imbalance where they are there to take it away."""
    if call.weights is None or call.raised or call.targets.dtype.kind not in "iu" or call.outputs.ndim < 2:
        return None
    kept = call.targets[(call.targets >= 0) & (call.targets != call.ignored)]
    counts = np.bincount(kept.ravel(), minlength=call.weights.size).astype(float)
    weights = np.asarray(call.weights, dtype=np.float64)
    frequent, rare = int(np.argmax(counts)), int(np.argmin(counts))
    # The rarest may be rare by chance: its share is at most what four standard deviations of a count allow.
    most = counts[rare] + 4 * np.sqrt(counts[rare] + 1)
    if (
        counts.size != weights.size
        or not counts[rare]
        or not (weights[frequent] > _FAVOURS * weights[rare] and counts[frequent] > _FAVOURS * most)
    ):
        return None
    text = (
        f"Class {frequent} is the most frequent ({counts[frequent]:.0f} of {kept.size} targets) and weighs"
        f" {weights[frequent]:.3g}; class {rare} is the rarest ({counts[rare]:.0f}) and weighs {weights[rare]:.3g}: the"
        " weights favour the class that needs it least."
    )
    return _Misfit("class-weights", Verdict.SUSPECT, text)


def _two_valued(targets: Array) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())
