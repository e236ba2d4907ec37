"""What a check may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """`rows` of the batch are looked at first where the model has more than `parameters`: what is right there is left
    alone. `closer` is how many tensors are looked at closely where nothing disagrees, `told` of how many wrong ones is
    told, `within` in how many a direction is looked at though nothing is doubtful; None is as many as there are.
    `spectrum` says whether the Jacobian's singular values are computed.
    """

    rows: int | None = None
    parameters: int = 0
    closer: int | None = None
    told: int | None = None
    within: int = 0
    spectrum: bool = False

    @property
    def brief(self) -> bool:
        """Whether as few evaluations are asked for as show that a gradient is right."""
        return self.closer is not None


USUAL = Effort()
QUICK = Effort(rows=4, parameters=1_000_000, closer=30, told=8)
FULL = Effort(within=40, spectrum=True)
