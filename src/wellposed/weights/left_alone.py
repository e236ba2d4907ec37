"""Which weights have no values yet, and which are left as they are, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wellposed.numerics.arrays import Vector
from wellposed.numerics.fans import Fan
from wellposed.weights.draw import Maps
from wellposed.weights.network import Network
from wellposed.weights.pretrained import is_trained, newly_drawn

_NEARLY_ALL = 0.9


def without_values(values: Mapping[str, Vector]) -> set[str]:
    """Parameters that hold memory and no values: not finite, or zero where nearly all matrices of the model are."""
    unset = {name for name, value in values.items() if not np.isfinite(value).all()}
    matrices = [name for name, value in values.items() if value.ndim > 1]
    zero = [name for name in matrices if not values[name].any()]
    return unset | set(zero if len(matrices) > 2 and len(zero) > _NEARLY_ALL * len(matrices) else ())


def reasons(
    network: Network, before: Mapping[str, Vector], maps: Mapping[str, Maps], unset: set[str]
) -> dict[str, str]:
    """Why a weight is left alone, for those that are.

    In a model of which some weights are trained, another one is taken for new only if its entries are as a framework
    draws those of a layer that was just added.
    """
    found: dict[str, str] = {}
    for name in maps:
        parameter, value = network.parameters[name], before[name]
        if not parameter.trainable:
            found[name] = "frozen"
        elif name in unset:
            continue
        elif not value.any() and _meant(network, name):
            found[name] = "zero on purpose"
        elif is_trained(maps[name].fold(value)):
            found[name] = "trained: its values are not as any scheme draws them"
    if any(reason.startswith("trained") for reason in found.values()):
        for name in maps.keys() - found.keys() - unset:
            fan = _fan(network, name)
            if before[name].any() and not (fan is not None and newly_drawn(before[name], fan)):
                found[name] = "others are trained, and it does not look newly drawn"
    return found


def _meant(network: Network, name: str) -> bool:
    """Whether a zero may be there on purpose: at the end of a branch, before a sum or a normalisation, or in a head."""
    site = network.sites.get(name)
    return site is None or site.is_output or site.normalised or site.follower not in ("activation", "linear", "conv")


def _fan(network: Network, name: str) -> Fan | None:
    site = network.sites.get(name)
    use = site.layer.weight if site is not None else None
    return network.parameters[name].fan if use is None else Fan(use.nominal, use.fan_out)
