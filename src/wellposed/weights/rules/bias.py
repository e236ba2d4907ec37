"""WP304: biases so large that the inputs hardly show behind them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.numerics.weight import Weight
from wellposed.rule import Cause, Rule
from wellposed.signals.rules.words import INITIALIZE
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_SUSPECT, _FAILS = 10.0, 100.0
_TOLD_APART, _MEANT = 0.1, 1e-4
_STILL_TOLD = 0.1  # of the outputs' size: what their deviation over the batch is at least where the biases do no harm


BIAS = Rule(
    id="WP304",
    subject="weights",
    priority=150,
    title="biases drown the signal",
    claim="Biases leave what tells one example from another to be seen.",
    judged=(
        "The root mean square of a hidden layer's bias over the standard deviation of its output over the batch: above"
        f" {_SUSPECT:g} it is suspect, above {_FAILS:g} it fails. Judged where the layer's input tells examples apart"
        " and no normalisation takes the bias away again."
    ),
    causes=(
        Cause(
            "large",
            "The bias was drawn like a weight, set to a constant, or never divided by what the weights were.",
            "print(layer.bias)",
            (INITIALIZE, Remedy("Start biases at zero", "torch.nn.init.zeros_(layer.bias)")),
        ),
    ),
    references=("Goodfellow, Bengio, Courville: Deep Learning, 2016, section 8.4",),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_biases(measured.trace, measured.weights),
    treatment="initialize",
)


def check_biases(trace: Trace, weights: Mapping[str, Weight]) -> Finding:
    passed = {id(site) for site in trace.trunk}  # what goes another way need not tell examples apart
    judged = [
        (site, ratio)
        for site in trace.hidden
        if id(site) in passed and site.gradient and (ratio := _over_signal(site, weights)) is not None
    ]
    if not judged:
        return BIAS.not_applicable(
            "No hidden layer adds a bias to a signal that tells examples apart, without a normalisation behind it."
        )
    site, ratio = max(judged, key=lambda pair: pair[1])
    name = site.layer.weight.bias if site.layer.weight is not None else ""
    quantity, over = "bias over the signal's deviation over the batch", f"largest of {len(judged)}"
    evidence = (Evidence(quantity, ratio, name, reference=f"below {_SUSPECT:g}", how=over),)
    last = trace.trunk[-1].forward
    if ratio <= _SUSPECT or last.spread > _STILL_TOLD * last.rms:  # what the outputs still tell apart was not drowned
        return BIAS.holds(evidence)
    text = (
        f"The biases of `{site.name}` are {ratio:.3g} times what tells one example from another there: "
        "its units do the same for all inputs."
    )
    return BIAS.found(
        Verdict.FAILS if ratio > _FAILS else Verdict.SUSPECT, text, where=name, cause="large", evidence=evidence
    )


def _over_signal(site: Site, weights: Mapping[str, Weight]) -> float | None:
    """The root mean square of the bias over the deviation of the layer's output over the batch; None where it is not to
    be judged.
    """
    use, source, output = site.layer.weight, site.layer.source, site.layer.output
    if use is None or use.bias not in weights or site.normalised or source is None:
        return None
    squares = weights[use.name].mean_square[0] if use.name in weights else 1.0
    if use.fan_in * squares < _MEANT:
        return None  # weights near 0 behind a constant: a gate that is to start open
    apart = (
        source.mean_square > 0 and source.spread > _TOLD_APART * source.rms
    )  # else the inputs have grown alike before
    if not (apart and output.finite and output.batch_variance > 0):
        return None
    return float(np.sqrt(weights[use.bias].mean_square[0])) / output.spread
