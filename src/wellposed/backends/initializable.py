"""A model whose weights can be set: what its parameters are, and how it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wellposed.backends.measured import Run
from wellposed.numerics.arrays import Vector
from wellposed.numerics.fans import Fan

Role = Literal["weight", "bias", "scale", "shift", "embedding", "gates", "recurrent gates", "gate bias", "other"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a parameter is in the layer that owns it, as far as the layer's kind tells.

    `layer` is the layer's name, `kind` its class; `groups` those of a convolution, `gates` how many maps lie one after
    the other along the first axis (of an LSTM 4), `padding` the row of an embedding that stays zero. `dtype` is the
    parameter's own.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: str
    kind: str
    trainable: bool
    fan: Fan | None = None
    groups: int = 1
    gates: int = 1
    padding: int | None = None
    tied: tuple[str, ...] = ()  # other names of the same parameter


class Initializable(Protocol):
    """A model that can be shown at work and given new weights."""

    @property
    def shown(self) -> bool:
        """Whether a batch shows the model at work."""
        return True

    def materialize(self) -> set[str]:
        """Gives memory to parameters that have none yet; the names of those that therefore have no values."""
        return set()

    def run(self) -> Run:
        """One pass over the batch, or the layers in their order where there is none."""

    def parameters(self) -> tuple[Parameter, ...]:
        """All of them, in order; a parameter with several names once."""

    def weights(self) -> dict[str, Vector]:
        """Their values, in float64."""

    def assign(self, values: Mapping[str, Vector]) -> None:
        """Sets the parameters of these names."""

    def params(self) -> Any:
        """The parameters in the form in which they were given."""

    def calibrate(self, targets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """One forward pass in which each weight's first output is given the root mean square asked for.

        `targets` maps weights to root mean squares; returned are the factor and the root mean square reached. What a
        weight makes is scaled on the way, so that the layers behind see what they will see. Empty where no batch is
        known.
        """
