"""Evaluations in float64 without a float64 copy of the parameters: each is lifted where an operation reads it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves, tree_map

from wellposed.backends.torch.coordinates import Displaced, Exactly, lifted
from wellposed.backends.torch.float64_copy import Wide
from wellposed.backends.torch.held_constants import LIFTED
from wellposed.backends.torch.tracing.function_mode import Again, Watcher, seen_through

IN_PLACE = "modified by an inplace operation"
"""torch's words."""
_ASKS = {
    "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "is_floating_point", "is_complex",
    "element_size", "data_ptr", "storage_offset", "get_device", "__len__", "register_hook", "requires_grad_",
    "untyped_storage", "is_same_size", "has_names", "__hash__", "__repr__",
}  # fmt: skip
"""What reads no number of a tensor."""
_CASTS = {"to", "type", "type_as", "double", "float", "half", "bfloat16", "contiguous", "clone"}
_LOOKS_UP = {"embedding", "embedding_bag"}
"""What reads few rows of a large table: what comes out is lifted."""


class _Kept(NamedTuple):
    """A tensor that the backward pass needs, with the version that it had."""

    tensor: torch.Tensor
    version: int


class _View(NamedTuple):
    """Where such a tensor lies within a parameter's numbers."""

    parameter: torch.Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class Lifting(Wide):
    """As `Wide`, for parameters that stay as they are.

    What the backward pass needs of a lifted parameter is not kept, but lifted once more: a graph would hold all of them
    in float64 else.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], at: Displaced | Exactly | None = None) -> None:
        """`at` says where they are taken to be; they are read there and nowhere else."""
        super().__init__()
        self._own, self._at = {id(parameter): name for name, parameter in parameters.items()}, at
        self._lifted: dict[int, torch.Tensor] = {}  # by where the float64 numbers lie: the parameter that they are of
        self._saving = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def __enter__(self) -> Lifting:
        super().__enter__()
        self._saving.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._saving.__exit__(*exception)
        del self._saving  # which knows its owner
        super().__exit__(*exception)

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        mine = id(first) in self._own
        if name == "__get__" and mine and function == _DATA:
            return self._lift(first).detach()
        if name == "__get__" and not (mine and function in _VIEWS):
            return torch.float64 if mine and function == _DTYPE else function(*args, **kwargs)
        if name == "__set__" and mine and function == _DATA_SET:
            raise RuntimeError("the forward pass puts other data into a parameter")
        if name in _ASKS or (mine and name.startswith("__set")):
            return function(*args, **kwargs)
        if function in _BACKWARD:  # else what runs within a backward pass would not be seen
            with Again(_Backwards(self)):
                return _BACKWARD[function](*args, **kwargs)
        if name not in _LOOKS_UP or any(map(self._moves, (*args, *kwargs.values()))):
            written = mine and name.endswith("_") and not name.endswith("__")
            args = (*args[:1], *tree_map(self._lift, args[1:])) if written else tree_map(self._lift, args)
            kwargs = tree_map(self._lift, kwargs)
        result = super().watched(name, function, args, kwargs)
        # What is a tensor of its own in the parameter's dtype must be one here: it may be edited.
        return result.clone() if mine and name in _CASTS and result is args[0] else result

    def _lift(self, thing: Any) -> Any:
        if id(thing) not in self._own or (thing.dtype is torch.float64 and not self._moves(thing)):
            return thing
        with torch._C.DisableTorchFunction(), torch.enable_grad():  # as the parameter itself: no watcher sees it made
            numbers = lifted(thing)
            setattr(numbers, LIFTED, True)
            if self._at is not None:
                self._at.shift(self._own[id(thing)], numbers.detach())
            place = numbers.untyped_storage().data_ptr()
        self._lifted[place] = thing
        weakref.finalize(numbers, self._lifted.pop, place, None)
        return numbers

    def _moves(self, thing: Any) -> bool:
        return self._at is not None and id(thing) in self._own and self._at.displaces(self._own[id(thing)])

    def _pack(self, tensor: torch.Tensor) -> _Kept | _View:
        of = self._lifted.get(tensor.untyped_storage().data_ptr()) if tensor.dtype is torch.float64 else None
        if of is None:
            alias = tensor.detach()  # an operation that keeps its own output would keep itself else
            return _Kept(alias, alias._version)
        return _View(of, tensor.size(), tensor.stride(), int(tensor.storage_offset()))

    def _unpack(self, packed: _Kept | _View) -> torch.Tensor:
        if isinstance(packed, _Kept):
            if packed.tensor._version != packed.version:
                raise RuntimeError("one of the variables needed for gradient computation has been " + IN_PLACE)
            return packed.tensor
        with torch._C.DisableTorchFunction():
            numbers: torch.Tensor = self._lift(packed.parameter).detach()
            return numbers.as_strided(packed.size, packed.stride, packed.offset)


class _Backwards(Watcher):
    """Within a backward pass, where gradients arrive in their tensors' dtypes: what knows no float64 stays as it is."""

    def __init__(self, lifting: Lifting) -> None:
        super().__init__()
        self._lifting = lifting

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in _BACKWARD:
            with Again(self):
                return _BACKWARD[function](*args, **kwargs)
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype is torch.float64 for leaf in tree_leaves((args, kwargs))):
            return self._lifting.watched(name, function, args, kwargs)
        return function(*args, **kwargs)


_BACKWARD = {
    whole: seen_through(whole) for whole in (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)
}
_VIEWS = [getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H", "mH", "real", "imag")]
"""Attributes that are numbers of the tensor."""
_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_DATA_SET = torch.Tensor.data.__set__  # type: ignore[attr-defined]
_DTYPE = torch.Tensor.dtype.__get__  # type: ignore[attr-defined]
