"""A batch in whatever form people have one, as the pair of a model's inputs and a loss's targets."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.arrays import describe
from wellposed.backends.torch.state import torch_generators
from wellposed.errors import InputError

_TARGETS = ("labels", "label", "targets", "target", "y")
"""What the targets are called in a batch by names, the likeliest first."""
_FEW = 6  # parts that are named
_NOTHING = object()
_ALONE = "a loss of one argument gets the model itself: TorchProblem(model, lambda model: ...)"


def pair_of(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """The inputs, as the model is called with them, and the targets.

    Of a loader the first batch; of three and more parts the last is the targets; of a batch by names the model gets
    what its `forward` knows by name, or all of it where that takes a single argument, and the loss gets the rest, else
    what is called `labels` or the like, else all; an object of another kind, as a graph with its features, goes to
    both. A tuple or a dictionary of inputs is given to the model as its arguments where `forward` takes them so, else
    as the one argument that it is. NumPy's arrays become tensors as the model's parameters are. Raises `InputError`
    for a tensor alone, and for what cannot be read twice.
    """
    inputs, targets = _of_parts(model, as_tensors(model, _first(batch)))
    return _as_called(model, inputs), targets


def how_called(pair: tuple[Any, Any]) -> str:
    """In words, with the shapes of what model and loss get."""
    inputs, targets = pair
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    given = ", ".join(f"{name}={_shown(one)}" for name, one in inputs.items()) if isinstance(inputs, dict) else ""
    given = given or ", ".join(map(_shown, parts))
    alone = (
        "; a model that takes its inputs as one gets ((inputs,), targets)" if isinstance(inputs, tuple | dict) else ""
    )
    return f"By shapes, it was called as loss(model({given}), {_shown(targets)}){alone}"


def _shown(thing: Any) -> str:
    if isinstance(thing, torch.Tensor):
        return str(list(thing.shape))
    if isinstance(thing, tuple | list) and len(thing) <= _FEW:
        return f"({', '.join(map(_shown, thing))})"
    if isinstance(thing, dict):
        return f"{{{', '.join(map(str, list(thing)[:_FEW]))}}}"
    return repr(thing) if isinstance(thing, int | float) else f"a {type(thing).__name__}"


def as_tensors(model: nn.Module, batch: Any) -> Any:
    """With tensors in place of NumPy's arrays, on the model's device and floating-point ones in its format; mappings of
    other kinds as dictionaries.
    """
    own = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))

    def changed(leaf: Any) -> Any:
        if isinstance(leaf, Mapping) and not isinstance(leaf, dict):  # as what a tokenizer returns
            return {key: as_tensors(model, value) for key, value in leaf.items()}
        if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "fiub":
            return leaf
        tensor = torch.from_numpy(np.ascontiguousarray(leaf)).to(own.device)
        return tensor.to(own.dtype) if tensor.is_floating_point() else tensor

    return tree_map(changed, batch)


def _first(batch: Any) -> Any:
    """Of a loader, which is left as it was: its order and its workers' seeds are drawn, and put back."""
    whole = isinstance(batch, torch.Tensor | np.ndarray | Mapping | list | tuple | str) or hasattr(batch, "to")
    if whole or not isinstance(batch, Iterable):
        return batch
    if isinstance(batch, Iterator):
        raise InputError(
            f"batch is a {type(batch).__name__}, which can be read only once",
            hint="give the loader itself, or one batch of it: next(iter(loader))",
        )
    with Randomness(*torch_generators()).fixed():
        first = next(iter(batch), _NOTHING)
    if first is _NOTHING:
        raise InputError(f"batch is a {type(batch).__name__} without any batch in it", hint="is its data set empty?")
    return first


def _of_parts(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, dict) and batch:
        return _by_name(model, batch)
    if isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, targets = batch
        return inputs, targets
    if isinstance(batch, tuple | list) and len(batch) > 2:
        return tuple(batch[:-1]), batch[-1]
    if hasattr(batch, "to") and not isinstance(batch, torch.Tensor):
        return batch, batch
    if isinstance(batch, torch.Tensor):
        raise InputError(
            f"batch must be a pair (inputs, targets), not {describe(batch)}",
            hint=f"(x, x) where the inputs are the targets; {_ALONE}",
        )
    raise InputError(f"batch must be a pair (inputs, targets), not {describe(batch)}", hint=_ALONE)


def _as_called(model: nn.Module, inputs: Any) -> Any:
    """Several inputs as one, where `forward` takes them so alone."""
    if not isinstance(inputs, tuple | dict):
        return inputs
    arguments, named = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # of a compiled one
        return inputs
    return inputs if _takes(signature, *arguments, **named) or not _takes(signature, inputs) else (inputs,)


def _takes(signature: inspect.Signature, *arguments: Any, **named: Any) -> bool:
    try:
        signature.bind(*arguments, **named)
    except TypeError:
        return False
    return True


def _by_name(model: nn.Module, batch: dict[Any, Any]) -> tuple[Any, Any]:
    known, single = _arguments(model, batch)
    named = next((name for name in _TARGETS if name in batch), None)
    rest = {name: part for name, part in batch.items() if name not in known}
    if known:
        inputs: Any = {name: batch[name] for name in batch if name in known}
    elif len(batch) == 2 and named is not None:
        (other,) = (part for name, part in batch.items() if name != named)
        return other, batch[named]
    elif single:
        inputs, rest = (batch,), {}
    else:
        raise InputError(
            f"the model's forward knows none of the names in the batch ({', '.join(map(str, list(batch)[:_FEW]))})",
            hint="give the pair of what the model and what the loss gets: ({'x': batch['image']}, batch['label'])",
        )
    if len(rest) == 1:
        return inputs, next(iter(rest.values()))
    return inputs, rest or (batch if named is None else batch[named])


def _arguments(model: nn.Module, batch: dict[Any, Any]) -> tuple[set[Any], bool]:
    """The names in the batch that `forward` takes, and whether it takes a single argument."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # of a compiled one
        return set(), True
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        own = {one.name for one in parameters if one.kind is not one.VAR_KEYWORD}
        takes_all = not own or bool(own & batch.keys())
        return {name for name in batch if takes_all and isinstance(name, str)}, len(own) == 1
    takes = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one for one in takes if one.default is one.empty]
    return {one.name for one in takes} & batch.keys(), len(needed) <= 1 and bool(takes)
