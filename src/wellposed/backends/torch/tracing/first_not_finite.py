"""Which operation was the first to make the NaN or infinity that reached the loss or a gradient, forward or
backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wellposed.backends.lines import find_caller
from wellposed.backends.measured import NotFinite, Operand

# Operations that put infinity where they were told to.
_DELIBERATE = (
    "masked_fill", "fill", "full", "full_like", "new_full", "scalar_tensor", "lift_fresh", "_to_copy", "copy", "where",
    "tril", "triu", "index_put", "masked_scatter", "constant_pad_nd",
)  # fmt: skip
_INSIDE = ("torch", "wellposed", "contextlib")


@dataclass
class _Culprit:
    found: NotFinite
    order: int


class Finite(TorchDispatchMode):
    """Watches every operation of a forward and backward pass; what a culprit made is followed through the operations
    after it.

    Infinity that a mask was filled with is deliberate: whoever makes NaN of it is the culprit.
    """

    def __init__(self, modules: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self._names = {id(module): name for name, module in modules}
        self._stack: list[str] = []
        self._made: dict[int, tuple[torch.Tensor, _Culprit | None]] = {}
        self._hooks: list[Any] = []
        self._count = 0

    def __enter__(self) -> Finite:
        self._hooks = [
            nn.modules.module.register_module_forward_pre_hook(self._enter),
            nn.modules.module.register_module_forward_hook(self._leave, always_call=True),
        ]
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._stack.append(self._names.get(id(module), ""))

    def _leave(self, *_: Any) -> None:
        self._stack.pop()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        inputs = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        outputs = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        bad = [x for x in outputs if x.numel() and not bool(torch.isfinite(x).all())]
        if bad:
            self._note(function, args, inputs, bad)
        return result

    def reached(self, tensors: Sequence[torch.Tensor]) -> NotFinite | None:
        """The culprit behind these tensors' NaN or infinity; None where none is known."""
        known = [self._behind(tensor) for tensor in tensors if not bool(torch.isfinite(tensor).all())]
        culprits = [culprit for culprit in known if culprit is not None]
        if not culprits and known:
            culprits = [culprit for _, culprit in self._made.values() if culprit is not None]
        return min(culprits, key=lambda culprit: culprit.order).found if culprits else None

    def _behind(self, tensor: torch.Tensor) -> _Culprit | None:
        found = self._made.get(_key(tensor))
        return None if found is None else found[1]

    def _note(self, function: Any, args: Any, inputs: list[torch.Tensor], bad: list[torch.Tensor]) -> None:
        name = str(function.overloadpacket.__name__).rstrip("_")
        nan = any(bool(torch.isnan(x).any()) for x in bad)
        suspects = [self._made[_key(x)] for x in inputs if _key(x) in self._made]
        before = [culprit for _, culprit in suspects if culprit is not None]
        nan_before = any(bool(torch.isnan(x).any()) for x in inputs)
        infinite_before = any(bool(torch.isinf(x).any()) for x in inputs)
        culprit: _Culprit | None
        if before:
            culprit = min(before, key=lambda c: c.order)
        elif (not nan and (infinite_before or name in _DELIBERATE)) or (nan and nan_before):
            culprit = None  # a mask, handed on; or NaN that was there from the beginning
        else:
            self._count += 1
            backward = torch._C._current_autograd_node()
            operation = str(backward.name()).rstrip("0123456789") if backward is not None else name
            where = self._stack[-1] if self._stack and backward is None else ""
            if (
                name.startswith("add") and name != "add" and backward is None
            ):  # addmm and its kind: what is added comes first
                inputs = [*inputs[1:], *inputs[:1]]
            numbers = [a for a in args if isinstance(a, float | int)]
            along = numbers[0] if "softmax" in name and numbers and isinstance(numbers[0], int) else -1
            operands = tuple(_operand(one, along) for one in [*inputs, *numbers])
            line = find_caller(_INSIDE) if backward is None else ""
            found = NotFinite(operation, where, line, backward is not None, "NaN" if nan else "infinity", operands)
            culprit = _Culprit(found, self._count)
        for x in bad:
            self._made[_key(x)] = (x, culprit)


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _operand(x: Any, along: int) -> Operand:
    """`along` is the axis of which a whole slice may be masked."""
    if not isinstance(x, torch.Tensor):
        return Operand(float(x), float(x), int(x == 0), "", 1)
    finite = x.detach()[torch.isfinite(x)].double()
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (float("nan"), float("nan"))
    along = along if -x.ndim <= along < x.ndim else -1
    masked = bool((x == -torch.inf).all(dim=along).any()) if x.ndim and x.numel() else False
    return Operand(low, high, int((x == 0).sum()), str(x.dtype).rpartition(".")[2], x.numel(), masked)
