"""The loss functions that are recognised when they are called, example by example."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from wellposed.backends.measured import LossCall

_SMALL = 1 << 20


def loss_call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LossCall | None:
    """The call as a `LossCall`, its losses recomputed in float64 without weights; None if it is no known loss.

    Known are cross_entropy and nll_loss with class indices, binary_cross_entropy(_with_logits) with
    targets 0 and 1, and mse_loss.
    """
    if name not in (
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "mse_loss",
    ):
        return None
    given = dict(zip(("input", "target"), args, strict=False)) | kwargs
    outputs, targets = given.get("input"), given.get("target")
    if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor):
        return None
    with torch.no_grad():
        # A copy in float64 of a language model's scores would be as large as the model.
        outputs = outputs.detach().double() if outputs.numel() <= _SMALL else outputs.detach().float()
        if name in ("cross_entropy", "nll_loss"):
            return _classes(name, outputs, targets, int(kwargs.get("ignore_index", -100)))
        if outputs.shape != targets.shape:
            return None  # broadcast: the mistake is not in the size of the loss
        targets = targets.detach().to(outputs.dtype)
        if name == "mse_loss":
            losses = (outputs - targets).square()
            size = float(outputs.double().square().mean().sqrt())
            wanted = targets.double().flatten().numpy(force=True)
            return LossCall("squared_error", losses.double().flatten().numpy(force=True), wanted, outputs=size)
        if not bool(((targets == 0) | (targets == 1)).all()):
            return None
        losses = getattr(functional, name)(outputs, targets, reduction="none")
        return LossCall(
            "cross_entropy", losses.double().flatten().numpy(force=True), targets.flatten().long().numpy(force=True), 2
        )


def _classes(name: str, outputs: torch.Tensor, targets: torch.Tensor, ignored: int) -> LossCall | None:
    if targets.is_floating_point() or outputs.dim() == 0 or targets.dim() >= max(outputs.dim(), 2):
        return None  # class probabilities
    classes = outputs.shape[1] if outputs.dim() > 1 else outputs.shape[0]
    kept = targets != ignored
    valid = targets[kept]
    if valid.numel() == 0 or bool(((valid < 0) | (valid >= classes)).any()):
        return None  # the call itself will raise
    losses = getattr(functional, name)(outputs, targets, ignore_index=ignored, reduction="none")
    return LossCall(
        "cross_entropy", losses[kept].double().flatten().numpy(force=True), valid.flatten().numpy(force=True), classes
    )
