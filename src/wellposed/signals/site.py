"""A layer of a trace, and the place behind it where its signal is measured."""

from __future__ import annotations

from dataclasses import dataclass

from wellposed.backends.measured import Operation, Signal
from wellposed.numerics.activations import Activation


@dataclass(frozen=True)
class Site:
    """A weighted layer or a sum, and the place behind it where its signal is measured.

    The place is the layer's output or, where a normalisation reads it directly, the normalisation's: what comes before
    one has an arbitrary size. `follower` is the kind of operation that reads the place ("" for none), `function` that
    activation's name, `activation` itself elementwise, `reader` its index among the operations (-1 for none) and
    `activated` the size of what it makes. `before` is the activation that the layer reads directly, `index` the layer's
    own among the operations. `scale` is what the activation sees over what the place shows, as 30 in sin(30 z).
    """

    layer: Operation
    place: Operation
    normalised: bool
    follower: str
    function: str
    activation: Activation | None
    is_output: bool
    before: Operation | None
    index: int = -1
    reader: int = -1
    activated: Signal | None = None
    scale: float = 1.0

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def curve(self) -> Activation | None:
        """The activation as a function of what the place shows."""
        phi, scale = self.activation, self.scale
        return phi if phi is None or scale == 1 else lambda z: phi(scale * z)

    @property
    def forward(self) -> Signal:
        return self.place.output

    @property
    def gradient(self) -> float:
        """The norm per example of the loss's gradient at the place; 0 where none arrives, NaN where it is not
        finite.
        """
        return self.place.gradient.norm if self.place.gradient is not None else 0.0

    @property
    def trained(self) -> bool:
        """Whether a gradient could arrive: what lies before frozen layers alone has none by right."""
        return self.place.gradient is not None
