"""A model trained by several processes, as one J(theta): the loss on the joint batch, the gradient that the ranks
arrive at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils._pytree import tree_map

from wellposed.backends.protocol import Differentiation, Network, Problem, Training, Variants
from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.shards import shards_at, spread_as
from wellposed.backends.torch.state import buffers_lent, torch_generators
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient, Layout, Theta

Step = Callable[[Any, Any], Any]


class RanksProblem(Problem, Differentiation, Network, Training, Variants):
    """`model` is wrapped (DDP) or sharded (`fully_shard`), `batch` this rank's part (inputs, targets).

    theta is whole on every rank, and every rank evaluates the loss of the joint batch, so that all of them take the
    same decisions; the model's own parameters stay sharded as they are. `step(model, batch)` is the training step up to
    and with backward.
    """

    backend = "torch"
    _random: Randomness

    def __init__(self, model: nn.Module, loss: Callable[..., Any], batch: Any, step: Step | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise InputError(
                "check_ranks needs a process group",
                hint="run it by torchrun, after torch.distributed.init_process_group()",
            )
        self._model, self._loss, self._batch, self._step = model, loss, batch, step or self._usual
        named = [(name.removeprefix("module."), p) for name, p in model.named_parameters() if p.requires_grad]
        self._parameters: dict[str, torch.Tensor] = dict(named)
        self._layout = Layout({name: tuple(p.shape) for name, p in named})
        self._random = Randomness(*torch_generators())
        self.dtype = "+".join(sorted({str(p.dtype).removeprefix("torch.") for _, p in named}))
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, tree_map(lambda x: x.detach().cpu() if isinstance(x, torch.Tensor) else x, batch))
        device = next(iter(self._parameters.values())).device
        self._joint = tree_map(
            lambda *xs: torch.cat(xs).to(device) if isinstance(xs[0], torch.Tensor) else xs[0], *parts
        )

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def world(self) -> int:
        return dist.get_world_size()

    def theta(self) -> Vector:
        return self._layout.pack({name: as_numpy(p) for name, p in self._parameters.items()})

    def stored(self, theta: Vector) -> Vector:
        parts = self._layout.unpack(theta)
        return self._layout.pack(
            {n: torch.as_tensor(a).to(self._parameters[n].dtype).double().numpy() for n, a in parts.items()}
        )

    def value(self, theta: Theta) -> float:
        with self._at(theta), torch.no_grad():
            inputs, targets = self._joint
            loss = self._loss(self._model(inputs), targets).detach().double().reshape(1)
        dist.broadcast(loss, 0)  # the last digit may depend on the rank; decisions must not
        return float(loss)

    def gradient(self, theta: Theta) -> Gradient:
        """What this rank holds after the step."""
        with self._at(theta):
            for parameter in self._parameters.values():
                parameter.grad = None
            self._step(self._model, self._batch)
            found = {name: None if p.grad is None else as_numpy(p.grad) for name, p in self._parameters.items()}
            for parameter in self._parameters.values():
                parameter.grad = None
        return found

    def apart(self) -> tuple[list[str], list[str]]:
        """The tensors whose values, and whose gradients, differ between ranks."""
        theta = self.theta()
        gradient = self._layout.pack_known(self.gradient(theta))
        return self._differing(theta), self._differing(gradient)

    def _differing(self, vector: Vector) -> list[str]:
        every: list[Any] = [None] * self.world
        dist.all_gather_object(every, vector)
        size = {name: float(np.linalg.norm(every[0][place])) for name, place in self._layout.slices.items()}
        return [
            name
            for name, place in self._layout.slices.items()
            if any(np.linalg.norm(other[place] - every[0][place]) > 1e-5 * size[name] + 1e-300 for other in every)
        ]

    @contextmanager
    def preserved(self) -> Iterator[None]:
        gradients = [(p, p.grad) for p in self._parameters.values()]
        with self._random.fixed():
            try:
                yield
            finally:
                for parameter, gradient in gradients:
                    parameter.grad = gradient

    @contextmanager
    def _at(self, theta: Theta) -> Iterator[None]:
        self.evaluations += 1
        arrays = self._layout.unpack(theta).items()
        values = [(self._parameters[n], spread_as(self._parameters[n], torch.as_tensor(a))) for n, a in arrays]
        with shards_at(values), self._random.fixed(), buffers_lent(self._model):
            yield

    def _usual(self, model: Any, batch: Any) -> None:
        inputs, targets = batch
        self._loss(model(inputs), targets).backward()
