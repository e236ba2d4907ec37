"""A checkpoint that a script saves and loads again: is what trains on the same as what was saved?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import lr_scheduler

from wellposed.backends.patches import Patches
from wellposed.backends.torch.groups import parameters_of
from wellposed.backends.torch.watching.alive import alive
from wellposed.backends.torch.watching.movement import digest
from wellposed.backends.torch.watching.nodes import find_place
from wellposed.users_code import ask

Kind = tuple[Any, ...]
"""What tells one optimizer, schedule, scaler or module from another: its class and the shapes of its tensors."""


@dataclass
class _State:
    """Of everything that trains, by kind: hashes of what it holds, and who held it."""

    parts: dict[str, dict[Kind, set[int]]]
    owners: set[int]


class Resumed:
    """`lost` names the parts that are not what was saved, each with where the checkpoint is saved."""

    def __init__(self) -> None:
        self.lost: dict[str, str] = {}
        self._saved: _State | None = None
        self._place = ""
        self._loaded = False
        self._batches: list[int] = []  # of the first passes
        self._again: list[int] | None = None  # of the first passes after a load
        self._between = False

    @property
    def done(self) -> bool:
        """Whether a run was resumed."""
        return self._again is not None

    @property
    def asks(self) -> bool:
        """Whether the next training pass has anything to tell: not once enough is kept, or has been followed."""
        if self._again is not None:
            return len(self._again) < _SAME
        return self._loaded or len(self._batches) < _KEPT

    def watch(self, patches: Patches) -> None:
        patches.put(torch, "save", self._saving)
        patches.put(torch.serialization, "save", self._saving)
        patches.put(torch, "load", self._loading)
        patches.put(torch.serialization, "load", self._loading)

    def _saving(self, own: Callable[..., Any]) -> Any:
        def save(*args: Any, **kwargs: Any) -> Any:
            thing = args[0] if args else kwargs.get("obj")
            if ask(lambda: _of_training(thing), False):
                self._place = find_place().shown
                self._saved, self._loaded = _state(set()), False
                self._between = bool(self._batches) and self._batches.count(self._batches[0]) > 1
            return own(*args, **kwargs)

        return save

    def _loading(self, own: Callable[..., Any]) -> Any:
        def load(*args: Any, **kwargs: Any) -> Any:
            made = own(*args, **kwargs)
            self._loaded = self._loaded or (self._saved is not None and _of_training(made))
            return made

        return load

    def called(self, batch: int | None) -> None:
        """A training pass is about to begin, on this batch."""
        if self._again is not None:
            self._follow(batch)
        elif self._loaded and self._saved is not None:
            self._compare(self._saved)
            self._again, self._loaded = [], False
            self._follow(batch)
        elif batch is not None and len(self._batches) < _KEPT:
            self._batches.append(batch)

    def _compare(self, saved: _State) -> None:
        made_since = _state(saved.owners)
        now = made_since if made_since.parts["module"] else _state(set())
        for part, kinds in saved.parts.items():
            for kind, hashes in kinds.items():
                held = now.parts[part].get(kind)
                if held is not None and hashes - held and part != "module":
                    self.lost.setdefault(part, self._place)
                elif held is not None and hashes - held and len(hashes) > 1:
                    self.lost.setdefault("model" if not hashes & held else "ema", self._place)
                elif held is not None and hashes - held:
                    self.lost.setdefault("model", self._place)

    def _follow(self, batch: int | None) -> None:
        """The batches of the very beginning, once more: the generator began anew."""
        assert self._again is not None
        if len(self._again) < _SAME and batch is not None:
            self._again.append(batch)
            begins = self._batches[:_SAME]
            if len(self._again) == _SAME and self._again == begins and len(set(begins)) > 1 and not self._between:
                self.lost.setdefault("generator", self._place)


_SAME = 3  # batches in a row
_KEPT = 5_000  # hashes of batches


def _of_training(thing: Any) -> bool:
    """Whether it is more than weights: a dictionary of states, with counts or more states beside."""
    if not isinstance(thing, Mapping):
        return False
    states = [value for value in thing.values() if isinstance(value, Mapping) and value]
    return bool(states) and len(thing) > 1


def _state(but: set[int]) -> _State:
    parts: dict[str, dict[Kind, set[int]]] = {
        name: {} for name in ("optimizer", "scheduler", "scaler", "module", "buffers")
    }
    owners: set[int] = set()

    def note(part: str, owner: Any, read: Callable[[Any], tuple[Kind, int] | None]) -> None:
        found = ask(lambda: read(owner), None)  # lazy, on no device, half made: what is alive may be anything
        if found is None:
            return
        owners.add(id(owner))
        if id(owner) not in but:
            parts[part].setdefault(found[0], set()).add(found[1])

    for optimizer in alive(torch.optim.Optimizer):
        note("optimizer", optimizer, _optimizer)
    for schedule in alive(lr_scheduler.LRScheduler):
        note("scheduler", schedule, _schedule)
    for scaler in alive(GradScaler):
        note("scaler", scaler, _scaler)
    for module in _outermost():
        note("module", module, _weights)
        note("buffers", module, _buffers)
    return _State(parts, owners)


def _optimizer(optimizer: Any) -> tuple[Kind, int]:
    return (type(optimizer), *_shapes(parameters_of(optimizer))), hash(tuple(_moments(optimizer)))


def _schedule(schedule: Any) -> tuple[Kind, int] | None:
    count = schedule.last_epoch
    return ((type(schedule),), count) if type(count) is int else None


def _scaler(scaler: Any) -> tuple[Kind, int] | None:
    return ((type(scaler),), hash(float(scaler.get_scale()))) if scaler.is_enabled() else None


def _weights(module: nn.Module) -> tuple[Kind, int]:
    return _shaped(module), hash(tuple(digest(p) for p in module.parameters()))


def _buffers(module: nn.Module) -> tuple[Kind, int] | None:
    buffers = [buffer for buffer in module.buffers() if buffer is not None]
    if not buffers or not any(p.requires_grad for p in module.parameters()):
        return None
    return _shaped(module), hash(tuple(map(digest, buffers)))


def _shaped(module: nn.Module) -> Kind:
    return type(module), *_shapes(list(module.parameters()))


def _outermost() -> Iterator[nn.Module]:
    modules = [module for module in alive(nn.Module) if "_modules" in vars(module)]
    inner = {id(part) for module in modules for part in module._modules.values()}
    for module in modules:
        if id(module) not in inner and ask(partial(_first, module), None) is not None:
            yield module


def _first(module: nn.Module) -> torch.Tensor | None:
    return next(module.parameters(), None)


def _shapes(tensors: list[torch.Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tensor.shape) for tensor in tensors)


def _moments(optimizer: Any) -> Iterator[int]:
    for parameter in parameters_of(optimizer):
        for name, value in sorted(optimizer.state.get(parameter, {}).items()):
            if isinstance(value, torch.Tensor):
                yield hash((name, digest(value.detach().float())))
