"""Two torch functions or modules, run at the same points in float64, in their own format, and with a twist."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from wellposed.backends.randomness import Randomness, owned_generators, same_state
from wellposed.backends.torch.float64_copy import Wide
from wellposed.backends.torch.leaves import closed_over, modules_of
from wellposed.backends.torch.nudged import in_its_layout, nudged, rounded
from wellposed.backends.torch.rounding import Rounding
from wellposed.backends.torch.state import model_restored, torch_generators
from wellposed.backends.torch.tracing.function_mode import seen_through
from wellposed.backends.torch.twists import Draws, in_one_piece, passed_through, saved_by, without_cast_cache
from wellposed.backends.ways import LEAST_NUDGE, NUDGE, Passed, Twist, Way
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array
from wellposed.users_code import ask

_COARSE = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""Real formats, the coarsest first."""


class TorchWays:
    """`reference(*inputs)` and `candidate(*inputs)`: functions, or modules whose parameters have the same names. Inputs
    that require a gradient and the parameters of modules are moved and differentiated.

    Outputs are whatever floating-point tensors are returned, each with a random incoming gradient of its own; that of a
    loss is 1. Raises `InputError` where nothing requires a gradient, and where two modules' parameters differ.
    """

    def __init__(
        self, reference: Callable[..., Any], candidate: Callable[..., Any], inputs: Any, *, same_code: bool = False
    ) -> None:
        """`same_code`: whether reference and candidate are one function, of which only float64 tells anything."""
        self.runs = 0
        self._same_code = same_code or reference is candidate
        self._reference, self._candidate = reference, candidate
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        self._leaves, self._tree = tree_flatten(tuple(given))
        self._moving = {
            f"inputs[{place}]": place
            for place, leaf in enumerate(self._leaves)
            if isinstance(leaf, torch.Tensor) and leaf.requires_grad
        }
        self._parameters = _parameters(candidate)
        _demand_alike(_parameters(reference), self._parameters)
        if not self._moving and not self._parameters:
            raise InputError(
                "no input requires a gradient, and there are no parameters",
                hint="x.requires_grad_(True) on each tensor to differentiate by",
            )
        self._start = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._random = Randomness(*torch_generators(), *owned_generators(reference, candidate))
        self._modules = modules_of(reference, candidate)
        own = [*_parameters(reference).values(), *self._parameters.values(), *self._varied()]
        self._beside = closed_over({"reference": reference, "candidate": candidate}, own)
        self.beside = tuple(self._beside)
        self._double: Any = None
        self._doubled: Any = None
        self._settle()

    def _settle(self) -> None:
        """A first pass shows shapes, and the coarsest format that anything is kept in."""
        saved: set[torch.dtype] = set()
        with saved_by(lambda tensor: saved.add(tensor.dtype) or tensor):  # type: ignore[func-returns-value]
            outputs = self._forward(self._candidate, 0, None)
        seen = saved | {t.dtype for t in outputs.values()} | {t.dtype for t in self._varied()}
        coarsest = next((dtype for dtype in _COARSE if dtype in seen), torch.float64)
        self._step = max(torch.finfo(coarsest).eps, LEAST_NUDGE / NUDGE)
        self._coarsest, known = coarsest, torch.finfo(coarsest)
        self.format, self.unit = str(coarsest).removeprefix("torch."), known.eps / 2
        self.least = known.smallest_normal * known.eps
        own = [*_parameters(self._reference).values(), *(self._leaves[place] for place in self._moving.values())]
        self._in_same_format = not self._same_code and any(tensor.dtype is coarsest for tensor in own)
        self._leaves = [rounded(leaf, coarsest) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        self._start = {name: rounded(value, coarsest) for name, value in self._start.items()}

    def _varied(self) -> list[torch.Tensor]:
        return [self._leaves[place] for place in self._moving.values()] + list(self._parameters.values())

    def passed(self, way: Way, point: int, twist: Twist = "") -> Passed | None:
        if way == "candidate" and twist == "again":
            return ask(lambda: self._pass(self._candidate, point, None, twist), None)
        if way == "candidate" and twist != "float64":
            return self._pass(self._candidate, point, None, twist)
        if way == "reference" and self._in_same_format:
            return ask(lambda: self._pass(self._reference, point, None, ""), None)
        return ask(lambda: self._pass_in_float64(way, point, twist), None)

    def cut(self, size: int, to: int) -> TorchWays | None:
        """The same two ways on inputs of which every axis of this size is cut; None where a parameter has it too."""
        if any(size in p.shape for p in self._parameters.values()):
            return None
        leaves = [_cut(leaf, size, to) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        inputs, same_code = tree_unflatten(leaves, self._tree), self._same_code
        return ask(lambda: TorchWays(self._reference, self._candidate, inputs, same_code=same_code), None)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the axes of what is moved among the inputs."""
        return tuple(sorted({size for place in self._moving.values() for size in self._leaves[place].shape}))

    def come_nearer(self) -> bool:
        """Moves the points to within a unit of where the inputs are, if they are not there already."""
        nearest = torch.finfo(self._coarsest).eps / NUDGE
        further, self._step = self._step > nearest, nearest
        return further

    def _pass_in_float64(self, way: Way, point: int, twist: Twist) -> Passed:
        if way != "candidate":
            self._double = self._double or _doubled(self._reference)
            function = self._double
        else:
            self._doubled = self._doubled or _doubled(self._candidate)
            function = self._doubled
        rounding = Rounding(self._coarsest) if way == "reference" else None
        return self._pass(function, point, torch.float64, twist, rounding)

    def _pass(
        self, function: Any, point: int, dtype: torch.dtype | None, twist: Twist, rounding: Rounding | None = None
    ) -> Passed:
        self.runs += 1
        parameters = _parameters(function)
        grid = torch.float64 if twist == "float64" else self._coarsest
        with self._as_before(function), self._at(parameters, point, grid), self._random.fixed(), torch.enable_grad():
            leaves = self._leaves_at(point, dtype, grid, contiguous=twist == "contiguous")
            if twist == "redrawn":
                torch.rand(1)
            with _within(twist), Wide() if dtype else nullcontext(), rounding or nullcontext():
                outputs = _outputs(function(*tree_unflatten(leaves, self._tree)))
            carrying = {name: t for name, t in outputs.items() if t.requires_grad}
            incoming = [self._incoming(name, t, point, twist) for name, t in carrying.items()]
            draws, between = Draws(), self._random.states()
            listening = draws if twist == "again" else nullcontext()
            with _within(twist), Wide() if dtype else nullcontext(), rounding or nullcontext(), listening:
                if carrying:
                    _backward(list(carrying.values()), incoming)
            drew = draws.seen or not all(map(same_state, between, self._random.states()))
            moved: dict[str, torch.Tensor] = {name: leaves[place] for name, place in self._moving.items()}
            moved |= parameters
            gradients = {name: _numbers(t.grad, t) for name, t in moved.items()}
            unreached = frozenset(name for name, t in moved.items() if t.grad is None)
            return Passed({name: _numbers(t, t) for name, t in outputs.items()}, gradients, unreached, drew)

    @contextmanager
    def _as_before(self, function: Any) -> Iterator[None]:
        """Gradients, buffers and modes of all that the functions are or can reach."""
        gradients = [(tensor, tensor.grad) for tensor in self._beside.values()]
        try:
            for tensor, _ in gradients:
                tensor.grad = None  # else it would be added to
            with model_restored(*self._modules, function):
                yield
        finally:
            for tensor, gradient in gradients:
                tensor.grad = gradient

    def _forward(self, function: Any, point: int, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        with self._as_before(function), self._random.fixed(), torch.enable_grad():
            leaves = self._leaves_at(point, dtype, torch.float64, contiguous=False)
            outputs = _outputs(function(*tree_unflatten(leaves, self._tree)))
        if not outputs:
            raise InputError("the candidate returns no floating-point tensor", hint="return outputs, or a loss")
        return outputs

    def _leaves_at(self, point: int, dtype: torch.dtype | None, grid: torch.dtype, *, contiguous: bool) -> list[Any]:
        leaves = list(self._leaves)
        moving = set(self._moving.values())
        for place, leaf in enumerate(leaves):
            if not isinstance(leaf, torch.Tensor):
                continue
            value = leaf.detach()
            if point and (value.is_floating_point() or value.is_complex()):
                value = nudged(_finer(value, grid), self._step, grid, point, place)
            else:  # what is written to in place is not the user's
                value = in_its_layout(value)
            if dtype is not None and value.is_floating_point():
                value = value.to(dtype)
            if contiguous:
                value = value.contiguous().clone()
            leaves[place] = value.requires_grad_() if place in moving else value
        return leaves

    def _cotangent(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """The same for a shape, of numbers that every format has. A loss is passed as a scaler would, where gradients
        may be too small for their format.
        """
        if output.numel() == 1 and name == _ALONE:
            return torch.full(output.shape, _SCALED if self._coarsest is torch.float16 else 1.0)
        draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        drawn = torch.randn(output.shape, generator=draw, dtype=torch.cfloat if output.is_complex() else None)
        return drawn if output.is_complex() else drawn.to(torch.bfloat16).float()

    @contextmanager
    def _at(self, parameters: dict[str, torch.Tensor], point: int, grid: torch.dtype) -> Iterator[None]:
        """Parameters moved as an optimizer moves them, and their own numbers put back bit for bit."""
        own = [(parameter, parameter.detach().clone()) for parameter in parameters.values()]
        with torch.no_grad():
            for place, (name, parameter) in enumerate(parameters.items()):
                start = self._start[name]
                value = nudged(_finer(start, grid), self._step, grid, point, -1 - place) if point else start
                # by turns as an optimizer writes, and past the count of versions
                (parameter.data if point % 2 else parameter).copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in own:
                    parameter.data.copy_(value)

    def _incoming(self, name: str, output: torch.Tensor, point: int, twist: Twist) -> torch.Tensor:
        """At every other point it does not lie in one piece, as gradients often do not."""
        value = self._cotangent(name, output)
        value = nudged(value, self._step, self._coarsest, point, 1000) if point else value
        value = value.to(output.dtype).to(output.device)
        apart = point % 2 == 1 and twist != "contiguous" and value.ndim > 1
        return value.mT.contiguous().mT if apart else value


@contextmanager
def _within(twist: Twist) -> Iterator[None]:
    if twist == "no-cast-cache":
        with without_cast_cache():
            yield
    elif twist == "kept":
        with saved_by(torch.Tensor.clone), passed_through(lambda tensor: tensor, torch.Tensor.clone):
            yield
    elif twist == "contiguous":
        with passed_through(torch.Tensor.contiguous, in_one_piece):
            yield
    else:
        yield


_ALONE = "output"
_SCALED = 1024.0
_backward = seen_through(torch.autograd.backward)  # else no mode would see what custom backward passes compute


def _parameters(function: Any) -> dict[str, torch.Tensor]:
    if not isinstance(function, nn.Module):
        return {}
    return {name.replace("_orig_mod.", ""): p for name, p in function.named_parameters() if p.requires_grad}


def _demand_alike(reference: dict[str, torch.Tensor], candidate: dict[str, torch.Tensor]) -> None:
    if not reference or not candidate:
        if reference or candidate:
            raise InputError(
                "one of reference and candidate is a module with parameters, the other is not",
                hint="give both as modules, or both as functions of tensors",
            )
        return
    apart = sorted(reference.keys() ^ candidate.keys())
    if apart:
        raise InputError(f"reference and candidate have other parameters: {', '.join(apart[:4])}")
    for name, parameter in reference.items():
        if parameter.shape != candidate[name].shape:
            shapes = f"{tuple(parameter.shape)} and {tuple(candidate[name].shape)}"
            raise InputError(f"parameter `{name}` has the shapes {shapes} in reference and candidate")


def _doubled(function: Any) -> Any:
    return copy.deepcopy(function).double() if isinstance(function, nn.Module) else function


def _outputs(made: Any) -> dict[str, torch.Tensor]:
    found = [t for t in tree_leaves(made) if isinstance(t, torch.Tensor) and (t.is_floating_point() or t.is_complex())]
    return {f"output[{place}]" if len(found) > 1 else _ALONE: tensor for place, tensor in enumerate(found)}


def _finer(value: torch.Tensor, grid: torch.dtype) -> torch.Tensor:
    """In the format that it is moved in: between the numbers of its own in float64."""
    return value.to(grid) if grid is torch.float64 and value.is_floating_point() else value


def _cut(tensor: torch.Tensor, size: int, to: int) -> torch.Tensor:
    """Laid out as it was."""
    made = tensor.detach()
    for axis, length in enumerate(tensor.shape):
        made = made.narrow(axis, 0, to) if length == size else made
    return in_its_layout(made).requires_grad_(tensor.requires_grad)


def _numbers(value: torch.Tensor | None, like: torch.Tensor) -> Array:
    """Complex ones as pairs."""
    if value is None:
        value = torch.zeros(like.shape, dtype=like.dtype)
    value = value.detach()
    if value.layout is not torch.strided:
        value = value.to_dense()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    found: Array = value.to("cpu", torch.float64).numpy().copy()
    return found
