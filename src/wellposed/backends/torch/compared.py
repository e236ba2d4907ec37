"""The tensors of two functions or modules that are held against each other: parameters, outputs, their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import keystr, tree_flatten_with_path

from wellposed.backends.torch.copies import copy_together
from wellposed.backends.torch.float64_copy import to_float64
from wellposed.backends.torch.leaves import modules_of
from wellposed.backends.ways import ALONE
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array

_SAME_WEIGHTS = 4.0  # units of the coarser of two formats


@dataclass(frozen=True)
class Side:
    """A function, the tensors that it is differentiated by beside its inputs, every module within its reach, and what
    it is given as inputs that are no tensors, by their place.
    """

    function: Any
    tensors: dict[str, torch.Tensor]
    modules: tuple[nn.Module, ...]
    given: dict[int, Any]

    def in_float64(self) -> Side:
        """A copy, of all that it closes over too."""
        things = [*self.tensors.values(), *self.given.values()]
        function, *copies = copy_together(self.function, *things, change=to_float64)
        # a module that copies itself (parametrizations do) knows other tensors than those copied beside it
        tensors = dict(zip(self.tensors, copies, strict=False)) | parameters_of(function)
        given = dict(zip(self.given, copies[len(tensors) :], strict=True))
        return Side(function, tensors, modules_of(function, *given.values()), given)


def parameters_of(function: Any) -> dict[str, torch.Tensor]:
    """Those of a module that are trained; compiled ones by the names of the original."""
    if not isinstance(function, nn.Module):
        return {}
    return {name.replace("_orig_mod.", ""): p for name, p in function.named_parameters() if p.requires_grad}


def demand_numbers(tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Raises `InputError` for tensors that have none yet, or that autograd does not take."""
    for name, tensor in tensors:
        if is_lazy(tensor):
            raise InputError(f"`{name}` has no shape yet", hint="call the model once on a batch first")
        if tensor.device.type == "meta":
            raise InputError(f"`{name}` is on the meta device and has no numbers", hint="model.to_empty(device=...)")
        if tensor.is_nested:
            raise InputError(
                f"`{name}` is a nested tensor, whose rows have lengths of their own",
                hint="give x.values() and x.offsets(), and nest them in the functions (nested_tensor_from_jagged)",
            )
        if tensor.is_inference() and tensor.requires_grad:
            raise InputError(
                f"`{name}` was made under inference_mode and has no gradients", hint="build the model outside of it"
            )


def lift_buffers(lifted: Any, candidate: Any, reference: Any) -> None:
    """Gives a candidate's copy in float64 the buffers of the reference, where the candidate's are these, rounded."""
    if not all(isinstance(one, nn.Module) for one in (lifted, candidate, reference)):
        return
    own, exact = (dict(one.named_buffers()) for one in (candidate, reference))
    with torch.no_grad():
        for name, buffer in lifted.named_buffers():
            known = [one[name] for one in (exact, own) if name in one and one[name].is_floating_point()]
            if len(known) == 2 and known[0].shape == known[1].shape and _same_numbers(*known):
                buffer.copy_(known[0])


def how_to_ask(inputs: list[Any]) -> str:
    """What to write so that a gradient is asked for."""
    arrays = not any(map(torch.is_tensor, inputs)) and any(isinstance(one, np.ndarray) for one in inputs)
    return f"{'torch.from_numpy(x)' if arrays else 'x'}.requires_grad_(True) on each tensor to differentiate by"


def demand_alike(reference: dict[str, torch.Tensor], candidate: dict[str, torch.Tensor]) -> None:
    """Raises `InputError` where two modules have other parameters, or other numbers in them."""
    if not reference or not candidate:
        if reference or candidate:
            raise InputError(
                "one of reference and candidate is a module with parameters, the other is not",
                hint="give both as modules, or both as functions of tensors",
            )
        return
    apart = sorted(reference.keys() ^ candidate.keys())
    if apart:
        raise InputError(f"reference and candidate have other parameters: {', '.join(apart[:4])}")
    for name, parameter in reference.items():
        if parameter.shape != candidate[name].shape:
            shapes = f"{tuple(parameter.shape)} and {tuple(candidate[name].shape)}"
            raise InputError(f"parameter `{name}` has the shapes {shapes} in reference and candidate")
        if not _same_numbers(parameter, candidate[name]):
            raise InputError(
                f"parameter `{name}` has other values in reference and candidate",
                hint="candidate.load_state_dict(reference.state_dict())",
            )


def _same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one is other:
        return True
    known = [torch.finfo(tensor.dtype) for tensor in (one, other)]
    unit = _SAME_WEIGHTS * max(one.eps for one in known)
    least = max(one.smallest_normal * one.eps for one in known)  # weights of 1e-6 are coarse in float16
    first, second = (tensor.detach().to("cpu").to_dense() for tensor in (one, other))
    wide = torch.complex128 if first.is_complex() else torch.float64
    return torch.allclose(first.to(wide), second.to(wide), rtol=unit, atol=unit * float(first.abs().max() or 1) + least)


def outputs_of(made: Any) -> dict[str, torch.Tensor]:
    """Every floating-point tensor that was returned, by where it stands: the key of a dictionary, not its place."""
    found = {
        f"{ALONE}{keystr(path)}": tensor
        for path, tensor in tree_flatten_with_path(made)[0]
        if isinstance(tensor, torch.Tensor) and (tensor.is_floating_point() or tensor.is_complex())
    }
    return found if len(found) > 1 else dict.fromkeys((ALONE,), *found.values()) if found else {}


def numbers(value: torch.Tensor | None, like: torch.Tensor) -> Array:
    """In float64, complex ones as pairs; zeros where there are none."""
    if value is None:
        value = torch.zeros(like.shape, dtype=like.dtype)
    value = value.detach()
    if value.is_nested:
        value = value.values()
    if value.layout is not torch.strided:
        value = value.to_dense()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    found: Array = value.to("cpu", torch.float64).numpy().copy()
    return found
