"""The named schemes: for every weight that was seen at work how it is to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log, log2, prod

from wellposed.numerics.meanfield import edge_of_chaos, to_be_centred
from wellposed.signals.site import Site
from wellposed.weights.deep import shaped
from wellposed.weights.draw import Draw, centre_tap, mirror, normal, orthogonal, uniform
from wellposed.weights.layer_queries import find_arriving, paired, taps
from wellposed.weights.network import Network
from wellposed.weights.recipe import HEAD, Recipe

_GPT2 = 0.02
_SIREN = 30.0
_ANY, _NEAR, _LEAST_BIAS = 10.0, 0.15, 1e-3
_WIDE_LAYER = 256

Scheme = Callable[[Network, Site], Recipe]


def _he(network: Network, site: Site) -> Recipe:
    at = network.moments(site.curve)
    fan_in = _fan_in(site)
    if at is None or site.is_output:
        return Recipe("he", fan_in**-0.5, "no activation follows: 1 / fan_in")
    return Recipe("he", (at.square * fan_in) ** -0.5, f"{site.function} follows: {1 / at.square:.4g} / fan_in")


def _lecun(_network: Network, site: Site) -> Recipe:
    return Recipe("lecun", _fan_in(site) ** -0.5, "1 / fan_in")


def _glorot(_network: Network, site: Site) -> Recipe:
    assert site.layer.weight is not None
    return Recipe(
        "glorot", (2 / (site.layer.weight.fan_in + site.layer.weight.fan_out)) ** 0.5, "2 / (fan_in + fan_out)"
    )


def _orthogonal(network: Network, site: Site) -> Recipe:
    return replace(_he(network, site), rule="orthogonal", draw=orthogonal)


def _delta_orthogonal(network: Network, site: Site) -> Recipe:
    kernel = taps(network, site)
    recipe = _orthogonal(network, site)
    if kernel == 1:
        return recipe
    return replace(
        recipe,
        rule="delta-orthogonal",
        draw=centre_tap(orthogonal, kernel),
        why=f"{recipe.why}, at the middle of its kernel",
    )


def _looks_linear(network: Network, site: Site) -> Recipe:
    """Pairs wherever an activation stands alone between layers; half the width then carries the signal, at its slope
    about 0.
    """
    previous = network.previous(site)
    out, into = paired(network, site), previous is not None and paired(network, previous)
    if not (out or into):
        return _orthogonal(network, site)
    size = _fan_in(site) ** -0.5
    if into:
        assert site.before is not None
        odd = network.moments(site.before.activation, odd=True)
        size = size / (2 * odd.square) ** 0.5 if odd is not None else size
    return Recipe(
        "looks-linear", size, "pairs u and -u cancel what is even in the activation", mirror(orthogonal, out, into)
    )


def _gpt2(network: Network, site: Site) -> Recipe:
    count = len(network.branches)
    if site.index in network.branches:
        return Recipe("gpt2", _GPT2 / count**0.5, f"ends one of {count} residual branches: {_GPT2} / sqrt({count})")
    return Recipe("gpt2", _GPT2, f"{_GPT2} (Radford et al. 2019)")


def _siren(network: Network, site: Site) -> Recipe:
    """sin(30 z): U(+-1 / n) for the first layer, U(+-sqrt(6 / n) / 30) for the others (Sitzmann et al. 2020)."""
    fan_in = _fan_in(site)
    if not site.layer.inputs:
        return Recipe("siren", 1 / fan_in / 3**0.5, "first layer: U(+-1 / n)", uniform)
    return Recipe("siren", (6 / fan_in) ** 0.5 / _SIREN / 3**0.5, "U(+-sqrt(6 / n) / 30)", uniform)


def _fixup(network: Network, site: Site) -> Recipe:
    """Zhang et al. 2019: in a branch of m layers all but the last scaled by L^(-1 / (2 m - 2)), the last and the head
    0.
    """
    count = len(network.branches)
    recipe = _he(network, site)
    if site.is_output or site.index in network.branches:
        what = "the head" if site.is_output else f"ends one of {count} residual branches"
        return replace(recipe, rule="fixup", size=0.0, why=f"{what}: zero")
    inside = next((branch for branch in network.branches.values() if site.index in branch), None)
    if inside is None or len(inside) < 2:
        return replace(recipe, rule="fixup")
    factor = count ** (-1 / (2 * len(inside) - 2))
    return replace(
        recipe,
        rule="fixup",
        size=recipe.size * factor,
        why=f"{recipe.why}, times {count}^(-1/{2 * len(inside) - 2}) = {factor:.3g}",
    )


def _standard(network: Network, site: Site) -> Recipe:
    """Every output of mean square 1, the residual branches' ends such that their sum has it too, and a small head.

    With outputs near 0 the network starts at the constant prediction, and what its hidden layers learn is not swamped
    by what a random head says (Yang & Hu 2021).
    """
    fan_in = _fan_in(site)
    if site.normalised:
        return _normalised(network, site)
    square, came = find_arriving(network, site)
    centre = 0.0
    before = network.moments(site.before.activation) if site.before is not None else None
    if before is not None and to_be_centred(before) and site.layer.weight is not None and site.layer.weight.bias:
        square, centre = before.square - before.mean**2, before.mean
        came = f"{came}, centred by {centre:.3g}"
    output, what = HEAD if site.is_output else 1 / site.scale, ""
    count = len(network.branches)
    if site.index in network.branches and count > 1:
        output, what = count**-0.5, f"ends one of {count} residual branches: 1 / sqrt({count}); "
    rule = "branch" if what else "head" if site.is_output else "he"
    spread = _edge(network, site)
    if spread:
        came = f"{came}; edge of chaos: biases of {spread:.3g}"
    size = output * ((1 - spread**2) / square / fan_in) ** 0.5
    return Recipe(rule, size, f"{what}{came}", _drawn(network, site), centre, spread=spread * output, output=output)


def _edge(network: Network, site: Site) -> float:
    """The deviation of biases that with the weights keeps length and gradient at a mean square of 1 (Poole et al.
    2016); 0 without one.
    """
    at = network.moments(site.activation)
    if at is None or site.layer.weight is None or not site.layer.weight.bias:
        return 0.0
    edge = edge_of_chaos(at)
    return edge[1] if edge is not None and edge[1] > _LEAST_BIAS else 0.0


def _drawn(network: Network, site: Site) -> Draw:
    """Orthogonal, which no finite width disturbs; independent entries where that would take long and width makes up for
    it.
    """
    assert site.layer.weight is not None
    shape = network.parameters[site.layer.weight.name].shape
    out = prod(shape[axis] for axis in site.layer.weight.out_axes)
    return orthogonal if min(out, prod(shape) // out) <= _WIDE_LAYER else normal


def _normalised(network: Network, site: Site) -> Recipe:
    """Before a normalisation any size gives the same output; it sets how much a step of training turns the weights.

    So it stays what the model's author, and with it the learning rate, has settled on, unless it is far from any
    rule's: that of the rule nearest to the size it had, so that the same seed gives the same weights whatever was drawn
    there before.
    """
    recipe, use = _he(network, site), site.layer.weight
    assert use is not None
    had = network.sizes.get(use.name, 0.0)
    if not recipe.size / _ANY < had < recipe.size * _ANY:
        return replace(recipe, why=f"a normalisation follows, then {recipe.why}")
    rules = {
        "1 / (3 fan_in), PyTorch's default": (3 * use.fan_in) ** -0.5,
        recipe.why: recipe.size,
        "1 / fan_in": use.fan_in**-0.5,
        "2 / fan_out": (2 / use.fan_out) ** 0.5,
        "2 / (fan_in + fan_out)": (2 / (use.fan_in + use.fan_out)) ** 0.5,
        f"{_GPT2}": _GPT2,
    }
    why = min(rules, key=lambda rule: abs(log(rules[rule] / had)))
    size = rules[why]
    if abs(log(size / had)) > _NEAR:
        size = 2 ** (round(2 * log2(had)) / 2)
        why = f"{size:.3g}, about what it was"
    return Recipe("as large", size, f"a normalisation follows, which makes any size the same: {why}")


def _auto(network: Network, site: Site) -> Recipe:
    recipe = shaped(network, site)
    return _standard(network, site) if recipe is None else recipe


def _calibrated(network: Network, site: Site) -> Recipe:
    """Outputs of root mean square 1, by He's weights to begin with."""
    recipe = _standard(network, site)
    return replace(recipe, rule="calibrated", draw=orthogonal, output=recipe.output if site.normalised else 1.0)


SCHEMES: dict[str, Scheme] = {
    "auto": _auto, "he": _he, "glorot": _glorot, "lecun": _lecun, "orthogonal": _orthogonal,
    "delta-orthogonal": _delta_orthogonal,
    "looks-linear": _looks_linear, "fixup": _fixup, "gpt2": _gpt2, "siren": _siren, "calibrated": _calibrated,
}  # fmt: skip


def _fan_in(site: Site) -> float:
    assert site.layer.weight is not None
    return site.layer.weight.fan_in
