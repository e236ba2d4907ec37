"""The network within a torch problem: its operations, its data, what depends on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import isfinite
from typing import Any

import torch
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path

from wellposed.backends.closures import reachable
from wellposed.backends.initializable import Initializable
from wellposed.backends.measured import Dependence, InputMap, LossArguments, Run
from wellposed.backends.structure.reach import pulls_towards_targets
from wellposed.backends.structure.shown import Modes, Reach, Reshape, Term
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.batches import how_called
from wellposed.backends.torch.coordinates import Displaced
from wellposed.backends.torch.dependence import dependence_of
from wellposed.backends.torch.evaluation import TorchEvaluation
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.initializable import TorchInitializable
from wellposed.backends.torch.inputmap import TorchInputMap
from wellposed.backends.torch.modes import apart_in, modes_of
from wellposed.backends.torch.named_program import NamedProgram
from wellposed.backends.torch.objective import ObjectiveWatcher
from wellposed.backends.torch.program import TorchProgram
from wellposed.backends.torch.reach import reach_in
from wellposed.backends.torch.reshapes import reshapes_in
from wellposed.backends.torch.state import modes_restored
from wellposed.backends.torch.tensors import Tensors
from wellposed.backends.torch.terms import terms_of
from wellposed.backends.torch.tracing.recorder import Recorder
from wellposed.backends.torch.tracing.recurrent import recurrence_of
from wellposed.backends.torch.tracing.sizes import parameter_size
from wellposed.backends.torch.training import Training
from wellposed.backends.torch.weight import TensorWeight
from wellposed.numerics.arrays import Array
from wellposed.numerics.theta import Theta
from wellposed.numerics.weight import Weight
from wellposed.users_code import ask


class TorchNetwork(TorchEvaluation):
    """What one pass through the model shows."""

    def run(self, theta: Theta | None = None) -> Run:
        if isinstance(self._native, TorchNetwork):  # a recorder knows parameters, not what they are lifted to
            return self._native.run(theta.made() if isinstance(theta, Displaced) else theta)
        recorder = Recorder(self.model, self.batch)
        try:
            with self._at(theta) if theta is not None else self._as_it_is():
                with recorder:
                    loss = self._loss()
                parts = self._parts(loss)
                sizes = {name: parameter_size(self._parameters[name], part) for name, part in parts.items()}
                gradient = {} if theta is None else Tensors(parts) if self.large else self._named(parts)
                recurrences = tuple(recurrence_of(call, recorder) for call in recorder.recurrent)
        finally:
            recorder.forget()
        return Run(recorder.operations(), recorder.loss_call, gradient, sizes, recurrences)

    def weights(self, theta: Theta) -> Mapping[str, Weight]:
        if isinstance(theta, Tensors):
            return {name: TensorWeight(tensor) for name, tensor in theta.known()}
        return super().weights(theta)

    def loss_arguments(self) -> list[LossArguments]:
        targets = tree_flatten(self.batch[1])[0] if self._shows_data else []
        data = tree_flatten(self.batch)[0] if self._shows_data and not self._takes_model else []
        watch = ObjectiveWatcher(
            (target for target in targets if isinstance(target, torch.Tensor)),
            (leaf for leaf in data if isinstance(leaf, torch.Tensor)),
        )
        with (
            self._as_it_is(),
            torch.no_grad(),
            watch,
            suppress(Exception),
        ):  # what it raises, the caller meets again at the loss itself
            self._loss()
        return watch.calls

    def dependence(self, theta: Theta) -> Dependence | None:
        if self._takes_model:
            return None
        with self.preserved(), self._at(theta):
            # In a mode and on inputs that the model may not be made for.
            return ask(lambda: dependence_of(self.model, *self.batch), None)

    @contextmanager
    def program(self) -> Iterator[TorchProgram | None]:
        if not self._shows_data:
            yield None
            return
        made = NamedProgram if self._takes_model else TorchProgram
        with self.preserved(), modes_restored():
            # Inputs may have a layout that no array has.
            yield ask(lambda: made(self.model, self.batch, self.loss, self._as_it_is), None)

    def reshapes(self) -> tuple[Reshape, ...]:
        if not self._shows_data:
            return ()
        inputs = self.batch[0]
        rows = [leaf.shape[0] for leaf in tree_flatten(inputs)[0] if isinstance(leaf, torch.Tensor) and leaf.dim()]
        run = self._loss if self._takes_model else lambda: forward(self.model, inputs)
        with self.preserved(), self._as_it_is():
            return ask(lambda: reshapes_in(run, rows[0]), ()) if rows else ()

    def reach(self) -> Reach | None:
        if self._takes_model:
            return None
        with self.preserved(), self._as_it_is():
            inputs, targets = self.batch
            reach = ask(lambda: reach_in(self.model, inputs, targets), None)
        if reach is None or not reach.missed:
            return reach
        with self.program() as program:
            towards = program is not None and ask(lambda: pulls_towards_targets(program), False)
        return reach if towards else Reach(reach.over_one) if reach.over_one else None

    def terms(self, theta: Theta, moved: Theta) -> list[Term]:
        parameters = list(self._parameters.values())
        with self.preserved():
            with self._at(theta):
                here = terms_of(self._loss, parameters)
            if len(here) < 2 or all(term.gradient is not None for term in here):
                return here
            with self._at(moved):
                there = terms_of(self._loss, ())
        if len(there) != len(here):
            return here
        return [
            replace(one, moves=abs(other.value - one.value)) if isfinite(other.value) else one
            for one, other in zip(here, there, strict=True)
        ]

    def called(self) -> str:
        return "" if self._takes_model else how_called(self.batch)

    def modes(self) -> Modes | None:
        with self.preserved(), self._as_it_is(), modes_restored():
            return ask(lambda: modes_of(self.model, self._loss), None)

    def modes_apart(self, steps: int) -> float:
        if self._takes_model or self.optimizer is None:
            return float("nan")
        training = Training(self.optimizer, self._loss, factor=1.0, decayed=True)
        taken = training.taken(steps, list(self._parameters.values()))
        with self.preserved(), self._random.fixed(), modes_restored(), taken:
            return ask(lambda: apart_in(self.model, self.batch[0]), float("nan"))

    def input_map(self) -> InputMap | None:
        if self._takes_model or not isinstance(self.batch[0], torch.Tensor) or not self.batch[0].is_floating_point():
            return None
        with self._as_it_is():
            return TorchInputMap(self.model, self.batch[0])

    def inputs(self) -> Array | None:
        if not self._shows_data:
            return None
        tensors = [leaf for leaf in tree_flatten(self.batch[0])[0] if _has_numbers(leaf) and leaf.dim()]
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        telling = [tensor for tensor in floating if tensor.dim() and _varies(tensor)]
        return as_numpy((telling or floating or tensors)[0], keep_dtype=True) if tensors else None

    def named_inputs(self) -> dict[str, Array]:
        if not self._shows_data or isinstance(self.batch[0], torch.Tensor):
            return super().named_inputs()
        named = {f"inputs{keystr(path)}": leaf for path, leaf in tree_flatten_with_path(self.batch[0])[0]}
        real = {name: t for name, t in named.items() if _has_numbers(t) and t.is_floating_point() and t.dim()}
        told = {name: as_numpy(tensor, keep_dtype=True) for name, tensor in real.items() if _varies(tensor)}
        return told or super().named_inputs()

    def data(self) -> dict[str, Array]:
        """The batch's tensors, and those that the loss closes over."""
        own = {id(parameter) for parameter in self._parameters.values()}
        named = [(f"batch{keystr(path)}", leaf) for path, leaf in tree_flatten_with_path(self.batch)[0]]
        tensors = {
            name: t for name, t in [*named, *reachable(self.loss)] if isinstance(t, torch.Tensor) and id(t) not in own
        }
        return {
            name: as_numpy(t, keep_dtype=True)
            for name, t in tensors.items()
            if not t.is_complex() and t.dtype is not torch.bool
        }

    def reinitialized(self) -> Initializable:
        return TorchInitializable(self.model, None if self._takes_model else self.batch)


def _has_numbers(leaf: Any) -> bool:
    """Whether it is a tensor that an array can show."""
    return isinstance(leaf, torch.Tensor) and leaf.layout in (torch.strided, torch.sparse_coo)


def _varies(tensor: torch.Tensor) -> bool:
    return tensor.layout is not torch.strided or bool(tensor.any())
