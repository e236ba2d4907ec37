"""A torch network as a function of its inputs: products with its Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten

from wellposed.backends.torch.state import model_restored
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector


class TorchInputMap:
    """Of a function from one tensor [N, ...] to outputs [N, ...]; one forward pass, held for as many products as are
    asked for.
    """

    def __init__(self, function: Callable[[torch.Tensor], Any], x: torch.Tensor) -> None:
        if not x.is_floating_point() or x.layout is not torch.strided or x.dim() < 1 or not x.numel():
            raise InputError(
                f"a spectrum needs a dense tensor of real inputs [N, ...], not {x.dtype} of shape {tuple(x.shape)}"
            )
        self._x = x.detach().clone().requires_grad_()
        with (
            model_restored(function),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),  # the fused kernels have no second derivative
        ):
            # Another tensor than the leaf, which may be changed in place.
            found = [
                leaf
                for leaf in tree_flatten(function(self._x.clone()))[0]
                if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
            ]
            if not found or found[0].dim() < 1 or found[0].shape[0] != x.shape[0]:
                raise InputError("a spectrum needs outputs of shape [N, ...], one row for each of the inputs'")
            self._f = found[0]
            if not self._f.requires_grad or not self._reached():
                raise InputError("the outputs do not depend on the inputs, so there is no Jacobian")
            self._cotangent = torch.zeros_like(self._f, requires_grad=True)
        self._back: torch.Tensor | None = None
        self.inputs = _rows(self._x)
        self.outputs = _rows(self._f)

    def _reached(self) -> bool:
        (gradient,) = torch.autograd.grad(
            self._f, self._x, torch.ones_like(self._f), retain_graph=True, allow_unused=True
        )
        return gradient is not None

    def vjp(self, row: int, u: Vector) -> Vector:
        given = torch.zeros_like(self._f)
        given[row] = torch.as_tensor(u, dtype=given.dtype).reshape(given.shape[1:])
        (gradient,) = torch.autograd.grad(self._f, self._x, given, retain_graph=True)
        found: Vector = _rows(gradient)[row]
        return found

    def jvp(self, row: int, v: Vector) -> Vector:
        """By differentiating the backward pass, which is linear in the cotangent."""
        if self._back is None:
            with torch.enable_grad():
                (self._back,) = torch.autograd.grad(self._f, self._x, self._cotangent, create_graph=True)
        given = torch.zeros_like(self._x)
        given[row] = torch.as_tensor(v, dtype=given.dtype).reshape(given.shape[1:])
        (gradient,) = torch.autograd.grad(self._back, self._cotangent, given, retain_graph=True)
        found: Vector = _rows(gradient)[row]
        return found


def _rows(tensor: torch.Tensor) -> Vector:
    return np.array(tensor.detach().to("cpu").double().reshape(tensor.shape[0], -1).numpy())
