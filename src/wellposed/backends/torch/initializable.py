"""A torch model whose layers are listed in order, whose parameters are known by their roles, and whose weights can be
set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import activation as activations
from torch.utils._pytree import tree_flatten

from wellposed.backends.fitting import Fitting
from wellposed.backends.initializable import Parameter
from wellposed.backends.measured import Operation, OperationKind, Run, Signal
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.backup import reachable_restored
from wellposed.backends.torch.calibration import Calibration
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.meta import materialize
from wellposed.backends.torch.roles import parameters_of
from wellposed.backends.torch.sharded import held_jointly, joint_root_mean_square, resharded, with_joint_sources
from wellposed.backends.torch.shards import in_shards, spread_as
from wellposed.backends.torch.state import model_restored, modes_restored, power_iteration_stopped, torch_generators
from wellposed.backends.torch.tracing.recorder import Recorder
from wellposed.backends.torch.tracing.sizes import activation_of, root_mean_square
from wellposed.backends.torch.tracing.weight_use import module_use
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector

_UNKNOWN = Signal(float("nan"), float("nan"), float("nan"), True)


class TorchInitializable:
    """Shows a model to `initialize`: from passes over `batch`, its inputs or (inputs, targets), or from the order of
    its modules.
    """

    def __init__(self, model: nn.Module, batch: Any = None) -> None:
        for name, parameter in model.named_parameters():
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise InputError(
                    f"parameter {name!r} is lazy and has no shape yet", hint="run the model once: model(inputs)"
                )
        if isinstance(model, torch.jit.ScriptModule):
            raise InputError(
                "the model is compiled by TorchScript, which hides its layers",
                hint="initialize it before torch.jit.script",
            )
        self.model = model
        self._inputs = batch[0] if isinstance(batch, tuple | list) and len(batch) == 2 else batch
        self._parameters = _real(model)
        self._added: Mapping[str, str] = {}
        self._differentiates = False
        for leaf in tree_flatten(self._inputs)[0]:
            if isinstance(leaf, torch.Tensor) and not leaf.numel():
                raise InputError(f"the batch holds an empty tensor, of shape {tuple(leaf.shape)}")

    @property
    def shown(self) -> bool:
        return self._inputs is not None

    def materialize(self) -> set[str]:
        given = next(
            (leaf.device for leaf in tree_flatten(self._inputs)[0] if isinstance(leaf, torch.Tensor)),
            torch.device("cpu"),
        )
        without = materialize(self.model, given)
        self._parameters = _real(self.model)
        return without

    def run(self) -> Run:
        if self._inputs is None:
            return Run(_by_registration(self.model))
        try:
            return self._run()
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            self._differentiates = True  # on its way, as for forces: with a graph then
            return self._run()

    def _run(self) -> Run:
        recorder = Recorder(self.model, self._inputs, structure_only=True)
        with self._lent(self.model.buffers()), recorder:
            number = _any_number(self._forward())
        operations = recorder.structure(number)
        self._added = recorder.added
        recorder.forget()
        return Run(with_joint_sources(operations) if held_jointly(self.model) else operations)

    def parameters(self) -> tuple[Parameter, ...]:
        return parameters_of(self.model)

    def weights(self) -> dict[str, Vector]:
        for name, parameter in self._parameters.items():
            if parameter.is_meta:
                raise InputError(
                    f"parameter {name!r} is on the meta device and has no memory", hint="model.to_empty(device='cpu')"
                )
        return {name: as_numpy(parameter) for name, parameter in self._parameters.items()}

    def assign(self, values: Mapping[str, Vector]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                parameter = self._parameters[name]
                laid_out = spread_as(parameter, torch.as_tensor(np.array(value, order="C")))
                once = tuple(
                    slice(0, 1) if not stride else slice(None) for stride in parameter.stride()
                )  # of what is expanded
                parameter[once].copy_(laid_out[once]) if 0 in parameter.stride() else parameter.copy_(laid_out)

    def params(self) -> Any:
        return self.model

    def calibrate(self, targets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        if self._inputs is None or not targets:
            return {}
        fitting = Fitting(targets, joint_root_mean_square if held_jointly(self.model) else root_mean_square)
        with self._lent(self._set()), Calibration(self.model, fitting, self._added):
            self._forward()
        return fitting.factors

    def _forward(self) -> Any:
        with torch.set_grad_enabled(self._differentiates):
            return forward(self.model, self._inputs)

    def _set(self) -> Iterator[torch.Tensor]:
        """What a calibrating pass writes to on purpose, and buffers, which are put back as such."""
        yield from (parameter for parameter in self.model.parameters() if parameter.requires_grad)
        yield from self.model.buffers()

    @contextmanager
    def _lent(self, but: Iterable[torch.Tensor]) -> Iterator[None]:
        """What a pass changes is put back, but for the bits of these tensors."""
        sharded = any(map(in_shards, self.model.parameters()))  # what holds shards has a state of its own
        with (
            modes_restored(),
            nullcontext() if sharded else reachable_restored(self.model, self._inputs, but=but),
            resharded(self.model),
            model_restored(self.model),
            power_iteration_stopped(self.model),
            Randomness(*torch_generators(), *owned_generators(self.model)).fixed(),
        ):
            yield


def _any_number(outputs: Any) -> torch.Tensor:
    """A scalar of whatever the model returns, so that what leads nowhere is told from what does."""
    found = [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    if not found:
        raise InputError("the model returned no floating-point tensor, so what its layers lead to cannot be seen")
    return torch.stack([leaf.float().mean() for leaf in found]).sum()


def _real(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of real numbers; complex ones have no rule and are left alone."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.is_floating_point()}


def _by_registration(model: nn.Module) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue
        kind = _kind(module)
        if kind is None:
            continue
        use = module_use(module, name) if kind in ("linear", "conv") else None
        phi = activation_of(module) if kind == "activation" else None
        source = (len(operations) - 1,) if operations else ()
        function = type(module).__name__.lower()
        operations.append(Operation(name, kind, function, source, _UNKNOWN, None, use, phi))
    return tuple(operations)


def _kind(module: nn.Module) -> OperationKind | None:
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.modules.conv._ConvNd):
        return "conv"
    if "Norm" in type(module).__name__:
        return "norm"
    listed = type(module).__name__ in activations.__all__ and not isinstance(module, nn.MultiheadAttention | nn.Softmax)
    return "activation" if listed else None
