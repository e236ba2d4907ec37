"""A model within a loss of the model alone, whose data were named, as functions of arrays: what the model returns is
seen, and put in, where the loss calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_map, tree_unflatten

from wellposed.backends.structure.program import UNCHANGED, Sent
from wellposed.backends.torch.arrays import view
from wellposed.backends.torch.program import TorchProgram, as_result, as_tensor, outputs_in
from wellposed.numerics.arrays import Array


class NamedProgram(TorchProgram):
    """The outputs are those of the first call that gets the inputs, else of the first one that the loss makes."""

    def __init__(
        self,
        model: nn.Module,
        data: tuple[Any, Any],
        loss: Callable[[nn.Module], torch.Tensor],
        evaluated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__(model, data, lambda _made, _targets: loss(model), evaluated)
        self._of_model = loss
        self.complete = False  # a loss may use what nobody has named
        with evaluated(), torch.no_grad(), self._random.fixed(), _Calls(model) as calls:
            loss(model)
        own = {leaf.data_ptr() for leaf in tree_flatten(data[0])[0] if isinstance(leaf, torch.Tensor)}
        getting = [call for call, given in enumerate(calls.given) if own & given]
        self._call = next(iter(getting), 0)

    def _made(self, changed: Mapping[str, Array]) -> Any:
        with self._lent(changed), _Calls(self._model) as calls:
            self._of_model(self._model)
        return calls.made[self._call]

    def sent(self) -> list[Sent]:
        with self._evaluated(), self._random.fixed():
            self._in_training()
            with _Calls(self._model) as calls:
                value = self._of_model(self._model)
            leaves = outputs_in(calls.made[self._call])
            slopes = self._by_the_graph(leaves, value)
        return self._told(leaves, slopes)

    def slope_at(self, place: int, outputs: Array, changed: Mapping[str, Array] = UNCHANGED) -> Array | None:
        put: list[torch.Tensor] = []

        def put_in(made: Any) -> Any:
            leaves, tree = tree_flatten(made)
            if place >= len(leaves) or leaves[place] is not outputs_in(made)[place]:
                return made  # within an object of the user's own, in which nothing can be put
            put.append(as_tensor(outputs, leaves[place]).requires_grad_(True))
            return tree_unflatten([as_result(put[0]) if k == place else leaf for k, leaf in enumerate(leaves)], tree)

        with self._evaluated(), self._random.fixed(), self._lent(changed), _Calls(self._model, {self._call: put_in}):
            self._in_training()
            value = self._of_model(self._model)
            if not put or not value.requires_grad:
                return None
            (slope,) = torch.autograd.grad(value, put[0], allow_unused=True)
        return None if slope is None else view(slope)

    @contextmanager
    def _lent(self, changed: Mapping[str, Array]) -> Iterator[None]:
        """Within it the named tensors have other memory."""
        with ExitStack() as stack:
            for name, tree in (("inputs", self._inputs), ("targets", self._targets)):
                for path, leaf in tree_flatten_with_path(tree)[0]:
                    array = changed.get(name + keystr(path))
                    if isinstance(leaf, torch.Tensor) and array is not None:
                        own = leaf.data
                        stack.callback(setattr, leaf, "data", own)
                        leaf.data = as_tensor(array, leaf)
            yield


class _Calls:
    """Enter it around a loss: the calls of modules that no other module makes, in order, with the memory that each is
    given and what it makes, which `change` may put another thing in place of.
    """

    def __init__(self, model: nn.Module, change: Mapping[int, Callable[[Any], Any]] | None = None) -> None:
        self._model, self._change, self._depth = model, change or {}, 0
        self.given: list[set[int]] = []
        self.made: list[Any] = []

    def __enter__(self) -> _Calls:
        self._handles = []
        for module in self._model.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                self._handles.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
                self._handles.append(module.register_forward_hook(self._end, always_call=True))
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, _module: nn.Module, args: Any, kwargs: Any) -> None:
        if not self._depth:
            leaves = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
            self.given.append({leaf.data_ptr() for leaf in leaves})
        self._depth += 1

    def _end(self, _module: nn.Module, _inputs: Any, made: Any) -> Any:
        self._depth -= 1
        if self._depth:
            return None
        change = self._change.get(len(self.made))
        made = made if change is None else change(made)
        self.made.append(tree_map(lambda leaf: leaf, made))
        return None if change is None else made
