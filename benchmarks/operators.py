"""PyTorch's operator database as gradient-check cases: every operator with a float64 gradient on the CPU, its own sample inputs."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten


@dataclass(frozen=True)
class OperatorCase:
    """One operator on one of its sample inputs: `fn` of the tensors that require a gradient."""

    operator: str
    sample: int
    fn: Callable[..., Any]
    inputs: tuple[torch.Tensor, ...]

    @property
    def name(self) -> str:
        return f"{self.operator}, sample {self.sample}"


def operators() -> list[Any]:
    """The operators of the database with a gradient in float64 on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return [op for op in op_db if op.supports_autograd and torch.float64 in op.supported_backward_dtypes("cpu")]


def cases(op: Any, dtype: torch.dtype = torch.float64, samples: int = 10) -> Iterator[OperatorCase]:
    """Up to `samples` cases; none where the operator has no gradient in that dtype.

    The function differentiated is the database's own: its `gradcheck_wrapper` (which makes matrices triangular or symmetric
    where the operator reads one half only) and the sample's `output_process_fn_grad` (which drops what is no function of the
    input, such as the phase of eigenvectors).
    """
    if dtype not in op.supported_backward_dtypes("cpu"):
        return
    torch.manual_seed(0)
    given = op.sample_inputs("cpu", dtype, requires_grad=True)
    for number, sample in enumerate(itertools.islice(given, samples)):
        leaves, tree = tree_flatten((sample.input, sample.args, sample.kwargs))
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
        if moving:
            yield OperatorCase(
                op.formatted_name, number, _function(op, sample, leaves, tree, moving), tuple(leaves[i] for i in moving)
            )


def _function(op: Any, sample: Any, leaves: list[Any], tree: Any, moving: list[int]) -> Callable[..., Any]:
    def fn(*inputs: Any) -> Any:
        every = list(leaves)
        for place, given in zip(moving, inputs, strict=True):
            every[place] = given
        first, args, kwargs = tree_unflatten(every, tree)
        result = op.gradcheck_wrapper(op.op, first, *args, **kwargs)
        processed = sample.output_process_fn_grad
        return result if processed is None else processed(result)

    return fn
