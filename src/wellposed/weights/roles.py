"""Rules by what a parameter is in its layer, whatever the scheme: embeddings, recurrent gates, normalisation,
biases.
"""

from __future__ import annotations

import numpy as np

from wellposed.backends.initializable import Parameter
from wellposed.numerics.arrays import Vector
from wellposed.weights.draw import orthogonal
from wellposed.weights.network import Network
from wellposed.weights.recipe import Recipe

_LSTM_GATES = 4

_FORGET = 1.0


def recipe_by_role(network: Network, parameter: Parameter) -> Recipe | None:
    """For an embedding and for the matrices of a recurrent layer; None for others."""
    if parameter.role == "embedding":
        width = parameter.shape[-1]
        head = next(
            (one for one in network.parameters.values() if _is_head(network, one) and one.shape[-1] == width), None
        )
        if head is not None:  # embeddings that are added to it are no larger: positions would drown the tokens
            what = (
                f"beside {head.name}"
                if head.name != parameter.name
                else f"tied to {', '.join(head.tied) or 'the head'}"
            )
            return Recipe("embedding", width**-0.5, f"{what}: 1 / sqrt({width})")
        return Recipe("embedding", 1.0, "rows of mean square 1")
    if parameter.role == "gates" and parameter.fan is not None:
        return Recipe("recurrent", parameter.fan.fan_in**-0.5, "each gate: 1 / fan_in")
    if parameter.role == "recurrent gates" and parameter.fan is not None:
        return Recipe(
            "recurrent", parameter.fan.fan_in**-0.5, "each gate: orthogonal, so that steps keep their size", orthogonal
        )
    if parameter.role == "weight" and parameter.kind == "LSTM" and parameter.fan is not None:
        return Recipe(
            "recurrent",
            parameter.fan.fan_in**-0.5,
            "a projection: orthogonal, so that steps keep their size",
            orthogonal,
        )
    return None


def _is_head(network: Network, parameter: Parameter) -> bool:
    """Whether an embedding is also multiplied with, as a head that is tied to it."""
    return parameter.role == "embedding" and bool(parameter.tied or parameter.name in network.sites)


def vector_by_role(parameter: Parameter) -> Vector | None:
    """What a bias, or a scale or shift of a normalisation, starts from; None for parameters of another kind.

    The forget gate of an LSTM starts open, at 1 (Gers et al. 2000; Jozefowicz et al. 2015): in one of the two biases,
    which are added.
    """
    if parameter.role == "scale":
        return np.ones(parameter.shape)
    if parameter.role in ("shift", "bias"):
        return np.zeros(parameter.shape)
    if parameter.role == "gate bias":
        bias = np.zeros(parameter.shape)
        if parameter.gates == _LSTM_GATES and "bias_ih" in parameter.name:
            size = parameter.shape[0] // _LSTM_GATES
            bias[size : 2 * size] = _FORGET
        return bias
    return None
