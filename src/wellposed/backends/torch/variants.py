"""A torch problem otherwise: in float64, on fewer rows or other data, with another loss or rate."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast, get_args

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

from wellposed.backends.precision import same_gradient, same_loss
from wellposed.backends.protocol import Problem
from wellposed.backends.randomness import Randomness
from wellposed.backends.reduced import Reduced
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.backup import Backup
from wellposed.backends.torch.coordinates import Displaced, TorchCoordinates
from wellposed.backends.torch.copies import copy_together, originals_gone
from wellposed.backends.torch.evaluation import TorchEvaluation
from wellposed.backends.torch.float64_copy import Twin, to_float64
from wellposed.backends.torch.other_paths import as_it_is
from wellposed.backends.torch.rerouted_loss import Rerouted, Route
from wellposed.backends.torch.state import (
    TORCH,
    torch_generators,
)
from wellposed.backends.torch.tensors import Tensors
from wellposed.backends.torch.tracing.calls import functions_in
from wellposed.backends.torch.trainable import trainable
from wellposed.backends.ways import Ways
from wellposed.numerics.arrays import Array
from wellposed.numerics.floats import format_of
from wellposed.numerics.theta import MANY, Layout, Theta, as_vector, move_by_its_size
from wellposed.printable import listed
from wellposed.users_code import Raised, ask, attempt

_FEWEST_ROWS, _WIDER = 2, 4  # what a run keeps in float64 is some four times what it keeps in bfloat16
_SMALL_SHARE = 0.04  # of all parameters: some ten float64 vectors of such a tensor are less than one copy of all
_BESIDE = 0.1  # of its own size is an entry moved to see whether the loss follows
_SAME_CHANGE, _SAME_PART = 512.0, 0.05  # of that change: units in the last place of the parameters, and at most
_SAME_ULPS = 64.0  # of the loss


class TorchVariants(TorchEvaluation):
    """Copies of the problem, and what is changed in them."""

    @abstractmethod
    def _made_of(self, model: Any, loss: Any, batch: Any, optimizer: Any = None) -> TorchVariants:
        """A problem of the same kind."""

    @abstractmethod
    def _double(self, model: Any, loss: Any, batch: Any) -> TorchVariants:
        """The same in float64."""

    @property
    def draws(self) -> tuple[str, ...]:
        names = [
            f"{type(module).__name__} `{name}`"
            for name, module in self.model.named_modules()
            if "Dropout" in type(module).__name__ and module.training and getattr(module, "p", 1.0)
        ]
        told = f"{TORCH}: {listed(names)}" if names else TORCH
        return tuple(told if name == TORCH else name for name in self._random.drawn)

    def ways(self) -> Ways | None:
        if self._sharded or len(self._parameters) != len(trainable(self.model)):
            return None  # what a loss closes over cannot be put elsewhere
        return ask(lambda: as_it_is(self), None)

    def copied(self) -> Problem | None:
        """Nothing is concluded from a copy that still uses the original's parameters: its loss is held against theirs
        gone.
        """
        made = None if self._sharded else ask(self._copied_with_loss, None)
        if made is None:  # of the user's objects not every one can be copied, and no model in shards
            return None
        other, its = made
        mine = self._present_or_error()
        same = mine == its or (
            isinstance(mine, float)
            and isinstance(its, float)
            and same_loss(mine, its, lambda least: self._elsewhere(other, least))
        )
        return other if same and other.layout.shapes == self.layout.shapes else None

    def _copied_with_loss(self) -> tuple[TorchVariants, float | str]:
        with self._random.fixed():
            model, loss, batch, optimizer = copy_together(self.model, self.loss, self.batch, self.optimizer)
        with originals_gone(list(self._parameters.values())):
            other = self._made_of(model, loss, batch, optimizer=optimizer)
            return other, other._present_or_error()

    def _present_or_error(self) -> float | str:
        made = attempt(self._present, ours=True)  # a loss that raises is one of the things that are mended
        return f"{type(made.error).__name__}: {made.error}" if isinstance(made, Raised) else made

    def _elsewhere(self, other: Problem, least: float) -> tuple[float, float]:
        """This loss and another's where the parameters have moved by their own size, and by `least` at least."""
        theta = move_by_its_size(self._layout, self.here(), least=least)
        theta = theta if isinstance(theta, Tensors) else self.stored(as_vector(theta))
        return self.value(theta), other.value(theta)

    def with_data(
        self, inputs: Callable[[Array], Array] | None = None, targets: Callable[[Array], Array] | None = None
    ) -> Problem | None:
        if self._takes_model:
            return None
        parts = list(self.batch)
        for place, change in enumerate((inputs, targets)):
            part = parts[place]
            if change is None:
                continue
            if not isinstance(part, torch.Tensor) or not part.is_floating_point():
                return None
            parts[place] = torch.as_tensor(change(as_numpy(part))).to(part)
        return self._made_of(self.model, self.loss, tuple(parts), optimizer=self.optimizer)

    def rerouted(self, route: str) -> Problem | None:
        if self._takes_model or route not in get_args(Route):
            return None
        return self._made_of(
            self.model, Rerouted(self.loss, self.batch, cast("Route", route)), self.batch, optimizer=self.optimizer
        )

    def with_rate(self, factor: float) -> Problem | None:
        if self.optimizer is None:
            return None
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"]) * factor
            group.pop("initial_lr", None)
        return self

    def all_trained(self) -> Problem | None:
        known = self._known_to_optimizer()
        missing = [parameter for parameter in self._parameters.values() if id(parameter) not in known]
        if (
            self.optimizer is None or not missing or isinstance(self.optimizer, torch.optim.LBFGS)
        ):  # which has one group for good
            return None
        self.optimizer.add_param_group({"params": missing})
        return self

    @property
    def size(self) -> int:
        return sum(parameter.numel() for parameter in self._all_of_them.values())

    def reduced(self, theta: Theta) -> Problem | None:
        if not isinstance(theta, Tensors):
            return None
        reduced = Reduced(self, TorchCoordinates(theta, self.untrained()))
        if theta.present and self.first is not None:  # of the gradient no more is held than that
            reduced.first, self.first = (self.first[0], reduced.along(self.first[1])), None
        return reduced

    def within(self, name: str, theta: Theta) -> Problem | None:
        parameter = self._parameters[name]
        if parameter.numel() > max(MANY, _SMALL_SHARE * self.size):
            return None
        if self._sharded and (not self._lifting or isinstance(theta, Displaced)):  # its memory knows no small steps
            return None
        other = copy.copy(self)
        other._parameters, other._layout = {name: parameter}, Layout({name: tuple(parameter.shape)})
        at = theta if isinstance(theta, Tensors) else None
        other._beside, other._point = at.without(name) if isinstance(at, Displaced) else at, at
        other.first, other.evaluations, other._alone = None, 0, True
        return other

    def of_rows(self, rows: int) -> Problem:
        if self._takes_model:
            return self
        parts = [leaf for leaf in tree_flatten(self.batch)[0] if isinstance(leaf, torch.Tensor)]
        lengths = {leaf.shape[0] if leaf.dim() else 0 for leaf in parts}
        length = lengths.pop() if len(lengths) == 1 else 0
        rows = min(rows, max(_FEWEST_ROWS, length // _WIDER), length // 2)
        if rows < 2:
            return self
        batch = tree_map(lambda leaf: leaf[:rows] if isinstance(leaf, torch.Tensor) else leaf, self.batch)
        fewer = copy.copy(self)
        fewer.batch, fewer.rows, fewer.optimizer, fewer.evaluations, fewer.first = batch, rows, None, 0, None
        with fewer.preserved(), fewer._as_it_is():
            # A model or loss may be made for batches of one size; a backward pass of the user's own may be wrong for
            # other rows alone.
            usual = ask(fewer._differentiated_by_the_framework, False)
        return fewer if usual else self

    def _differentiated_by_the_framework(self) -> bool:
        """Whether the loss is finite and no backward pass or hook of the user's has a part in its gradient."""
        loss = self._loss()
        own = bool(functions_in(loss))
        hooked = any(parameter._backward_hooks for parameter in self._parameters.values())
        return not own and not hooked and bool(torch.isfinite(loss))

    def precise(self) -> Problem:
        """A float64 copy where the model, its loss and its batch run in float64, else this problem, with the reason in
        `coarse`.
        """
        if self.dtype == "float64":
            return self
        if self.large:
            return self._lifted() or self
        try:
            mine = self._present()
            with Randomness(*torch_generators()).fixed():
                model, loss, batch = copy_together(self.model, self.loss, self.batch, change=to_float64)
            with originals_gone(list(self._parameters.values())):
                twin = self._double(model, loss, batch)
                if twin.layout.shapes != self.layout.shapes:
                    self.coarse = "a float64 copy has other parameters"
                    return self
                with twin._evaluated():
                    value = twin._loss()
                    its, gradient = float(value.detach()), twin._gradients(value)
            twin.trained_in, twin.first = self.dtype, (its, gradient)
            twin._twin = Twin(twin.layout, twin._parameters, self._parameters, self.left_out())
        except Exception as error:  # the user's code, in a dtype that it was not written for: anything may come
            self.coarse = f"a float64 copy does not run ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            return self
        if all(part is None for part in gradient.values()):
            self.coarse = "a float64 copy has no gradient"
        elif np.isnan(its) and not np.isnan(mine):
            self.coarse = "what could be copied in float64 still uses the original's parameters"
        elif not same_loss(mine, its, lambda least: self._elsewhere(twin, least)) and not same_gradient(
            self.gradient(self.theta()), gradient
        ):
            self.coarse = f"a float64 copy has another loss ({its:.5g} for {mine:.5g})"
        else:
            return twin
        return self

    def _lifted(self) -> Problem | None:
        """The problem evaluated in float64 without a float64 copy of its parameters; None, with the reason in `coarse`,
        where it does not run so.
        """
        mine = self._present()
        other = copy.copy(self)
        other.dtype, other.trained_in, other.first, other.evaluations = "float64", self._computed_in(), None, 0
        other._lifting, other._native = True, self
        try:
            other.batch = tree_map_only(torch.Tensor, to_float64, self.batch)
            leaves = [leaf for leaf in tree_flatten(other.batch)[0] if isinstance(leaf, torch.Tensor)]
            other._backup = Backup(leaves) if self._backup is None else self._backup.beside(leaves)
            if self._writes:
                self.coarse = "its forward pass writes to its parameters"
                return None
            its = other._present()
            other.first = its, other.gradient(other.here())
            other._graphless = True
            other._graphless = ask(other._present, its + 1.0) == its
            if not other._reads_what_is_lifted(its):
                self.coarse = "its forward pass reads parameters by a way of its own"
                return None
        except Exception as error:  # the user's code, in a dtype that it was not written for: anything may come
            self.coarse = f"it does not run in float64 ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            return None
        if same_loss(mine, its, lambda least: self._elsewhere(other, least)):
            return other
        self.coarse = f"in float64 it has another loss ({its:.5g} for {mine:.5g})"
        return None

    def _computed_in(self) -> str:
        """The dtypes that a forward pass knows its parameters in, which for a sharded model are those of its policy."""
        read = self._gathered or self._parameters
        return "+".join(sorted({str(one.dtype).removeprefix("torch.") for one in read.values()}))

    def _reads_what_is_lifted(self, here: float) -> bool:
        """Whether the loss beside the point is the same where parameters are moved in memory and where they are moved
        as they are read.
        """
        point = self.here()
        assert isinstance(point, Tensors)
        coordinates = TorchCoordinates(point, self.untrained())
        moved = coordinates.moved(np.full(coordinates.layout.size, 1 + _BESIDE))
        assert isinstance(moved, Displaced)
        read, held = self.value(moved), self.value(moved.made())
        eps = format_of(self.trained_in).eps
        return abs(read - held) <= min(_SAME_CHANGE * eps, _SAME_PART) * abs(read - here) + _SAME_ULPS * eps * abs(here)
