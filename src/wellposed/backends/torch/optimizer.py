"""The optimizer of a torch problem: its steps, its rate, what it leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from wellposed.backends.torch.evaluation import TorchEvaluation
from wellposed.backends.torch.groups import groups_of
from wellposed.backends.torch.tensors import Tensors
from wellposed.backends.torch.training import Training
from wellposed.numerics.theta import Theta

_USUAL_DECAY = 0.01  # AdamW's own: no step of its is mostly decay


class TorchOptimizer(TorchEvaluation):
    """The steps of the optimizer given; `passed_on` is what is done to the gradient before it gets it."""

    passed_on: Callable[[list[torch.Tensor]], None] | None = None

    @property
    def optimized(self) -> bool:
        return self.optimizer is not None

    @property
    def rate(self) -> float:
        groups = groups_of(self.optimizer)
        return float(max((group.get("initial_lr", group.get("lr", np.nan)) for group in groups), default=np.nan))

    @property
    def descends(self) -> bool:
        return type(self.optimizer) is torch.optim.SGD

    @property
    def decays(self) -> bool:
        return any(group.get("weight_decay", 0.0) > _USUAL_DECAY for group in groups_of(self.optimizer))

    def trained_at(
        self, theta: Theta, steps: Sequence[int], factor: float = 1.0, *, decayed: bool = True
    ) -> Iterator[Theta]:
        """By the optimizer given, where the parameters are, from the parameters as they are; by Adam without one."""
        if self.optimizer is None:
            yield from super().trained_at(theta, steps)  # with vectors of its own
            return
        training = Training(self.optimizer, self._loss, factor=factor, decayed=decayed, passed_on=self.passed_on)
        states = self._random.states()

        def after(number: int) -> Theta:
            with self.preserved(), self._random.fixed():
                self._random.put(states)
                with training.taken(number, list(self._parameters.values())):
                    return self._taken() if isinstance(theta, Tensors) else self.theta()

        yield from map(after, steps)  # which holds none of them

    def _taken(self) -> Tensors:
        """The parameters where steps have led them, which may be to memory that is lent."""
        own = self._own()
        return Tensors({name: one.clone() for name, one in own.items()} if self._sharded else own)

    def left_out(self) -> tuple[str, ...]:
        if self._twin is not None:
            return self._twin.held
        known = self._known_to_optimizer()
        own = {
            id(p) for module in (self.model, self.loss) if isinstance(module, nn.Module) for p in module.parameters()
        }
        # What only a function closes over, as a generator's loss does over the critic, is another optimizer's.
        if not known and not groups_of(self.optimizer):
            return ()
        trained = any(id(p) in known for p in self._parameters.values())
        return tuple(
            name
            for name, p in self._parameters.items()
            if id(p) not in known and (not trained or id(p) in own or self._listed(p))
        )

    def unregistered(self) -> tuple[str, ...]:
        own, known = self._within_reach("", self.model), self._known_to_optimizer()
        return tuple(
            name
            for name, p in self._parameters.items()
            if id(p) not in known and any(p is other for other in own.values())
        )
