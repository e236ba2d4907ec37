"""From weights to findings: WP301, WP302 and WP305."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.backends.protocol import Gradient, LossCall, Run
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.gaussian import expectations
from wellposed.numerics.meanfield import gradient_factor
from wellposed.rules.weights import INITIAL_LOSS, RULES, SYMMETRIC, VARIANCE
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_SIGMAS = 4.0


def not_judged(reason: str) -> list[Finding]:
    return [rule.undecided(reason) for rule in RULES]


def check(
    trace: Trace, run: Run, weights: dict[str, Vector], after_a_step: Callable[[], tuple[dict[str, Vector], Gradient]]
) -> list[Finding]:
    """Findings for the weights as they are, beside the run that used them."""
    return [_variance(trace, weights), _symmetric(trace, run, weights, after_a_step), _initial_loss(run.loss_call)]


# --- WP301 -------------------------------------------------------------------------------------


def layer_factor(site: Site, weight: Vector) -> tuple[float, float]:
    """The factor on the gradient's size by this layer's weights and activation, and its relative standard error.

    Theory for independent weights; NaN where the activation is not finite. No gradient passes through a first
    layer, so its activation does not count against it. The error is that of a mean square
    of n entries: sqrt((kurtosis - 1) / n) / 2.
    """
    assert site.layer.weight is not None
    squares = weight.ravel() ** 2
    mean_square = float(squares.mean())
    error = float(squares.std() / mean_square / np.sqrt(squares.size) / 2) if mean_square else 0.0
    chi = site.layer.weight.fan_in * mean_square
    if site.curve is not None and site.before is not None:
        at = expectations(site.curve, min(max(site.forward.mean_square, 1e-12), 1.0))
        chi = gradient_factor(at, chi)
    return float(np.sqrt(chi)), error


def _variance(trace: Trace, weights: dict[str, Vector]) -> Finding:
    judged: list[tuple[Site, float, float]] = []
    for site in trace.trunk:
        use = site.layer.weight
        rescaled = site.is_output or site.normalised or site.follower in ("add", "norm", "other", "")
        if use is None or use.name not in weights or rescaled or not site.forward.finite:
            continue
        if not weights[use.name].any():
            continue  # a deliberate zero
        factor, error = layer_factor(site, weights[use.name])
        if np.isfinite(factor) and factor > 0:
            judged.append((site, factor, error))
    if not judged:
        return VARIANCE.undecided(
            "No hidden layer on the way of every signal stands alone before an activation: normalisation, sums or the loss set the scale."
        )
    logs = np.log([factor for _, factor, _ in judged])
    product = float(np.exp(logs.sum()))
    product_error = _SIGMAS * float(np.sqrt(np.sum([error**2 for *_, error in judged])))
    deviation = np.abs(logs - np.median(logs)) if len(logs) > 2 else np.abs(logs)
    worst = int(np.argmax(deviation))
    site, factor, error = judged[worst]
    evidence = (
        Evidence("factor per layer (median)", float(np.exp(np.median(logs))), reference="1", how=f"{len(judged)} layers"),
        Evidence("factor of the layer furthest from the others", factor, site.name, reference="0.1 to 10", error=_SIGMAS * error * factor),
        Evidence("product over the layers", product, reference="0.01 to 100", error=product_error * product),
    )
    single = _verdict(abs(logs[worst]) - _SIGMAS * error, 10.0, 100.0)
    total = _verdict(abs(logs.sum()) - product_error, 100.0, 1000.0)
    if single is Verdict.HOLDS and total is Verdict.HOLDS:
        return VARIANCE.holds(evidence)
    verdict = Verdict.FAILS if Verdict.FAILS in (single, total) else Verdict.SUSPECT
    rest = abs(logs.sum() - logs[worst])
    if single is not Verdict.HOLDS and (len(judged) == 1 or rest < np.log(100) or single is Verdict.FAILS):
        text = (
            f"The weights of `{site.name}` have {factor**2:.3g} of the variance that keeps the gradient through {_read_by(site)} "
            f"({_should(site, factor, weights)})."
        )
        return VARIANCE.found(verdict, text, where=site.name, cause="layer", evidence=evidence)
    site, factor, _ = judged[0]
    text = (
        f"Each of {len(judged)} layers multiplies the gradient by about {np.exp(np.median(logs)):.3g}, together by {product:.2g}. "
        f"At `{site.name}`, before {_read_by(site)}: {_should(site, factor, weights)}."
    )
    return VARIANCE.found(verdict, text, where=site.name, cause="gain", evidence=evidence)


def _read_by(site: Site) -> str:
    return site.function or "the next layer"


def _should(site: Site, factor: float, weights: dict[str, Vector]) -> str:
    assert site.layer.weight is not None
    deviation = float(np.sqrt(np.mean(weights[site.layer.weight.name] ** 2)))
    return f"standard deviation {deviation:.3g}, where {deviation / factor:.3g} would keep it"


def _verdict(log_size: float, suspect: float, fails: float) -> Verdict:
    if log_size > np.log(fails):
        return Verdict.FAILS
    return Verdict.SUSPECT if log_size > np.log(suspect) else Verdict.HOLDS


# --- WP302 -------------------------------------------------------------------------------------


def _symmetric(
    trace: Trace, run: Run, weights: dict[str, Vector], after_a_step: Callable[[], tuple[dict[str, Vector], Gradient]]
) -> Finding:
    suspects = [site for site in trace.hidden if _twins(site, weights, run.gradient) > 0]
    if suspects:
        later_weights, later_gradient = after_a_step()
        suspects = [site for site in suspects if _twins(site, later_weights, later_gradient) > 0]
    if not suspects:
        seen = [site for site in trace.hidden if site.layer.weight is not None]
        return SYMMETRIC.holds() if seen else SYMMETRIC.undecided("No hidden layer's weights were seen at work.")
    site = max(suspects, key=lambda s: _twins(s, weights, run.gradient) / _units(s, weights))
    use = site.layer.weight
    assert use is not None
    twins, units = _twins(site, weights, run.gradient), _units(site, weights)
    constant = bool(np.ptp(weights[use.name]) == 0)
    evidence = (Evidence("units with a twin", twins, use.name, unit=f"of {units}", reference="0"),)
    verdict = Verdict.FAILS if twins == units else Verdict.SUSPECT
    text = (
        f"{twins} of the {units} units of `{site.name}` have the same weights and the same gradients as another: "
        "no step of training will separate them."
    )
    if constant:
        text += f" Every entry of `{use.name}` is {weights[use.name].flat[0]:.6g}."
    return SYMMETRIC.found(verdict, text, where=use.name, cause="constant" if constant else "cloned", evidence=evidence)


def _units(site: Site, weights: dict[str, Vector]) -> int:
    assert site.layer.weight is not None
    return int(weights[site.layer.weight.name].shape[site.layer.weight.unit_axis])


def _twins(site: Site, weights: dict[str, Vector], gradient: Gradient) -> int:
    """How many units share weights, bias and their gradients with another unit."""
    use = site.layer.weight
    if use is None or use.name not in weights or gradient.get(use.name) is None:
        return 0
    slope = gradient[use.name]
    assert slope is not None
    rows = [_per_unit(weights[use.name], use.unit_axis), _rounded(_per_unit(slope, use.unit_axis))]
    if rows[0].shape[0] < 2:
        return 0
    if use.bias in weights and weights[use.bias].size == rows[0].shape[0]:
        bias_slope = gradient.get(use.bias)
        rows.append(weights[use.bias].reshape(-1, 1))
        if bias_slope is not None:
            rows.append(_rounded(bias_slope.reshape(-1, 1)))
    _, counts = np.unique(np.concatenate(rows, axis=1), axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def _per_unit(array: Vector, axis: int) -> Vector:
    moved: Vector = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    return moved


def _rounded(slope: Vector) -> Vector:
    """Sums in another order differ in the last digits; twins' gradients agree to five."""
    size = float(np.abs(slope).max())
    return np.round(slope / size, 5) + 0.0 if size > 0 else slope


# --- WP305 -------------------------------------------------------------------------------------


def _initial_loss(call: LossCall | None) -> Finding:
    if call is None:
        return INITIAL_LOSS.undecided(
            "No known loss function was called on outputs and targets, so there is no constant predictor to compare with."
        )
    loss = call.per_example
    if loss.size < 2 or not np.isfinite(loss).all():
        return INITIAL_LOSS.undecided("The loss has fewer than two finite terms.")
    mean, error = float(loss.mean()), float(loss.std(ddof=1) / np.sqrt(loss.size))
    lowest = max(mean - 2 * error, 0.0)
    if call.kind == "cross_entropy":
        constant = _class_entropy(call.targets, call.classes)
        excess = lowest - constant
    else:
        constant = float(np.var(call.targets))
        if constant == 0:
            return INITIAL_LOSS.undecided("All targets of the batch are equal, so any constant is a perfect prediction.")
        excess = 0.5 * float(np.log(max(lowest, 1e-300) / constant))
    evidence = (
        Evidence("mean loss over the batch", mean, "loss", error=2 * error),
        Evidence(
            "loss of the best constant prediction", constant, "loss", how="class frequencies" if call.classes else "variance of the targets"
        ),
        Evidence("excess", excess, "loss", unit="nats", reference="below 1.15"),
    )
    if excess <= 1.15:
        return INITIAL_LOSS.holds(evidence)
    verdict = Verdict.FAILS if excess > 4.6 else Verdict.SUSPECT
    text = f"The loss is {mean:.4g}; the best constant prediction would have {constant:.4g}."
    off_centre = call.kind == "squared_error" and float(np.mean(call.targets)) ** 2 > constant
    cause = "targets-not-centred" if off_centre else "logits-too-large" if call.kind == "cross_entropy" else ""
    return INITIAL_LOSS.found(verdict, text, where="loss", cause=cause, evidence=evidence)


def _class_entropy(targets: Array, classes: int) -> float:
    """Entropy of the class frequencies in nats, with one count added to each class, at most ln C."""
    counts = np.bincount(targets.astype(np.int64), minlength=classes) + 1.0
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())
