"""Which of two neighbouring layers is off the trend of the others, and what is special about it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from wellposed.signals.site import Site
from wellposed.signals.theory import variances
from wellposed.signals.trace import Trace

_USUALLY = 0.5  # share of the layers behind which a normalisation stands

_CLEAR = 3.0


def culprit(before: Site, after: Site, trace: Trace) -> tuple[Site, str, str]:
    """The site, the cause and a sentence, for a jump between `before` and `after` in forward order.

    Between the two lie the activation behind `before` and the weights of `after`: whichever differs from the other
    layers' is named, neither where neither does.
    """
    own, usual = _variance(after, trace), _usual_variance(trace, after)
    if own is not None and usual and not 1 / _CLEAR**2 < own / usual < _CLEAR**2:
        text = f" Its weights have fan_in * E[w^2] = {own:.3g}, the other layers' {usual:.3g}."
        return after, "layer", text
    functions = Counter(site.function for site in trace.trunk if site is not before and site.function)
    if before.function and functions and before.function != functions.most_common(1)[0][0]:
        return (
            before,
            "activation",
            f" It is read by {before.function}, the other layers by {functions.most_common(1)[0][0]}.",
        )
    norms = [site.normalised for site in trace.trunk if site is not after and not site.is_output]
    if norms and np.mean(norms) > _USUALLY and not after.normalised and not after.is_output:
        return after, "layer", " No normalisation follows it, as one follows the others."
    return after, "", f" What does so lies between `{before.name}` and `{after.name}`."


def _variance(site: Site, trace: Trace) -> float | None:
    found = variances(site, trace.parameters)
    return None if found is None else found[0]


def _usual_variance(trace: Trace, left_out: Site) -> float | None:
    others = [variance for site in trace.trunk if site is not left_out and (variance := _variance(site, trace))]
    return float(np.median(others)) if others else None
