"""The parts of a run that a checkpoint must have: read, and put into another run of the same making."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import lr_scheduler

from wellposed.backends.closures import reachable
from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.groups import parameters_of
from wellposed.backends.torch.state import torch_generators

_KINDS: dict[str, Any] = {
    "optimizer": torch.optim.Optimizer, "scheduler": lr_scheduler.LRScheduler, "scaler": GradScaler,
}  # fmt: skip


class Parts:
    """Of an object that trains: whatever it holds, as attributes or further within."""

    def __init__(self, run: Any) -> None:
        things = [run, *(thing for _, thing in reachable(run))]
        self._of_kind = {name: [one for one in things if isinstance(one, kind)] for name, kind in _KINDS.items()}
        self._modules = [one for one in things if isinstance(one, nn.Module)]
        self._generators = [one for one in things if isinstance(one, torch.Generator)]
        trained = {id(p) for optimizer in self._of_kind["optimizer"] for p in parameters_of(optimizer)}
        tensors = list({id(p): p for module in self._modules for p in module.parameters()}.values())
        self.model = [p for p in tensors if id(p) in trained]
        self.ema = [p for p in tensors if id(p) not in trained]
        self.buffers = list({id(b): b for module in self._modules for b in module.buffers()}.values())

    def read(self) -> dict[str, Any]:
        """A copy of each part's state."""
        states = {name: [copy.deepcopy(one.state_dict()) for one in kept] for name, kept in self._of_kind.items()}
        tensors = {name: [t.detach().clone() for t in getattr(self, name)] for name in ("model", "ema", "buffers")}
        generators = [Randomness(*torch_generators()).states(), [one.get_state() for one in self._generators]]
        found = {**tensors, **states, "generator": generators}
        return {name: state for name, state in found.items() if state}

    def put(self, name: str, state: Any) -> None:
        """What another run's `read` gave."""
        if name == "generator":
            Randomness(*torch_generators()).put(state[0])
            for generator, one in zip(self._generators, state[1], strict=True):
                generator.set_state(one)
        elif name in self._of_kind:
            for thing, one in zip(self._of_kind[name], state, strict=True):
                thing.load_state_dict(copy.deepcopy(one))
        else:
            with torch.no_grad():
                for tensor, one in zip(getattr(self, name), state, strict=True):
                    tensor.copy_(one)

    def same_as(self, other: Parts) -> bool:
        """Whether all tensors are the same to the bit."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in ("model", "ema", "buffers")]
        return all(
            len(own) == len(theirs) and all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
            for own, theirs in pairs
        )


def generators() -> list[Any]:
    """The states of the process's generators."""
    return Randomness(*torch_generators()).states()


def put_generators(states: list[Any]) -> None:
    Randomness(*torch_generators()).put(states)


def reseed(seed: int) -> None:
    """As in another process that nobody seeded."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
