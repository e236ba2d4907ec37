"""What a script does to gradients between the backward pass and the step: scaling, clipping, masking, reducing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wellposed.backends.torch.watching.plan import Call, calls_of, nodes_of
from wellposed.backends.torch.watching.record import Record
from wellposed.backends.torch.watching.replay import make_again


class PassedOn:
    """Called, it makes of the true loss's gradients, which the parameters have, those that the optimizer would get."""

    def __init__(self, calls: Sequence[Call], multiple: float) -> None:
        self._calls, self._multiple = calls, multiple

    def __call__(self, parameters: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter in parameters:
                if self._multiple != 1 and parameter.grad is not None:
                    parameter.grad.mul_(self._multiple)
        make_again(self._calls)


def passed_on(record: Record, parameters: Sequence[torch.Tensor], multiple: float) -> PassedOn | None:
    """Of what was recorded after the last backward pass; None where it needs what was computed earlier. `multiple` is
    what the gradient is of the true loss's when the backward passes are done.
    """
    nodes = nodes_of(record.writers([p.grad for p in parameters if p.grad is not None]))
    if any(node.order <= record.since for node in nodes):
        return None
    return PassedOn(calls_of(nodes), multiple)
