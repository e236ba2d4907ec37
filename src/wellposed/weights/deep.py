"""Deep plain networks: every layer at the operating point that its depth asks for."""

from __future__ import annotations

import numpy as np

from wellposed.signals.site import Site
from wellposed.weights.draw import Draw, centre_tap, mirror, orthogonal
from wellposed.weights.layer_queries import find_arriving, paired, taps
from wellposed.weights.network import Network, values_of
from wellposed.weights.operating import Point, operating_point
from wellposed.weights.recipe import Recipe

_NO_MEAN = 1e-9  # a mean as small is none

DEEP = 10


def shaped(network: Network, site: Site) -> Recipe | None:
    """The recipe of a layer in a plain network of more than DEEP activations; None elsewhere."""
    use = site.layer.weight
    if use is None or network.depth <= DEEP:
        return None
    out, into = _point(network, site), None
    square, came = find_arriving(network, site)
    centre = 0.0
    previous = network.previous(site)
    if previous is not None:
        into = _point(network, previous)
    if into is not None and previous is not None:
        came = f"{previous.function} before it at q = {into.q:.3g}"
        if into.pairs:
            square, came = into.square, f"{came}, in pairs"
        elif use.bias:
            square, centre = into.square, into.mean
            came = f"{came}, centred by {centre:.3g}" if abs(centre) > _NO_MEAN else came
        else:
            square = into.square + into.mean**2
    q = out.q / site.scale**2 if out is not None else 1.0
    draw: Draw = orthogonal
    fan_in = use.fan_in
    if (kernel := taps(network, site)) > 1:
        draw, fan_in = (
            centre_tap(orthogonal, kernel),
            float(np.prod([network.parameters[use.name].shape[axis] for axis in use.in_axes])),
        )
    draw = mirror(draw, out is not None and out.pairs, into is not None and into.pairs)
    rule = "looks-linear" if (out or into) and (out is None or out.pairs) and (into is None or into.pairs) else "shaped"
    why = f"{network.depth} layers deep: q = {q:.3g}; {came}" if out is not None else came
    return Recipe(rule, (q / square / fan_in) ** 0.5, why, draw, centre, output=q**0.5)


def _point(network: Network, site: Site) -> Point | None:
    if site.activation is None or site.layer.weight is None:
        return None
    pairs = paired(network, site)
    key = (values_of(site.activation), pairs)
    if key not in network.points:
        network.points[key] = operating_point(site.activation, network.depth, network.width, pairs=pairs)
    point: Point | None = network.points[key]
    return point
