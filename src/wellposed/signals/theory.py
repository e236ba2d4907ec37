"""Mean-field theory for a network's own layers: what the sizes in a trace should be.

Between two layers that only an activation separates the length map gives the mean square of the pre-activation and
chi_1 the factor on the gradient (`numerics.meanfield`), for the weights' own variance. A normalisation that follows
divides by the size of what it reads. Where anything else lies between, the map starts again from what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from wellposed.backends.measured import ParameterSize
from wellposed.numerics.gaussian import Expectations, expectations
from wellposed.numerics.meanfield import gradient_factor, length_map
from wellposed.signals.site import Site
from wellposed.users_code import ask

_ONE_VARIANCE = 0.02
TRAINABLE = 6.0
"""A network is trainable to about this many depth scales (Schoenholz 2017, figure 5)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """For one site: the root mean square that theory expects there, and the factor on the gradient's norm from the next
    site back to it.

    NaN where theory has no word. `linked`: whether the rms follows from the site before, not from the measurement here.
    """

    rms: float
    factor: float
    linked: bool


@dataclass(frozen=True, slots=True)
class Depth:
    """chi_1: the typical factor on the mean square of the gradient per layer; `scale`: layers over which it falls or
    grows by e.

    `trainable` is about 6 scales; infinite at the edge of chaos. `layers`: how many layers there are, `of` how many
    theory speaks.
    """

    chi: float
    scale: float
    trainable: float
    layers: int
    of: int


def expect(sites: Sequence[Site], parameters: Mapping[str, ParameterSize]) -> tuple[Expected, ...]:
    """Theory beside each site of a trunk, in its order."""
    found: list[Expected] = []
    q, linked = _start(sites[0]) if sites else 0.0, False
    for site, following in zip_longest(sites, sites[1:]):
        if following is None or not np.isfinite(q):
            found.append(Expected(float(np.sqrt(q)), float("nan"), linked))
            q, linked = _start(following) if following else q, False
            continue
        at = _moments(site, q) if _joined(site, following) else None
        spread = variances(following, parameters)
        if at is None or spread is None or not np.isfinite(at.slope_square):
            found.append(Expected(float(np.sqrt(q)), float("nan"), linked))
            q, linked = _start(following), False
            continue
        chi = gradient_factor(at, spread[0])
        after = length_map(at, *spread)
        if following.normalised:
            centred = following.place.function in ("batch_norm", "layer_norm", "group_norm", "instance_norm")
            read = spread[0] * (at.square - at.mean**2) if following.place.function == "batch_norm" else after
            read = following.layer.output.mean_square if centred and not read > 0 else read
            chi *= following.forward.mean_square / read if read > 0 else float("nan")
            after = following.forward.mean_square
        found.append(Expected(float(np.sqrt(q)), float(np.sqrt(chi)), linked))
        q, linked = after, True
    return tuple(found)


def depth(expectations_: Sequence[Expected]) -> Depth | None:
    """How deep a network of these layers can be; None where theory speaks of fewer than two."""
    factors = [e.factor for e in expectations_ if np.isfinite(e.factor) and e.factor > 0]
    if len(factors) < 2:
        return None
    chi = float(np.exp(2 * np.mean(np.log(factors))))
    scale = float("inf") if chi == 1 else 1 / abs(float(np.log(chi)))
    return Depth(chi, scale, TRAINABLE * scale, len(expectations_), len(factors))


def _start(site: Site) -> float:
    return site.forward.mean_square


def _joined(site: Site, following: Site) -> bool:
    """Whether nothing but the site's activation lies between: no pooling, sum, or attention. Dropout changes the size
    little.
    """
    if site.activation is None or site.reader < 0 or following.layer.inputs != (site.reader,):
        return False
    came, made = following.layer.source, site.activated
    return came is None or made is None or abs(came.mean_square - made.mean_square) <= _ONE_VARIANCE * made.mean_square


_SMALLEST_SQUARE = 1e-280  # whose own square is still a float64


def _moments(site: Site, q: float) -> Expectations | None:
    curve = site.curve
    if curve is None or not _SMALLEST_SQUARE < q < 1 / _SMALLEST_SQUARE:
        return None
    at = ask(lambda: expectations(curve, q), None)
    return at if at is not None and np.isfinite(at.square) else None


def variances(site: Site, parameters: Mapping[str, ParameterSize]) -> tuple[float, float] | None:
    """sw^2 = fan_in E[w^2] and sb^2 of a layer; None where its weight is computed from others."""
    use = site.layer.weight
    if use is None or use.name not in parameters:
        return None
    bias = parameters[use.bias].rms ** 2 if use.bias in parameters else 0.0
    return use.fan_in * parameters[use.name].rms ** 2, bias
