"""A batch in micro-batches, and the gradient that a training step leaves after all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from wellposed.backends.torch.problem import TorchProblem
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector

_ORDER_ULPS = 1e3  # units in the last place: the order of summation differs
Step = Callable[[Any, Sequence[Any]], Any]


def micro_batches(batch: Any, count: int) -> list[Any]:
    """The batch in `count` parts along the first axis of every tensor that has the batch's length."""
    leaves, tree = tree_flatten(batch)
    lengths = [leaf.shape[0] for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim]
    if not lengths or lengths[0] < count:
        raise InputError(
            f"a batch of {lengths[0] if lengths else 0} examples cannot be split into {count} micro-batches"
        )
    parts = []
    for piece in torch.tensor_split(torch.arange(lengths[0]), count):
        low, high = int(piece[0]), int(piece[-1]) + 1
        split = [
            leaf[low:high] if isinstance(leaf, torch.Tensor) and leaf.ndim and leaf.shape[0] == lengths[0] else leaf
            for leaf in leaves
        ]
        parts.append(tree_unflatten(split, tree))
    return parts


def own_gradients(problem: TorchProblem, parts: Sequence[Any]) -> list[Vector]:
    """The gradient of the problem's loss on each micro-batch alone."""
    theta = problem.theta()
    twins = [TorchProblem(problem.model, problem.loss, part) for part in parts]
    return [
        problem.layout.pack_known({name: twin.gradient(theta).get(name) for name in problem.layout.names})
        for twin in twins
    ]


def accumulate(problem: TorchProblem, parts: Sequence[Any], step: Step | None) -> Vector:
    """What `step(model, parts)` leaves in the parameters' `grad`; without a step, what the usual recipe does."""

    def usual(model: Any, batches: Sequence[Any]) -> None:
        for batch in batches:
            (TorchProblem(model, problem.loss, batch)._loss() / len(batches)).backward()

    return problem.gradient_left(lambda: (step or usual)(problem.model, parts))


def measure(problem: Any, count: int, step: Step | None) -> tuple[Vector, list[Vector], Vector, float]:
    """The full batch's gradient, the micro-batches' own, the accumulated one, and what rounding may make of them,
    relative.

    Raises `InputError` where the problem is not torch's, or has no batch to split.
    """
    if not isinstance(problem, TorchProblem) or problem.batch is None:
        raise InputError(
            "check_accumulation needs a TorchProblem with a batch",
            hint="wp.TorchProblem(model, loss, (inputs, targets))",
        )
    if not isinstance(count, int) or count < 2:
        raise InputError(f"micro_batches must be a whole number from 2 on, not {count!r}")
    parts = micro_batches(problem.batch, count)
    with problem.preserved():
        full = problem.layout.pack_known(problem.gradient(problem.theta()))
        coarsest = max(float(torch.finfo(p.dtype).eps) for p in problem.model.parameters() if p.dtype.is_floating_point)
        return full, own_gradients(problem, parts), accumulate(problem, parts, step), _ORDER_ULPS * coarsest
