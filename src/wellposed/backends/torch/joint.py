"""A problem whose model several processes hold together, looked at by all of them alike.

Every rank is given the first one's batch and random numbers: what it measures, and so what it decides, is the same on
all of them, and no one waits for a rank that has gone another way. What the ranks make of their own parts of the batch
is held against the mean of their losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from wellposed.backends.randomness import Randomness
from wellposed.backends.structure.shown import AcrossRanks
from wellposed.backends.torch.coordinates import TorchCoordinates
from wellposed.backends.torch.problem import TorchProblem
from wellposed.backends.torch.sharded import held_jointly, mean_over_ranks
from wellposed.backends.torch.shards import in_shards
from wellposed.backends.torch.state import torch_generators
from wellposed.backends.torch.tensors import Tensors
from wellposed.backends.torch.weight import TensorWeight
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.numerics.floats import format_of
from wellposed.users_code import ask

_SAME = 1e-3  # relative: ranks that have exchanged their gradients hold the same bits, or nearly
_STEP = 1e-2  # of every coordinate's scale: differences of losses in float32 are known to some 1e-4 then


class JointProblem:
    """`own` is this rank's problem; `problem` the one that all ranks have in common."""

    def __init__(self, own: TorchProblem) -> None:
        self._own = own
        self.problem = own if own._takes_model else self._with(_of_the_first(own.batch))
        if own._takes_model:
            self._demand_one_loss()

    def _with(self, batch: Any) -> TorchProblem:
        own = self._own
        return TorchProblem(_inner(own.model), own.loss, batch, optimizer=own.optimizer)

    def _demand_one_loss(self) -> None:
        with self.alike(), self._own.preserved(), self._own._as_it_is():
            losses = _gathered(float(self._own._loss().detach()))
        if len(set(losses)) > 1:
            raise InputError(
                "every rank has a loss of its own, and a loss of one argument does not show its batch:"
                f" {losses[0]:.5g} on rank 0, {next(one for one in losses if one != losses[0]):.5g} on another",
                hint="give the batch to the problem: wp.TorchProblem(model, loss, (inputs, targets))",
            )

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Within, random numbers are the first rank's."""
        random = Randomness(*torch_generators())
        with random.fixed():
            random.put(_of_the_first(random.states()))
            yield

    def of_the_first(self, thing: Any) -> Any:
        """What the first rank has."""
        return _of_the_first(thing)

    def across_ranks(self) -> AcrossRanks:
        """One step's backward pass as the ranks take it, each on its own part of the batch."""
        own = self._own
        part = own if own._takes_model else self._with(own.batch)
        point = Tensors(part._own(), present=True)
        coordinates = TorchCoordinates(point, part.untrained())
        with own.preserved():
            slopes = coordinates.along(self._after_a_step(part))
            withheld = self._let_go()
        present = {name: known for name, known in slopes.items() if known is not None}
        whole = [(name, one) for name, one in point.known() if not in_shards(one)]
        values = {name: TensorWeight(one).digest for name, one in whole}
        parts = _gathered((values, present))
        apart = [name for name in values if any(its[name] != parts[0][0][name] for its, _ in parts)]
        differing = [name for name in present if any(_differ(its.get(name), parts[0][1].get(name)) for _, its in parts)]
        world = dist.get_world_size()
        if apart or differing or withheld:
            return AcrossRanks(world, tuple(apart), tuple(differing), tuple(withheld))
        along = coordinates.layout
        vector = along.pack({name: present.get(name, np.zeros(along.shapes[name])) for name in along.names})
        size = float(np.linalg.norm(vector))
        return AcrossRanks(world, (), (), (), size, *(self._slope(part, coordinates, vector / size) if size else ()))

    def _after_a_step(self, part: TorchProblem) -> Tensors:
        """What is left in `grad`, by the names that the common problem has."""
        own = self._own
        with own._as_it_is():
            own._loss().backward()
            return Tensors(dict(zip(part.layout.names, (p.grad for p in own._parameters.values()), strict=True)))

    def _let_go(self) -> list[str]:
        """The names of parameters whose gradients every rank has kept for itself, which are let go of."""
        kept = [name for name, one in self._own._gathered.items() if one.grad is not None]
        for one in self._own._gathered.values():
            one.grad = None
        return kept

    def _slope(self, part: TorchProblem, coordinates: TorchCoordinates, direction: Vector) -> tuple[float, float]:
        """Of the mean over the ranks of their losses, and what rounding makes of it."""
        precise = part.variants.precise()
        with precise.preserved():
            at = [coordinates.moved(1.0 + sign * _STEP * direction) for sign in (1.0, -1.0)]
            ahead, behind = (mean_over_ranks(precise.value(point)) for point in at)
        rounding = format_of(precise.dtype).eps * max(abs(ahead), abs(behind)) / _STEP
        return (ahead - behind) / (2 * _STEP), rounding


def jointly(problem: Any) -> JointProblem | None:
    """None where this process alone holds the model. Raises `InputError` where ranks work on one model by collectives
    of its own: whatever one of them tried alone would hang or fail.
    """
    if not isinstance(problem, TorchProblem):
        return None
    if held_jointly(problem.model):
        return JointProblem(problem)
    if _communicates(problem):
        raise InputError(
            "the loss or its backward pass talks to other ranks, and the model is neither DDP nor made of DTensors",
            hint="hold it against a model on one process: wp.check_paths(reference, candidate, inputs) with"
            " single-process stand-ins for its collectives; wp.check_ranks for data parallel training",
        )
    return None


class _Collectives(TorchDispatchMode):
    """`seen`: whether anything within spoke to other ranks."""

    seen: bool = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or func.namespace in ("c10d", "_c10d_functional", "_dtensor")
        return func(*args, **(kwargs or {}))


def _communicates(problem: TorchProblem) -> bool:
    """On all ranks at once, in a step of each."""
    with problem.preserved(), _Collectives() as collectives:
        ask(lambda: problem._loss().backward(), None)  # what raises is told by the check-up
    return bool(collectives.seen)


def _inner(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def _of_the_first(thing: Any) -> Any:
    """The first rank's, with tensors where this rank has its own."""
    device = next((leaf.device for leaf in _tensors(thing)), None)
    box = [tree_map(lambda leaf: leaf.detach().cpu() if isinstance(leaf, torch.Tensor) else leaf, thing)]
    dist.broadcast_object_list(box, 0)
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf, box[0])


def _tensors(thing: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(thing) if isinstance(leaf, torch.Tensor)]


def _gathered(thing: Any) -> list[Any]:
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, thing)
    return parts


def _differ(one: Vector | None, other: Vector | None) -> bool:
    if one is None or other is None:
        return one is not other
    return float(np.linalg.norm(one - other)) > _SAME * float(np.linalg.norm(other))
