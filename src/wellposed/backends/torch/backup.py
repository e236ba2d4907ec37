"""The bits of tensors that a forward pass may write to, though nothing trains them: frozen weights, attributes, the
batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from wellposed.backends.snapshot import Snapshot
from wellposed.backends.torch.state import flags_restored


class Backup:
    """One copy of each tensor; `restore` writes it back to where it lies, in the tensor's own memory."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self._kept = [_Kept(tensor) for tensor in tensors]
        self._moving: set[int] = set()  # those that were written to without a new version, as `.data` allows

    def beside(self, tensors: Iterable[torch.Tensor]) -> Backup:
        """Of the same tensors and of these."""
        both = Backup(tensors)
        both._kept += self._kept
        return both

    def restore(self, *, all_of_them: bool = False) -> None:
        """Those that have a new version, or once were seen to change without one; `all_of_them` compares the bits of
        each.
        """
        for kept in self._kept:
            if (all_of_them or kept.touched or id(kept) in self._moving) and kept.put_back():
                self._moving.add(id(kept))


class _Kept:
    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor, self._data, self._bits = tensor, tensor.detach(), tensor.detach().clone()
        self._shape, self._stride, self._place = tensor.shape, tensor.stride(), tensor.data_ptr()
        self._version = _version(tensor)

    @property
    def touched(self) -> bool:
        return _version(self._tensor) != self._version or self._tensor.data_ptr() != self._place

    def put_back(self) -> bool:
        """Whether anything had changed."""
        tensor = self._tensor
        moved = tensor.data_ptr() != self._place or tensor.shape != self._shape or tensor.stride() != self._stride
        if moved:
            tensor.data = self._data
        changed = not _same_bits(self._data, self._bits)
        if changed:
            with torch.no_grad():
                tensor.data.copy_(self._bits)
        self._version = _version(tensor)
        return changed or moved


@contextmanager
def reachable_restored(*roots: Any, but: Iterable[torch.Tensor]) -> Iterator[Backup]:
    """Puts back, at the end, everything within reach of the roots, but for the bits of these tensors, which others look
    after. What is given may put back the rest of them earlier.
    """
    held, lent = Snapshot(*roots), {id(tensor) for tensor in but}
    tensors = [thing for thing in held.things if isinstance(thing, torch.Tensor)]
    backup = Backup(tensor for tensor in tensors if id(tensor) not in lent and backed_up(tensor))
    try:
        with flags_restored(tensors):
            yield backup
    finally:
        held.restore()
        backup.restore(all_of_them=True)


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else int(tensor._version)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """NaN equals NaN here, and 0 does not equal -0."""
    if torch.equal(one, other) and not (one == 0).any():
        return True
    size = one.element_size()
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(size)
    if whole is None or one.is_complex():
        return (
            bool(torch.equal(torch.view_as_real(one), torch.view_as_real(other)))
            if one.is_complex()
            else bool(torch.equal(one, other))
        )
    return bool(torch.equal(one.view(whole), other.view(whole)))


def backed_up(tensor: torch.Tensor) -> bool:
    """Whether a tensor has bits of its own that can be kept: not one on the meta device, sparse, or spread over
    ranks.
    """
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    return (
        plain
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not isinstance(tensor, torch.nn.parameter.UninitializedParameter | torch.nn.parameter.UninitializedBuffer)
    )
