"""What the rules ask of one layer: what arrives at it, and whether its units can stand in pairs."""

from __future__ import annotations

from math import prod

import numpy as np

from wellposed.signals.site import Site
from wellposed.weights.network import Network

_FEWEST_PAIRED = 4  # units that can be drawn in pairs of opposite sign


def find_arriving(network: Network, site: Site) -> tuple[float, str]:
    """The mean square that a layer's inputs are expected to have, and why."""
    before = network.moments(site.before.activation) if site.before is not None else None
    if before is not None and site.before is not None:
        return before.square, f"{site.before.function} before it: {1 / before.square:.4g} / fan_in"
    source = site.layer.source
    if not site.layer.inputs and source is not None and np.isfinite(source.mean_square) and source.mean_square > 0:
        return source.mean_square, f"inputs of mean square {source.mean_square:.3g}"
    return 1.0, "1 / fan_in"


def taps(network: Network, site: Site) -> int:
    """How many entries the kernel of a convolution has, where each of its sides has a middle; 1 for anything else."""
    use = site.layer.weight
    if use is None or site.layer.kind != "conv" or use.out_axes != (0,):
        return 1
    sides = network.parameters[use.name].shape[2:]
    return prod(sides) if all(side % 2 for side in sides) else 1


def paired(network: Network, site: Site) -> bool:
    """Whether a layer's outputs can stand in pairs u and -u.

    One activation alone must read the layer, and layers that see all of its units alone must read the activation.
    """
    use = site.layer.weight
    if use is None or site.reader < 0 or site.normalised or not _whole(network, site):
        return False
    readers = network.readers
    if (
        readers[site.index] != [site.reader]
        or prod(network.parameters[use.name].shape[axis] for axis in use.out_axes) < _FEWEST_PAIRED
    ):
        return False
    after = readers[site.reader]
    return bool(after) and all(
        index in network.by_index and _whole(network, network.by_index[index]) for index in after
    )


def _whole(network: Network, site: Site) -> bool:
    """Whether each output sees all inputs: not in a convolution in groups, or one map of several."""
    use = site.layer.weight
    if use is None or use.name not in network.parameters:
        return False
    parameter = network.parameters[use.name]
    beside = prod(parameter.shape) // prod(parameter.shape[axis] for axis in (*use.out_axes, *use.in_axes))
    return beside == 1 and parameter.groups == 1
