"""A loss and what it was multiplied by before its backward pass: by a scaler, by one over the micro-batches."""

from __future__ import annotations

from typing import Any

from wellposed.backends.torch.watching.nodes import Made


def peeled(made: Made) -> tuple[Made, float]:
    """The loss before it was multiplied or divided by a number, and by what."""
    factor = 1.0
    while True:
        name = getattr(made.node.call, "__name__", "")
        if made.path or name not in _SCALING or len(made.node.args) != 2 or made.node.kwargs or made.node.whole:
            return made, factor
        one, other = made.node.args
        if not isinstance(one, Made):
            one, other = other, one
            if name in ("div", "__truediv__", "true_divide"):
                return made, factor
        number = _number(other)
        if not isinstance(one, Made) or number is None or number == 0:
            return made, factor
        factor *= 1 / number if _SCALING[name] else number
        made = one


_SCALING = {
    "mul": False, "__mul__": False, "__rmul__": False, "multiply": False,
    "div": True, "__truediv__": True, "true_divide": True, "divide": True,
}  # fmt: skip


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    tensor = getattr(value, "tensor", None)
    if tensor is not None and tensor.numel() == 1 and not tensor.requires_grad:
        return float(tensor)
    return None
