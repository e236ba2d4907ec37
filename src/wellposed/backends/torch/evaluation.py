"""A torch model, its loss and one batch at any theta: value and gradient, and everything put back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from wellposed.backends.exclusive import exclusively
from wellposed.backends.interrupts import interruptible
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.backends.torch.arrays import as_numpy, describe, view
from wellposed.backends.torch.backup import Backup, reachable_restored
from wellposed.backends.torch.backward import gradients_of
from wellposed.backends.torch.batches import pair_of
from wellposed.backends.torch.coordinates import Displaced, Exactly
from wellposed.backends.torch.float64_copy import Twin
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.given import demand_given, demand_named
from wellposed.backends.torch.groups import groups_of
from wellposed.backends.torch.held_constants import Replayable
from wellposed.backends.torch.leaves import closed_over, leaves, modules_of
from wellposed.backends.torch.lifting import Lifting
from wellposed.backends.torch.sharded import gathered, mean_over_ranks, reshard, resharded
from wellposed.backends.torch.shards import in_shards, spread_as
from wellposed.backends.torch.state import (
    buffers_lent,
    model_restored,
    modes_restored,
    parameters_at,
    power_iteration_stopped,
    torch_generators,
    uncompiled,
)
from wellposed.backends.torch.tensors import Tensors
from wellposed.backends.torch.trainable import trainable
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import MANY, Gradient, Layout, Theta
from wellposed.users_code import ask


class TorchEvaluation(Replayable):
    """One evaluation after the other of a loss, each as if there had been no other."""

    backend = "torch"
    _alone = False  # whether it is a problem of one tensor, the others held
    _graphless = False  # whether the loss is known to be the same where no graph is kept
    _lifting = False  # whether parameters are lifted to float64 where they are read

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Any],
        batch: Any = None,
        *,
        optimizer: Any = None,
        inputs: Any = None,
        targets: Any = None,
    ) -> None:
        if inputs is not None or targets is not None:
            demand_named(loss, batch, takes_model=_takes_one_argument(loss, paired=True))
            batch = (() if inputs is None else inputs, () if targets is None else targets)
        demand_given(model, loss, batch, optimizer)
        self._takes_model = _takes_one_argument(loss, paired=isinstance(batch, tuple | list) and len(batch) == 2)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch = batch if self._takes_model else pair_of(model, batch)
        self._twin: Twin | None = None  # of a float64 copy
        self._native: TorchEvaluation | None = None  # of a problem evaluated in float64: the problem as it is
        self._displaced: Displaced | Exactly | None = (
            None  # where parameters are taken to be, as long as it evaluates there
        )
        self._point: Tensors | None = None  # where all parameters are, in a problem of one tensor
        self._beside: Tensors | None = None  # where the others are there
        self._writes: bool | None  # whether a forward pass was seen to write to parameters; None: not looked at
        self._replay: Callable[[], AbstractContextManager[None]] | None = None  # of what passes cuts
        self._backup: Backup | None = None  # while it is preserved
        self._looked_at = False  # whether an evaluation was followed by a look at all that it may have written to
        reshard(model)
        self._parameters: dict[str, torch.Tensor] = {**trainable(model)}
        self._sharded = any(map(in_shards, self._parameters.values()))
        self._gathered = gathered(model) if self._sharded else {}  # as a forward pass reads them
        self._writes = False if self._sharded else None
        self._random = Randomness(*torch_generators(), *owned_generators(model, loss))
        self._modules = modules_of(model, loss)
        with self.preserved():
            self._parameters |= self._closed_over()
        self._all_of_them = self._parameters  # also in a problem of one of them
        self._layout = Layout({name: tuple(parameter.shape) for name, parameter in self._parameters.items()})
        self.dtype = "+".join(sorted({str(p.dtype).removeprefix("torch.") for p in self._parameters.values()}))

    @property
    def takes_model(self) -> bool:
        """Whether the loss gets the model itself, and not outputs and targets."""
        return self._takes_model

    @property
    def layout(self) -> Layout:
        return self._layout

    def theta(self) -> Vector:
        known = None if self._twin is None else self._twin.theta
        if known is not None:
            return known
        at = self._point.made() if isinstance(self._point, Displaced) else self._point
        known_there = {} if at is None else at.tensors
        return self._packed({name: known_there.get(name, parameter) for name, parameter in self._parameters.items()})

    @property
    def large(self) -> bool:
        """Whether a float64 vector of all parameters is more than nothing, or no rank has them all."""
        return (self._sharded or self._layout.size > MANY) and not self._alone

    def here(self) -> Theta:
        return Tensors(self._own(), present=True) if self.large else self.theta()

    def _own(self) -> dict[str, torch.Tensor]:
        """The parameters' own memory."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()}

    def stored(self, theta: Vector) -> Vector:
        if self.dtype == "float64":
            return theta
        return self._layout.pack(
            {
                name: as_numpy(torch.as_tensor(array).to(self._parameters[name].dtype))
                for name, array in self._layout.unpack(theta).items()
            }
        )

    def value(self, theta: Theta) -> float:
        with self._at(theta, quick=self.evaluations > 0):
            return self._number()

    def gradient(self, theta: Theta) -> Gradient:
        with self._at(theta):
            return self._gradients(self._loss())

    @property
    def _shows_data(self) -> bool:
        """Whether the batch is a pair of inputs and targets: what a loss of the model alone uses is named so."""
        return isinstance(self.batch, tuple | list) and len(self.batch) == 2

    def _listed(self, parameter: torch.Tensor) -> bool:
        """Whether the model holds it, in a list or the like."""
        return any(parameter is other for other in self._within_reach("", self.model).values())

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """The outermost one keeps all that the user's objects hold; of a float64 copy, which is thrown away, only what
        a run needs.
        """
        with exclusively():  # before a look at what another thread may have set
            inner = self._backup is not None or self._twin is not None
            with model_restored(*self._modules) if inner else self._restored():
                yield

    @contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            with (
                modes_restored(),
                self._within_reach_restored() as self._backup,
                model_restored(*self._modules),
            ):
                yield
        finally:
            self._backup = None

    def _within_reach_restored(self) -> AbstractContextManager[Any]:
        if self._sharded:  # what holds shards has a state of its own
            return resharded(self.model)
        return reachable_restored(self.model, self.loss, self.batch, self.optimizer, but=self._lent())

    def _lent(self) -> Iterator[torch.Tensor]:
        """What an evaluation gets a copy of: parameters that are trained, and buffers. What the optimizer keeps,
        training puts back.
        """
        yield from self._parameters.values()
        for module in self._modules:
            yield from module.buffers()
        for state in getattr(self.optimizer, "state", {}).values():
            yield from (value for value in state.values() if isinstance(value, torch.Tensor))

    @contextmanager
    def _at(self, theta: Theta, *, quick: bool = False) -> Iterator[None]:
        """The model at theta: what one evaluation leaves behind no other one sees."""
        with ExitStack() as stack:
            if self._beside is not None:
                stack.enter_context(self._moved_to(self._beside))
            stack.enter_context(self._moved_to(theta))
            stack.enter_context(self._evaluated(quick=quick))
            yield

    def _moved_to(self, theta: Theta) -> AbstractContextManager[None]:
        if isinstance(theta, Displaced):
            return self._displaced_to(theta) if self._lifting else parameters_at(self._tensors_of(theta.made()))
        if isinstance(theta, Tensors):
            return self._kept() if theta.present else parameters_at(self._tensors_of(theta))
        if self._twin is not None and theta is self._twin.theta:
            return self._kept()
        if self._sharded and self._lifting:
            return self._displaced_to(Exactly(self._layout.unpack(theta)))
        return parameters_at(self._values(theta))

    @contextmanager
    def _displaced_to(self, theta: Displaced | Exactly) -> Iterator[None]:
        with nullcontext() if isinstance(theta, Exactly) else self._moved_to(theta.origin):
            self._displaced = theta
            try:
                yield
            finally:
                self._displaced = None

    def _casting(self) -> AbstractContextManager[Any]:
        """What changes the precision of an evaluation."""
        return Lifting(self._gathered or self._all_of_them, self._displaced) if self._lifting else nullcontext()

    def _tensors_of(self, theta: Tensors) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each parameter with its tensor of a point, which no evaluation may write to."""
        return [
            (self._all_of_them[name], value if self._writes is False else value.clone())
            for name, value in theta.known()
        ]

    def _values(self, theta: Theta) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each parameter with what it is at theta."""
        arrays = self._layout.unpack(theta)
        wide = torch.float64 if self._lifting else None
        values = [
            (p, torch.tensor(arrays[name], dtype=wide or p.dtype, device=p.device))
            for name, p in self._parameters.items()
        ]
        return [(p, spread_as(p, value) if in_shards(p) else value) for p, value in values]

    @contextmanager
    def _as_it_is(self) -> Iterator[None]:
        """One evaluation at the parameters as they are."""
        with self._kept(), self._evaluated():
            yield

    @contextmanager
    def _evaluated(self, *, quick: bool = False) -> Iterator[None]:
        self.evaluations += 1
        with ExitStack() as stack:
            if self._backup is not None:
                stack.callback(self._backup.restore, all_of_them=not self._looked_at)
                self._looked_at = True
            stack.enter_context(buffers_lent(*self._modules))
            if self._sharded:
                stack.enter_context(resharded(self.model))
            stack.enter_context(power_iteration_stopped(self.model))
            stack.enter_context(self._random.fixed(seen=quick))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(uncompiled())
            yield

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """The parameters as they are: what a forward pass writes to them, as an embedding with max_norm does, is gone
        after. Many parameters are not copied where the first evaluation was seen to write to none.
        """
        if self._twin is not None:
            with self._twin.restored():
                yield
            return
        if self._sharded:  # a forward pass has no more than copies of them
            yield
            return
        own = [(parameter, parameter.data) for parameter in self._all_of_them.values()]
        if self._writes is False:
            with parameters_at(own):  # whatever is put in their place
                yield
            return
        copies = [(parameter, data.clone()) for parameter, data in own]
        with parameters_at(copies):
            yield
            if self._writes is None and self.large and self._backup is not None:
                replaced = any(parameter.data_ptr() != copy.data_ptr() for parameter, copy in copies)
                self._writes = replaced or not all(
                    torch.equal(one, other) for (_, one), (_, other) in zip(own, copies, strict=True)
                )

    def _present(self) -> float:
        with self._as_it_is():
            return self._number()

    def _number(self) -> float:
        with torch.no_grad() if self._graphless and self._replay is None else nullcontext():
            value = float(self._loss().detach())
        return mean_over_ranks(value) if self._sharded else value

    def _closed_over(self) -> dict[str, torch.Tensor]:
        """Parameters outside the model that the loss uses: of a loss that is a module, or closed over by a function."""
        found = self._within_reach("loss", self.loss) | self._within_reach("", self.model)
        if not found:
            return {}
        with model_restored(*self._modules), self._random.fixed(), torch.enable_grad():
            # Where the loss does not run the check will say why.
            used: set[int] = ask(lambda: {id(leaf) for leaf in leaves(self._loss())}, set())
        return {name: tensor for name, tensor in found.items() if id(tensor) in used}

    def _within_reach(self, label: str, root: Any) -> dict[str, torch.Tensor]:
        """Trainable leaves that an object holds or closes over, and that are no parameters of the model."""
        return closed_over({label: root}, [*self.model.parameters(), *self._gathered.values()])

    def _known_to_optimizer(self) -> set[int]:
        return {id(p) for group in groups_of(self.optimizer) for p in group["params"]}

    def _loss(self) -> torch.Tensor:
        with self._replaying(), self._casting(), interruptible(), uncompiled():
            if self._takes_model:
                loss = self.loss(self.model)
            else:
                inputs, targets = self.batch
                loss = self.loss(forward(self.model, inputs), targets)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise InputError(
                f"the loss must be one number, but it is {describe(loss)}",
                hint="use reduction='mean' or 'sum', or take .mean() over the batch",
            )
        if loss.is_complex():
            raise InputError(
                "the loss must be a real number, but it is complex", hint="take its absolute value, or its real part"
            )
        return loss.reshape(())

    def _gradients(self, loss: torch.Tensor) -> Gradient:
        parts = self._parts(loss)
        return Tensors(parts) if self.large else self._named(parts)

    def _named(self, parts: dict[str, torch.Tensor | None]) -> Gradient:
        """The parts of one vector, by name; `parts` is emptied."""
        missing = [name for name, part in parts.items() if part is None]
        return {**self._layout.unpack(self._packed(parts)), **dict.fromkeys(missing)}

    def _packed(self, tensors: dict[str, Any]) -> Vector:
        """One vector of them, zero for None; each is let go of once it is in its place, as there may be no room for all
        of them twice.
        """
        whole = np.zeros(self._layout.size)
        for name, place in self._layout.slices.items():
            tensor = tensors.pop(name)
            if tensor is not None:
                whole[place] = view(tensor).ravel()
        return whole

    def _parts(self, loss: torch.Tensor) -> dict[str, torch.Tensor | None]:
        if not loss.requires_grad:
            return dict.fromkeys(self._layout.names)
        with interruptible(), self._casting() if self._lifting else nullcontext():
            parts = gradients_of(loss, list(self._parameters.values()))
        return dict(zip(self._layout.names, parts, strict=True))


def _takes_one_argument(loss: Callable[..., Any], *, paired: bool) -> bool:
    """The model alone; with a pair of inputs and targets given, a second argument that has a default gets the
    targets.
    """
    target = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    optional = paired and any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is None for p in parameters
    )
    return len(needed) == 1 and not variadic and not optional and not isinstance(loss, nn.Module)
