"""WP301: whether a layer's weights and the activation behind it keep the size of the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.gaussian import expectations
from wellposed.numerics.meanfield import gradient_factor
from wellposed.numerics.weight import Weight
from wellposed.rule import Cause, Rule
from wellposed.signals.rules.words import INITIALIZE
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace
from wellposed.weights.orthogonality import borne_out, measure_agreement, orthogonal
from wellposed.weights.rules.words import GLOROT, HE

_SIGMAS = 4.0
_LAYER_SUSPECT, _LAYER_FAILS = 10.0, 100.0  # factor of one layer, either way
_PRODUCT_SUSPECT, _PRODUCT_FAILS = 100.0, 1000.0  # of all layers together, either way


VARIANCE = Rule(
    id="WP301",
    subject="weights",
    priority=140,
    follows=("WP303",),
    title="weight variance wrong for the activation that follows",
    claim="The weights and the activations that follow them keep the size of the signal.",
    judged=(
        "Per layer, the factor on the size of the gradient that theory gives for its weights and its activation:"
        " sqrt(fan_in mean(W^2) E[phi'(sqrt(q) z)^2]), z ~ N(0, 1), q the measured mean square of the pre-activation,"
        " at most 1 (without E for a first layer, through which no gradient passes). Judged are layers on the way of"
        " every signal (not in a branch) that nothing else rescales: no normalisation or sum follows, and it is not"
        f" the output layer. The product over these layers fails outside {1 / _PRODUCT_FAILS:g} to {_PRODUCT_FAILS:g}"
        f" and is suspect outside {1 / _PRODUCT_SUSPECT:g} to {_PRODUCT_SUSPECT:g}; one layer on its own fails outside"
        f" {1 / _LAYER_FAILS:g} to {_LAYER_FAILS:g} and is suspect outside {1 / _LAYER_SUSPECT:g} to"
        f" {_LAYER_SUSPECT:g}. The sampling error of mean(W^2) must be exceeded too."
    ),
    causes=(
        Cause(
            "gain",
            "All layers share the factor: the scheme does not fit the activation.",
            "wp.gain(activation).backward",
            (INITIALIZE,),
        ),
        Cause(
            "layer",
            "This layer alone is off: a fan counted on the wrong side, a copied constant, or a forgotten layer.",
            "Print weight.std() * fan_in ** 0.5 for this layer and its neighbours.",
            (INITIALIZE,),
        ),
    ),
    references=(HE, GLOROT, "LeCun et al.: Efficient BackProp, 1998"),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_variance(measured.trace, measured.weights),
    treatment="initialize",
)


def layer_factor(site: Site, weight: Weight) -> tuple[float, float]:
    """The factor on the gradient's size by this layer's weights and activation, and its relative standard error.

    Theory for independent weights; NaN where the activation is not finite. No gradient passes through a first
    layer, so its activation does not count against it. The error is that of a mean square
    of n entries: sqrt((kurtosis - 1) / n) / 2.
    """
    assert site.layer.weight is not None
    square, error = weight.mean_square
    chi = site.layer.weight.fan_in * square
    if site.curve is not None and site.before is not None:
        at = expectations(site.curve, min(max(site.forward.mean_square, 1e-12), 1.0))
        chi = gradient_factor(at, chi)
    return float(np.sqrt(chi)), error / 2


def _normalised_after(trace: Trace, site: Site) -> bool:
    """Whether a normalisation that every way passes comes before the next layer: behind the activation, say."""
    following = next((other.index for other in trace.trunk if other.index > site.index), len(trace.operations))
    return any(
        trace.operations[index].kind == "norm" and trace.passed[index] for index in range(site.index + 1, following)
    )


def check_variance(trace: Trace, weights: Mapping[str, Weight]) -> Finding:
    judged = list(_factors(trace, weights))
    if not judged:
        return VARIANCE.not_applicable(
            "No hidden layer on the way of every signal stands alone before an activation: normalisation, sums or the"
            " loss set the scale."
        )
    logs = np.log([factor for _, factor, _ in judged])
    product = float(np.exp(logs.sum()))
    product_error = _SIGMAS * float(np.sqrt(np.sum([error**2 for *_, error in judged])))
    deviation = np.abs(logs - np.median(logs)) if len(logs) > 2 else np.abs(logs)
    worst = int(np.argmax(deviation))
    site, factor, error = judged[worst]
    evidence = (
        Evidence(
            "factor per layer (median)", float(np.exp(np.median(logs))), reference="1", how=f"{len(judged)} layers"
        ),
        Evidence(
            "factor of the layer furthest from the others",
            factor,
            site.name,
            reference=f"{1 / _LAYER_SUSPECT:g} to {_LAYER_SUSPECT:g}",
            error=_SIGMAS * error * factor,
        ),
        Evidence(
            "product over the layers",
            product,
            reference=f"{1 / _PRODUCT_SUSPECT:g} to {_PRODUCT_SUSPECT:g}",
            error=product_error * product,
        ),
    )
    away = 0.0 if _meant(site, weights) else abs(logs[worst]) - _SIGMAS * error
    single = _verdict(away, _LAYER_SUSPECT, _LAYER_FAILS)
    sites = [site for site, *_ in judged]
    total = _verdict(abs(borne_out(float(logs.sum()), sites)) - product_error, _PRODUCT_SUSPECT, _PRODUCT_FAILS)
    if single is Verdict.HOLDS and total is Verdict.HOLDS:
        return VARIANCE.holds(evidence)
    verdict = Verdict.FAILS if Verdict.FAILS in (single, total) else Verdict.SUSPECT
    rest = abs(logs.sum() - logs[worst])
    alone = len(judged) == 1 or rest < np.log(_PRODUCT_SUSPECT) or single is Verdict.FAILS
    if single is not Verdict.HOLDS and alone:
        text = (
            f"The weights of `{site.name}` have {factor**2:.3g} of the variance that keeps the gradient through"
            f" {_read_by(site)} ({_should(site, factor, weights)})."
        )
        return VARIANCE.found(verdict, text, where=site.name, cause="layer", evidence=evidence)
    site, factor, _ = next((one for one in judged if one[0].layer.inputs), judged[0])
    text = (
        f"Each of {len(judged)} layers multiplies the gradient by about {np.exp(np.median(logs)):.3g}, together by"
        f" {product:.2g}. At `{site.name}`, before {_read_by(site)}: {_should(site, factor, weights)}."
    )
    return VARIANCE.found(verdict, text, where=site.name, cause="gain", evidence=evidence)


def _factors(trace: Trace, weights: Mapping[str, Weight]) -> Iterator[tuple[Site, float, float]]:
    """Each layer that nothing else rescales, with its factor and that factor's relative standard error."""
    for site in trace.trunk:
        use = site.layer.weight
        rescaled = (
            site.is_output
            or site.normalised
            or site.follower in ("add", "norm", "other", "")
            or _normalised_after(trace, site)
        )
        if use is None or use.name not in weights or rescaled or not site.forward.finite:
            continue
        if not weights[use.name].any:
            continue  # a deliberate zero
        factor, error = layer_factor(site, weights[use.name])
        if not site.layer.inputs and factor > 0 and site.forward.rms > 0:
            # Right for its inputs, if what it makes is of usual size.
            factor = float(np.exp(measure_agreement(np.log(factor), np.log(site.forward.rms))))
        if np.isfinite(factor) and factor > 0:
            yield site, factor, error


def _meant(site: Site, weights: Mapping[str, Weight]) -> bool:
    """Whether the layer reads the inputs by orthogonal weights, whose scale is a choice."""
    use = site.layer.weight
    return not site.layer.inputs and use is not None and orthogonal(weights[use.name].numbers, use)


def _read_by(site: Site) -> str:
    return site.function or "the next layer"


def _should(site: Site, factor: float, weights: Mapping[str, Weight]) -> str:
    assert site.layer.weight is not None
    deviation = float(np.sqrt(weights[site.layer.weight.name].mean_square[0]))
    return f"standard deviation {deviation:.3g}, where {deviation / factor:.3g} would keep it"


def _verdict(log_size: float, suspect: float, fails: float) -> Verdict:
    if log_size > np.log(fails):
        return Verdict.FAILS
    return Verdict.SUSPECT if log_size > np.log(suspect) else Verdict.HOLDS
