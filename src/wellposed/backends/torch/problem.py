"""A torch model, its loss and one batch, as J(theta)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_map

from wellposed.backends.closures import reachable
from wellposed.backends.exclusive import exclusively
from wellposed.backends.initializable import Initializable
from wellposed.backends.interrupts import interruptible
from wellposed.backends.measured import Dependence, LossArguments, NotFinite, Run, Uncut
from wellposed.backends.precision import same_gradient, same_loss
from wellposed.backends.protocol import Held, InputMap, Part, Problem
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.backends.torch.arrays import as_numpy, describe, view
from wellposed.backends.torch.backup import Backup, reachable_restored
from wellposed.backends.torch.backward import gradients_of
from wellposed.backends.torch.copies import copy_together, originals_gone
from wellposed.backends.torch.dependence import dependence_of
from wellposed.backends.torch.float64_copy import Twin, Wide, to_float64
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.function import TensorFunctionProblem
from wellposed.backends.torch.held_constants import HeldCuts, HeldProblem, Replayable
from wellposed.backends.torch.initializable import TorchInitializable
from wellposed.backends.torch.inputmap import TorchInputMap
from wellposed.backends.torch.leaves import closed_over, leaves, modules_of, nodes
from wellposed.backends.torch.objective import ObjectiveWatcher
from wellposed.backends.torch.rerouted_loss import Rerouted, Route
from wellposed.backends.torch.state import (
    TORCH,
    buffers_lent,
    gradients_restored,
    model_restored,
    modes_restored,
    parameters_at,
    power_iteration_stopped,
    torch_generators,
)
from wellposed.backends.torch.stop_gradient import Through
from wellposed.backends.torch.tracing.calls import custom_calls
from wellposed.backends.torch.tracing.first_not_finite import Finite
from wellposed.backends.torch.tracing.recorder import Recorder
from wellposed.backends.torch.tracing.recurrent import recurrence_of
from wellposed.backends.torch.tracing.sizes import parameter_size
from wellposed.backends.torch.trainable import trainable
from wellposed.backends.torch.training import Training
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Layout, move_by_its_size

_USUAL_DECAY = 0.01  # AdamW's own: no step of its is mostly decay


class TorchProblem(Replayable):
    """J(theta) = loss(model(inputs), targets) for `batch` = (inputs, targets).

    `inputs` may be a tensor, a tuple (the model's positional arguments) or a dictionary (its keyword
    arguments). A loss of one argument gets the model itself and needs no batch. theta holds the
    parameters that require a gradient, each shared parameter once.

    The model's mode (train or eval) is kept. Random numbers and buffers are the same at every
    evaluation, so dropout and BatchNorm are functions of theta. `optimizer` is the one that will
    train the model. Raises `InputError`, naming the parameter, where there is nothing to differentiate.
    """

    backend = "torch"
    _casting: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __init__(self, model: nn.Module, loss: Callable[..., Any], batch: Any = None, *, optimizer: Any = None) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model must be a torch.nn.Module, not {type(model).__name__}",
                hint="for functions of arrays there are JaxProblem and FunctionProblem",
            )
        if not callable(loss) or isinstance(loss, type):
            what = f"the class {loss.__name__}" if isinstance(loss, type) else f"a {type(loss).__name__}"
            raise InputError(
                f"loss must be a function of (outputs, targets), not {what}",
                hint="for example nn.CrossEntropyLoss(), with brackets",
            )
        if optimizer is not None and (
            isinstance(optimizer, type) or not isinstance(getattr(optimizer, "param_groups", None), list)
        ):
            what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
            raise InputError(
                f"optimizer must be a torch optimizer that holds the model's parameters, not {what}",
                hint="for example torch.optim.Adam(model.parameters(), lr=1e-3)",
            )
        if torch.is_inference_mode_enabled():
            raise InputError(
                "a check needs gradients, and torch.inference_mode() is on", hint="call it outside of that block"
            )
        if any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in tree_flatten(batch)[0]):
            raise InputError(
                "the batch holds a tensor on the meta device, which has no numbers", hint="give real inputs and targets"
            )
        if any(isinstance(leaf, torch.Tensor) and leaf.is_inference() for leaf in tree_flatten(batch)[0]):
            raise InputError(
                "the batch holds a tensor that was made in inference mode, which autograd cannot record",
                hint="clone it outside of torch.inference_mode(): inputs.clone()",
            )
        self.model, self.loss, self.batch, self.optimizer = model, loss, batch, optimizer
        self._takes_model = _takes_one_argument(loss, paired=isinstance(batch, tuple | list) and len(batch) == 2)
        self._twin: Twin | None = None  # of a float64 copy
        self._replay: Callable[[], AbstractContextManager[None]] | None = None  # of what passes cuts
        self._backup: Backup | None = None  # while it is preserved
        self._looked_at = False  # whether an evaluation was followed by a look at all that it may have written to
        if not self._takes_model and not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise InputError(
                f"batch must be a pair (inputs, targets), not {describe(batch)}",
                hint="a loss of one argument gets the model itself: TorchProblem(model, lambda model: ...)",
            )
        self._parameters: dict[str, torch.Tensor] = {**trainable(model)}
        self._random = Randomness(*torch_generators(), *owned_generators(model, loss))
        self._modules = modules_of(model, loss)
        with self.preserved():
            self._parameters |= self._closed_over()
        self._layout = Layout({name: tuple(parameter.shape) for name, parameter in self._parameters.items()})
        self.dtype = "+".join(sorted({str(p.dtype).removeprefix("torch.") for p in self._parameters.values()}))

    @property
    def layout(self) -> Layout:
        return self._layout

    def theta(self) -> Vector:
        known = None if self._twin is None else self._twin.theta
        return self._packed(dict(self._parameters)) if known is None else known

    def stored(self, theta: Vector) -> Vector:
        if self.dtype == "float64":
            return theta
        return self._layout.pack(
            {
                name: as_numpy(torch.as_tensor(array).to(self._parameters[name].dtype))
                for name, array in self._layout.unpack(theta).items()
            }
        )

    @property
    def draws(self) -> tuple[str, ...]:
        names = [
            f"{type(module).__name__} `{name}`"
            for name, module in self.model.named_modules()
            if "Dropout" in type(module).__name__ and module.training and getattr(module, "p", 1.0)
        ]
        told = f"{TORCH}: {', '.join(names[:4])}{' and more' if len(names) > 4 else ''}" if names else TORCH
        return tuple(told if name == TORCH else name for name in self._random.drawn)

    def unreached(self) -> tuple[str, ...]:
        known = {id(parameter) for parameter in self._parameters.values()}
        if any(isinstance(part, torch.jit.ScriptModule) for module in self._modules for part in module.modules()):
            return ()  # what is scripted makes tensors of its own for its parameters
        with self._as_it_is():
            found = [leaf for leaf in leaves(self._loss()) if id(leaf) not in known]
        if found:  # what the loss makes for itself, as inputs to differentiate by, is another one the next time
            with self._as_it_is():
                again = {id(leaf) for leaf in leaves(self._loss())}
            found = [leaf for leaf in found if id(leaf) in again]
        return tuple(f"a tensor of shape {tuple(leaf.shape)}" for leaf in found)

    @property
    def optimized(self) -> bool:
        return self.optimizer is not None

    @property
    def rate(self) -> float:
        groups = getattr(self.optimizer, "param_groups", [])
        return float(max((group.get("initial_lr", group.get("lr", np.nan)) for group in groups), default=np.nan))

    @property
    def descends(self) -> bool:
        return type(self.optimizer) is torch.optim.SGD

    @property
    def decays(self) -> bool:
        return any(
            group.get("weight_decay", 0.0) > _USUAL_DECAY for group in getattr(self.optimizer, "param_groups", [])
        )

    def trained_at(
        self, theta: Vector, steps: Sequence[int], factor: float = 1.0, *, decayed: bool = True
    ) -> Iterator[Vector]:
        """By the optimizer given, where the parameters are, from the parameters as they are; by Adam without one."""
        if self.optimizer is None:
            yield from super().trained_at(theta, steps)
            return
        training = Training(self.optimizer, self._loss, factor=factor, decayed=decayed)
        states = self._random.states()
        for number in steps:
            with self.preserved(), self._random.fixed():
                self._random.put(states)
                with training.taken(number, list(self._parameters.values())):
                    after = self.theta()
            yield after

    def value(self, theta: Vector) -> float:
        with self._at(theta, quick=self.evaluations > 0):
            return float(self._loss().detach())

    def value_along(self, theta: Vector, u: Vector, t: float) -> float:
        if self._twin is None or theta is not self._twin.theta:
            return super().value_along(theta, u, t)
        with self._twin.moved(u, t):
            return self._present()

    def gradient(self, theta: Vector) -> Gradient:
        with self._at(theta):
            return self._gradients(self._loss())

    def gradient_in_parts(self, theta: Vector) -> Iterator[tuple[str, Vector | None]]:
        with self._at(theta):
            parts = self._parts(self._loss())
        for name in self._layout.names:
            part = parts.pop(name)
            yield name, None if part is None else as_numpy(part)

    def gradient_of_multiple(self, theta: Vector, factor: float) -> Gradient:
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

    def run(self, theta: Vector | None = None) -> Run:
        recorder = Recorder(self.model, self.batch)
        try:
            with self._at(theta) if theta is not None else self._as_it_is():
                with recorder:
                    loss = self._loss()
                parts = self._parts(loss)
                sizes = {name: parameter_size(self._parameters[name], part) for name, part in parts.items()}
                gradient = {} if theta is None else self._named(parts)
                recurrences = tuple(recurrence_of(call, recorder) for call in recorder.recurrent)
        finally:
            recorder.forget()
        return Run(recorder.operations(), recorder.loss_call, gradient, sizes, recurrences)

    def first_not_finite(self, theta: Vector) -> NotFinite | None:
        with self._at(theta):
            watch = Finite([pair for module in self._modules for pair in module.named_modules()])
            with watch:
                loss = self._loss()
                parameters = [p for p in self._parameters.values() if p.requires_grad]
                parts = gradients_of(loss, parameters) if loss.requires_grad else ()
            return watch.reached([loss.detach(), *(part for part in parts if part is not None)])

    def loss_arguments(self) -> list[LossArguments]:
        targets = (
            tree_flatten(self.batch[1])[0] if isinstance(self.batch, tuple | list) and len(self.batch) == 2 else []
        )
        watch = ObjectiveWatcher(target for target in targets if isinstance(target, torch.Tensor))
        with (
            self._as_it_is(),
            torch.no_grad(),
            watch,
            suppress(Exception),
        ):  # what it raises, the caller meets again at the loss itself
            self._loss()
        return watch.calls

    def dependence(self, theta: Vector) -> Dependence | None:
        if self._takes_model:
            return None
        with self.preserved(), self._at(theta):
            try:
                return dependence_of(self.model, *self.batch)
            except Exception:  # the user's code, in a mode and on inputs that it may not be made for
                return None

    def copied(self) -> Problem | None:
        """Nothing is concluded from a copy that still uses the original's parameters: its loss is held against theirs
        gone.
        """
        try:
            with self._random.fixed():
                model, loss, batch, optimizer = copy_together(self.model, self.loss, self.batch, self.optimizer)
            with originals_gone(list(self._parameters.values())):
                other = TorchProblem(model, loss, batch, optimizer=optimizer)
                its = other._present_or_error()
        except Exception:  # the user's objects: anything may come
            return None
        mine = self._present_or_error()
        same = mine == its or (
            isinstance(mine, float)
            and isinstance(its, float)
            and same_loss(mine, its, lambda least: self._elsewhere(other, least))
        )
        return other if same and other.layout.shapes == self.layout.shapes else None

    def _present_or_error(self) -> float | str:
        try:
            return self._present()
        except Exception as error:  # a loss that raises is one of the things that are mended
            return f"{type(error).__name__}: {error}"

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
        return TorchProblem(self.model, self.loss, tuple(parts), optimizer=self.optimizer)

    def rerouted(self, route: str) -> Problem | None:
        if self._takes_model or route not in get_args(Route):
            return None
        return TorchProblem(
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

    def reinitialized(self) -> Initializable:
        return TorchInitializable(self.model, None if self._takes_model else self.batch)

    def left_out(self) -> tuple[str, ...]:
        if self._twin is not None:
            return self._twin.held
        known = self._known_to_optimizer()
        own = {
            id(p) for module in (self.model, self.loss) if isinstance(module, nn.Module) for p in module.parameters()
        }
        # What only a function closes over, as a generator's loss does over the critic, is another optimizer's.
        if not known and not isinstance(getattr(self.optimizer, "param_groups", None), list):
            return ()
        trained = any(id(p) in known for p in self._parameters.values())
        return tuple(
            name
            for name, p in self._parameters.items()
            if id(p) not in known and (not trained or id(p) in own or self._listed(p))
        )

    def _listed(self, parameter: torch.Tensor) -> bool:
        """Whether the model holds it, in a list or the like."""
        return any(parameter is other for other in self._within_reach("", self.model).values())

    def unregistered(self) -> tuple[str, ...]:
        own, known = self._within_reach("", self.model), self._known_to_optimizer()
        return tuple(
            name
            for name, p in self._parameters.items()
            if id(p) not in known and any(p is other for other in own.values())
        )

    def input_map(self) -> InputMap | None:
        if self._takes_model or not isinstance(self.batch[0], torch.Tensor) or not self.batch[0].is_floating_point():
            return None
        with self._as_it_is():
            return TorchInputMap(self.model, self.batch[0])

    def inputs(self) -> Array | None:
        if not isinstance(self.batch, tuple | list) or len(self.batch) != 2:
            return None
        tensors = [leaf for leaf in tree_flatten(self.batch[0])[0] if isinstance(leaf, torch.Tensor)]
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        telling = [tensor for tensor in floating if tensor.dim() and bool(tensor.any())]
        return as_numpy((telling or floating or tensors)[0], keep_dtype=True) if tensors else None

    def named_inputs(self) -> dict[str, Array]:
        if not isinstance(self.batch, tuple | list) or len(self.batch) != 2 or isinstance(self.batch[0], torch.Tensor):
            return super().named_inputs()
        named = {f"inputs{keystr(path)}": leaf for path, leaf in tree_flatten_with_path(self.batch[0])[0]}
        real = {
            name: t for name, t in named.items() if isinstance(t, torch.Tensor) and t.is_floating_point() and t.dim()
        }
        told = {name: as_numpy(tensor, keep_dtype=True) for name, tensor in real.items() if bool(tensor.any())}
        return told or super().named_inputs()

    def parts(self, theta: Vector) -> list[Part]:
        with self._at(theta):
            calls = custom_calls(self.model, self._loss)
        found, data = [], self.data()
        for call in calls:
            try:
                part = TensorFunctionProblem(call.function, call.inputs, cotangents=call.cotangents)
            except InputError:  # no input that a gradient belongs to
                continue
            part.context, part.is_part = data, True
            found.append(Part(call.name, call.where, part))
        return found

    def uncut(self, theta: Vector) -> Uncut | None:
        with self._at(theta):
            mode = Through(self.model)
            try:
                with mode.watching():
                    loss = self._loss()
                return Uncut(self._gradients(loss), mode.said, mode.meant) if mode.cuts else None
            except RuntimeError as error:  # what is cut cannot be differentiated, or was edited in place behind the cut
                missing: Gradient = dict.fromkeys(self._layout.names)
                return Uncut(missing, mode.said, False, str(error).partition("\n")[0]) if mode.cuts else None

    def held(self, theta: Vector) -> Held | None:
        cuts = HeldCuts(self.model, self._parameters)
        try:
            with self._at(theta), cuts.recording():
                self._loss()
        except Exception:  # a loss that raises tells so elsewhere
            return None
        return HeldProblem(self, cuts) if cuts.cuts else None

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
                reachable_restored(self.model, self.loss, self.batch, self.optimizer, but=self._lent()) as self._backup,
                model_restored(*self._modules),
            ):
                yield
        finally:
            self._backup = None

    def _lent(self) -> Iterator[torch.Tensor]:
        """What an evaluation gets a copy of: parameters that are trained, and buffers. What the optimizer keeps,
        training puts back.
        """
        yield from self._parameters.values()
        for module in self._modules:
            yield from module.buffers()
        for state in getattr(self.optimizer, "state", {}).values():
            yield from (value for value in state.values() if isinstance(value, torch.Tensor))

    def of_rows(self, rows: int) -> Problem:
        if self._takes_model:
            return self
        parts = [leaf for leaf in tree_flatten(self.batch)[0] if isinstance(leaf, torch.Tensor)]
        lengths = {leaf.shape[0] if leaf.dim() else 0 for leaf in parts}
        rows = min(rows, lengths.pop() // 2) if len(lengths) == 1 else 0
        if rows < 2:
            return self
        batch = tree_map(lambda leaf: leaf[:rows] if isinstance(leaf, torch.Tensor) else leaf, self.batch)
        fewer = TorchProblem(self.model, self.loss, batch)
        fewer.rows = rows
        try:
            with fewer.preserved(), fewer._as_it_is():
                loss = fewer._loss()
                own = any(isinstance(node, torch.autograd.function.BackwardCFunction) for node in nodes(loss))
                hooked = any(parameter._backward_hooks for parameter in self._parameters.values())
                # Backward passes of the user's own may be wrong for other rows alone.
                return self if own or hooked or not torch.isfinite(loss) else fewer
        except Exception:  # a model or loss that is made for batches of one size
            return self

    def precise(self) -> Problem:
        """A float64 copy where the model, its loss and its batch run in float64, else this problem, with the reason in
        `coarse`.
        """
        if self.dtype == "float64":
            return self
        try:
            mine = self._present()
            with Randomness(*torch_generators()).fixed():
                model, loss, batch = copy_together(self.model, self.loss, self.batch, change=to_float64)
            with originals_gone(list(self._parameters.values())):
                twin = _Double(model, loss, batch)
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

    @contextmanager
    def _at(self, theta: Vector, *, quick: bool = False) -> Iterator[None]:
        """The model at theta: what one evaluation leaves behind no other one sees."""
        present = self._twin is not None and theta is self._twin.theta
        with self._kept() if present else parameters_at(self._values(theta)), self._evaluated(quick=quick):
            yield

    def _values(self, theta: Vector) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each parameter with what it is at theta."""
        arrays = self._layout.unpack(theta)
        return [(p, torch.tensor(arrays[name], dtype=p.dtype, device=p.device)) for name, p in self._parameters.items()]

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
            stack.enter_context(power_iteration_stopped(self.model))
            stack.enter_context(self._random.fixed(seen=quick))
            stack.enter_context(torch.enable_grad())
            yield

    def _kept(self) -> AbstractContextManager[None]:
        """The parameters as they are: what a forward pass writes to them, as an embedding with max_norm does, is gone
        after.
        """
        own = self._parameters.values()
        return self._twin.restored() if self._twin is not None else parameters_at([(p, p.data.clone()) for p in own])

    def _present(self) -> float:
        with self._as_it_is():
            return float(self._loss().detach())

    def _elsewhere(self, other: Problem, least: float) -> tuple[float, float]:
        """This loss and another's where the parameters have moved by their own size, and by `least` at least."""
        theta = self.stored(move_by_its_size(self._layout, self.theta(), least=least))
        return self.value(theta), other.value(theta)

    def _closed_over(self) -> dict[str, torch.Tensor]:
        """Parameters outside the model that the loss uses: of a loss that is a module, or closed over by a function."""
        found = self._within_reach("loss", self.loss) | self._within_reach("", self.model)
        if not found:
            return {}
        try:
            with model_restored(*self._modules), self._random.fixed(), torch.enable_grad():
                used = {id(leaf) for leaf in leaves(self._loss())}
        except Exception:  # the loss does not run: the check will say why
            return {}
        return {name: tensor for name, tensor in found.items() if id(tensor) in used}

    def _within_reach(self, label: str, root: Any) -> dict[str, torch.Tensor]:
        """Trainable leaves that an object holds or closes over, and that are no parameters of the model."""
        return closed_over({label: root}, self.model.parameters())

    def _known_to_optimizer(self) -> set[int]:
        return {id(p) for group in getattr(self.optimizer, "param_groups", []) for p in group["params"]}

    def _loss(self) -> torch.Tensor:
        with self._replaying(), self._casting(), interruptible():
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
        return self._named(self._parts(loss))

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
        with interruptible():
            parts = gradients_of(loss, list(self._parameters.values()))
        return dict(zip(self._layout.names, parts, strict=True))


class _Double(TorchProblem):
    """A float64 copy of a problem."""

    _casting = Wide


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
