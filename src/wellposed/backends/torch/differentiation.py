"""How a torch problem is differentiated: custom functions, cuts, what is not finite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from wellposed.backends.measured import NotFinite, Uncut
from wellposed.backends.protocol import Held, Part
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.backward import gradients_of
from wellposed.backends.torch.evaluation import TorchEvaluation
from wellposed.backends.torch.function import TensorFunctionProblem
from wellposed.backends.torch.held_constants import HeldCuts, HeldProblem
from wellposed.backends.torch.leaves import leaves
from wellposed.backends.torch.state import (
    gradients_restored,
    model_restored,
)
from wellposed.backends.torch.stop_gradient import Through
from wellposed.backends.torch.tracing.calls import custom_calls, reverses
from wellposed.backends.torch.tracing.first_not_finite import Finite
from wellposed.backends.torch.tracing.forward_again import differentiated_by_autograd
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Theta
from wellposed.users_code import Raised, ask, attempt


class TorchDifferentiation(TorchEvaluation):
    """What autograd shows of the gradient."""

    def value_along(self, theta: Vector, u: Vector, t: float) -> float:
        if self._twin is None or theta is not self._twin.theta:
            return super().value_along(theta, u, t)
        with self._twin.moved(u, t):
            return self._present()

    def gradient_in_parts(self, theta: Theta) -> Iterator[tuple[str, Vector | None]]:
        with self._at(theta):
            parts = self._parts(self._loss())
        for name in self._layout.names:
            part = parts.pop(name)
            yield name, None if part is None else as_numpy(part)

    def gradient_of_multiple(self, theta: Theta, factor: float) -> Gradient:
        with self._at(theta):
            return self._gradients(self._loss() * factor)

    def gradient_left(self, train: Callable[[], Any]) -> Vector:
        """What the user's code leaves in `grad`, from empty; parameters that it moves are moved on a copy."""
        with gradients_restored(self._parameters.values()), model_restored(*self._modules), self._at(self.theta()):
            for parameter in self._parameters.values():
                parameter.grad = None
            train()
            return self._layout.pack_known(
                {n: None if p.grad is None else as_numpy(p.grad) for n, p in self._parameters.items()}
            )

    def unreached(self) -> tuple[str, ...]:
        known = {id(parameter) for parameter in [*self._parameters.values(), *self._gathered.values()]}
        if any(isinstance(part, torch.jit.ScriptModule) for module in self._modules for part in module.modules()):
            return ()  # what is scripted makes tensors of its own for its parameters
        with self._as_it_is():
            found = [leaf for leaf in leaves(self._loss()) if id(leaf) not in known]
        if found:  # what the loss makes for itself, as inputs to differentiate by, is another one the next time
            with self._as_it_is():
                again = {id(leaf) for leaf in leaves(self._loss())}
            found = [leaf for leaf in found if id(leaf) in again]
        return tuple(f"a tensor of shape {tuple(leaf.shape)}" for leaf in found)

    def first_not_finite(self, theta: Theta) -> NotFinite | None:
        with self._at(theta):
            watch = Finite([pair for module in self._modules for pair in module.named_modules()])
            with watch:
                loss = self._loss()
                parameters = [p for p in self._parameters.values() if p.requires_grad]
                parts = gradients_of(loss, parameters) if loss.requires_grad else ()
            return watch.reached([loss.detach(), *(part for part in parts if part is not None)])

    def parts(self, theta: Theta) -> list[Part]:
        with self._at(theta):
            calls = custom_calls(self.model, self._loss)
        found, data = [], self.data()
        for call in calls:
            # No input that a gradient belongs to, or a function that does not run by itself: on leaves edited in place,
            # without what a call before it has left.
            part = ask(partial(TensorFunctionProblem, call.function, call.inputs, cotangents=call.cotangents), None)
            if part is None:
                continue
            part.context, part.is_part = data, True
            found.append(Part(call.name, call.where, part, ask(partial(reverses, call), False)))
        return found

    def forward_again(self, theta: Theta, names: Collection[str]) -> Gradient | None:
        with self._at(theta), differentiated_by_autograd(self._loss, names):
            made = attempt(lambda: self._gradients(self._loss()), ours=True)
        return None if isinstance(made, Raised) else made

    def uncut(self, theta: Theta) -> Uncut | None:
        with self._at(theta):
            mode = Through(self.model)
            try:
                with mode.watching():
                    loss = self._loss()
                return Uncut(self._gradients(loss), mode.said, mode.meant) if mode.cuts else None
            except RuntimeError as error:  # what is cut cannot be differentiated, or was edited in place behind the cut
                missing: Gradient = dict.fromkeys(self._layout.names)
                return Uncut(missing, mode.said, False, str(error).partition("\n")[0]) if mode.cuts else None

    def held(self, theta: Theta) -> Held | None:
        cuts = HeldCuts(self.model, self._parameters)
        with self._at(theta), cuts.recording():
            if isinstance(attempt(self._loss, ours=True), Raised):  # which is told elsewhere
                return None
        return HeldProblem(self, cuts) if cuts.cuts else None

    def untrained(self) -> dict[str, Array]:
        """The rows that embeddings leave out on purpose: `padding_idx`."""
        masks = {}
        for name, module in self.model.named_modules():
            key = f"{name}.weight" if name else "weight"
            if (
                isinstance(module, nn.Embedding | nn.EmbeddingBag)
                and module.padding_idx is not None
                and key in self._parameters
            ):
                masks[key] = np.zeros(self._layout.shapes[key], dtype=bool)
                masks[key][module.padding_idx] = True
        return masks
