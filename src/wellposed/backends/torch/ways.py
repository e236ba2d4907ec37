"""Two torch functions or modules, run at the same points in float64, in their own format, and with a twist."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from wellposed.backends.closures import keepers, reachable
from wellposed.backends.fixed_sizes import may_be_fixed
from wellposed.backends.randomness import Randomness, owned_generators, same_state
from wellposed.backends.torch.compared import (
    Side,
    demand_alike,
    demand_numbers,
    how_to_ask,
    lift_buffers,
    numbers,
    outputs_of,
    parameters_of,
)
from wellposed.backends.torch.float64_copy import Wide
from wellposed.backends.torch.leaves import closed_over, computed_before, leaves, modules_of
from wellposed.backends.torch.nudged import FORMATS, in_its_layout, nudged, off_zero, rounded
from wellposed.backends.torch.rounding import Rounding
from wellposed.backends.torch.state import (
    attributes_restored,
    flags_restored,
    model_restored,
    modes_restored,
    torch_generators,
    versions_restored,
)
from wellposed.backends.torch.tracing.function_mode import seen_through
from wellposed.backends.torch.twists import Draws, saved_by, within
from wellposed.backends.torch.variations import about_size, cut, stays, varied
from wellposed.backends.ways import ALONE, LEAST_NUDGE, NUDGE, SCALED, Passed, Twist, Variation, Way
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array
from wellposed.users_code import Raised, ask, attempt


class TorchWays:
    """`reference(*inputs)` and `candidate(*inputs)`: functions, or modules whose parameters have the same names. Inputs
    that require a gradient, the parameters of modules and the leaves that both close over are moved and differentiated.

    Outputs are whatever floating-point tensors are returned, each with a random incoming gradient of its own; that of a
    loss is 1. Raises `InputError` where nothing requires a gradient, and where two modules' parameters differ.
    """

    def __init__(
        self,
        reference: Callable[..., Any],
        candidate: Callable[..., Any],
        inputs: Any,
        *,
        same_code: bool = False,
        outputs_alone: bool = False,
    ) -> None:
        """`same_code`: whether reference and candidate are one function, of which only float64 tells anything;
        `outputs_alone`: whether nothing is to be differentiated.
        """
        self.runs, self._outputs_alone = 0, outputs_alone
        self.why, self.refuses = "", ""
        self._summed = False
        self._same_code = same_code or reference is candidate
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        self._leaves, self._tree = tree_flatten(tuple(given))
        self._moving = {
            f"inputs[{place}]": place
            for place, leaf in enumerate(self._leaves)
            if isinstance(leaf, torch.Tensor) and leaf.requires_grad
        }
        inputs = [(f"inputs[{place}]", leaf) for place, leaf in enumerate(self._leaves) if torch.is_tensor(leaf)]
        own = {"reference": parameters_of(reference), "candidate": parameters_of(candidate)}
        demand_numbers([*inputs, *own["reference"].items(), *own["candidate"].items()])
        demand_alike(own["reference"], own["candidate"])
        self._reference, self._candidate, self._beside = self._sides(reference, candidate, own)
        self.beside = (*self._beside, *computed_before((reference, candidate)))
        if not self._moving and not self._candidate.tensors and not outputs_alone:
            raise InputError(
                "no input requires a gradient, and there are no parameters",
                hint=how_to_ask(self._leaves),
            )
        self._start = {name: p.detach().clone() for name, p in self._candidate.tensors.items()}
        self._random = Randomness(*torch_generators(), *owned_generators(reference, candidate, self._leaves))
        with self.left_as_it_was():
            self._settle()

    def _sides(
        self, reference: Any, candidate: Any, own: dict[str, dict[str, torch.Tensor]]
    ) -> tuple[Side, Side, dict[str, torch.Tensor]]:
        """What the two close over is compared where both do, and known by its own name; what only one does is not.
        `own` are their parameters.
        """
        known = [*own["reference"].values(), *own["candidate"].values(), *self._varied_inputs()]
        there, here = (
            closed_over({"": function, "inputs": self._leaves}, known) for function in (reference, candidate)
        )
        both = {id(tensor) for tensor in there.values()} & {id(tensor) for tensor in here.values()}
        common = {name: tensor for name, tensor in here.items() if id(tensor) in both}
        alone = {name: tensor for name, tensor in (there | here).items() if id(tensor) not in both}
        modules = modules_of(reference, candidate, self._leaves)
        given = {place: leaf for place, leaf in enumerate(self._leaves) if not torch.is_tensor(leaf)}
        first, second = (
            Side(f, own[way] | common, modules, given) for way, f in zip(own, (reference, candidate), strict=True)
        )
        return first, second, alone

    @contextmanager
    def left_as_it_was(self) -> Iterator[None]:
        """Whatever runs within: attributes, containers, versions of parameters, gradients and modes are as before."""
        tensors = [*self._reference.tensors.values(), *self._candidate.tensors.values()]
        modules = self._candidate.modules  # within reach of either
        owners = (*modules, *keepers(self._reference.function, self._candidate.function, self._leaves))
        with attributes_restored(*owners), modes_restored(), versions_restored(tensors), model_restored(*modules):
            yield

    def _settle(self) -> None:
        """A first pass shows shapes, and the coarsest format that anything is kept in."""
        saved: set[torch.dtype] = set()
        with saved_by(lambda tensor: saved.add(tensor.dtype) or tensor):  # type: ignore[func-returns-value]
            outputs = self._forward()
        seen = saved | {t.dtype for t in outputs.values()} | {t.dtype for t in self._varied()}
        coarsest = next((dtype for dtype in FORMATS if dtype in seen), torch.float64)
        self._step = max(torch.finfo(coarsest).eps, LEAST_NUDGE / NUDGE)
        self._coarsest, known = coarsest, torch.finfo(coarsest)
        self.format, self.unit = str(coarsest).removeprefix("torch."), known.eps / 2
        self.least = known.smallest_normal * known.eps
        own = [*self._reference.tensors.values(), *self._varied_inputs()]
        self._in_same_format = not self._same_code and any(tensor.dtype is coarsest for tensor in own)
        self._leaves = [rounded(leaf, coarsest) if isinstance(leaf, torch.Tensor) else leaf for leaf in self._leaves]
        self._start = {name: rounded(value, coarsest) for name, value in self._start.items()}

    def _varied_inputs(self) -> list[torch.Tensor]:
        return [self._leaves[place] for place in self._moving.values()]

    def _varied(self) -> list[torch.Tensor]:
        return [*self._varied_inputs(), *self._candidate.tensors.values()]

    def passed(self, way: Way, point: int, twist: Twist = "") -> Passed | None:
        if way == "candidate" and twist == "again":
            return ask(lambda: self._pass(self._candidate, point, None, twist), None)
        if way == "candidate" and twist != "float64":
            return self._whatever_lies_apart(point, twist)
        if way == "reference" and self._in_same_format and twist != "dithered":
            return ask(lambda: self._pass(self._reference, point, None, twist), None)
        made = attempt(lambda: self._pass_in_float64(way, point, twist), ours=True)
        if isinstance(made, Raised):
            self.why = self.why or made.line
            return None
        return made

    def _whatever_lies_apart(self, point: int, twist: Twist) -> Passed:
        """The candidate; with incoming gradients in one piece alone, where it takes no others."""
        made = attempt(lambda: self._pass(self._candidate, point, None, twist))
        if not isinstance(made, Raised):
            return made
        before, self.refuses = self.refuses, made.line
        if before or not (self._summed or self._lies_apart(point)):
            self.refuses = before
            raise made.error
        again = attempt(lambda: self._pass(self._candidate, point, None, twist))
        if isinstance(again, Raised):
            self.refuses = ""
            raise made.error
        return again

    def _lies_apart(self, point: int) -> bool:
        """At every other point incoming gradients do not lie in one piece, as they often do not."""
        return point % 2 == 1

    def cut(self, size: int, to: int) -> TorchWays | None:
        """None where a parameter has this size too, or a number among the inputs or in the code may be about it."""
        if any(size in p.shape for p in self._candidate.tensors.values()) or about_size(self._leaves, size, to):
            return None
        if may_be_fixed(size, self._reference.function, self._candidate.function):
            return None
        parts = [cut(leaf, size, to) if torch.is_tensor(leaf) else leaf for leaf in self._leaves]
        return self._on(parts) if stays(parts, self._leaves) else None

    def varied(self, variation: Variation) -> TorchWays | None:
        changed = [
            varied(leaf, variation) if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided else leaf
            for leaf in self._leaves
        ]
        summed = variation == "summed"
        if not summed and all(one is other for one, other in zip(changed, self._leaves, strict=True)):
            return None
        made = self._on(changed)
        if made is not None:
            made._summed = summed
        return made

    def _on(self, changed: list[Any]) -> TorchWays | None:
        """The same two ways on other inputs; None where the candidate does not take them."""
        inputs, same_code = tree_unflatten(changed, self._tree), self._same_code
        reference, candidate = self._reference.function, self._candidate.function
        return ask(lambda: TorchWays(reference, candidate, inputs, same_code=same_code), None)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(leaf.shape) for leaf in self._leaves if torch.is_tensor(leaf))

    @property
    def of_inputs_alone(self) -> bool:
        return not self._candidate.tensors

    @property
    def other_sizes(self) -> int:
        functions = (self._reference.function, self._candidate.function)
        parts = (part for function in functions for part in (function, *(one for _, one in reachable(function))))
        compiled = any(hasattr(part, "_torchdynamo_orig_callable") for part in parts)
        return _COMPILED_SIZES if compiled else _OTHER_SIZES

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the axes of what is moved among the inputs."""
        return tuple(sorted({size for place in self._moving.values() for size in self._leaves[place].shape}))

    def values(self, name: str, point: int) -> Array | None:
        if name in self._moving:
            moved = self._leaves_at(point, None, self._coarsest, "")[self._moving[name]]
        else:
            moved = self._moved(name, point, self._coarsest)
        return numbers(moved, moved)

    def come_nearer(self) -> bool:
        """Moves the points to within a unit of where the inputs are, if they are not there already."""
        nearest = torch.finfo(self._coarsest).eps / NUDGE
        further, self._step = self._step > nearest, nearest
        return further

    @cached_property
    def _double(self) -> Side:
        return self._reference.in_float64()

    @cached_property
    def _doubled(self) -> Side:
        made = self._candidate.in_float64()
        lift_buffers(made.function, self._candidate.function, self._reference.function)
        return made

    def _pass_in_float64(self, way: Way, point: int, twist: Twist) -> Passed:
        seed = self.runs if twist == "dithered" else None
        rounding = Rounding(self._coarsest, seed) if way == "reference" else None
        return self._pass(self._doubled if way == "candidate" else self._double, point, torch.float64, twist, rounding)

    def _pass(
        self, side: Side, point: int, dtype: torch.dtype | None, twist: Twist, rounding: Rounding | None = None
    ) -> Passed:
        self.runs += 1
        grid = torch.float64 if twist == "float64" else self._coarsest
        with self._as_before(side), self._at(side.tensors, point, grid), self._random.fixed(), _differentiable():
            given = self._leaves_at(point, dtype, grid, twist)
            if twist == "redrawn":
                torch.rand(point + 1)
                for device in {p.device for p in side.tensors.values() if p.is_cuda}:
                    torch.rand(point + 1, device=device)
            with within(twist), Wide() if dtype else nullcontext(), rounding or nullcontext():
                outputs = outputs_of(side.function(*self._handed(given, side)))
            carrying = {name: t for name, t in outputs.items() if t.requires_grad}
            incoming = [self._incoming(name, t, point, twist) for name, t in carrying.items()]
            moved = {name: given[place] for name, place in self._moving.items()} | side.tensors
            draws, between = Draws(), self._random.states()
            listening = draws if twist == "again" else nullcontext()
            with ExitStack() as entered:
                keep = entered.enter_context(_others_apart(carrying, moved))
                for mode in (within(twist), Wide() if dtype else nullcontext(), rounding or nullcontext(), listening):
                    entered.enter_context(mode)
                if carrying:
                    _backward(list(carrying.values()), incoming, retain_graph=keep)
            drew = draws.seen or not all(map(same_state, between, self._random.states()))
            moved = {} if self._outputs_alone else moved
            gradients = {name: numbers(t.grad, t) for name, t in moved.items()}
            unreached = frozenset(name for name, t in moved.items() if t.grad is None)
            return Passed({name: numbers(t, t) for name, t in outputs.items()}, gradients, unreached, drew)

    @contextmanager
    def _as_before(self, side: Side) -> Iterator[None]:
        """Gradients, buffers and modes of all that the functions are or can reach."""
        tensors = [*self._beside.values(), *side.tensors.values()]
        with flags_restored(tensors):
            for tensor in tensors:
                tensor.grad = None  # else it would be added to
            with model_restored(*side.modules, side.function):
                yield

    def _forward(self) -> dict[str, torch.Tensor]:
        with self._as_before(self._candidate), self._random.fixed(), _differentiable():
            given = self._leaves_at(0, None, torch.float64, "")
            outputs = outputs_of(self._candidate.function(*self._handed(given, self._candidate)))
        if not outputs:
            raise InputError("the candidate returns no floating-point tensor", hint="return outputs, or a loss")
        return outputs

    def _leaves_at(self, point: int, dtype: torch.dtype | None, grid: torch.dtype, twist: Twist) -> list[Any]:
        given = list(self._leaves)
        moving = set(self._moving.values())
        for place, leaf in enumerate(given):
            if not isinstance(leaf, torch.Tensor):
                continue
            value = leaf.detach()
            if point and place in moving:  # what is data may be labels or a mask
                value = nudged(_finer(value, grid), self._step, grid, point, place)
            else:  # what is written to in place is not the user's
                value = in_its_layout(value)
            if twist == "off-zero" and place in moving:
                value = off_zero(value, point, place)
            if dtype is not None and value.is_floating_point():
                value = value.to(dtype)
            if twist == "contiguous":
                value = value.contiguous().clone()
            given[place] = value.requires_grad_() if place in moving else value
        return given

    def _handed(self, given: list[Any], side: Side) -> Any:
        """As the results of another layer are, which may be written to in place; in the same layout."""
        leaves = [_as_result(leaf) if torch.is_tensor(leaf) else leaf for leaf in given]
        return tree_unflatten([side.given.get(place, leaf) for place, leaf in enumerate(leaves)], self._tree)

    def _cotangent(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """The same for a shape, of numbers that every format has. A loss is passed as a scaler would, where gradients
        may be too small for their format.
        """
        if output.numel() == 1 and name == ALONE:
            return torch.full(output.shape, SCALED if self._coarsest is torch.float16 else 1.0)
        draw = torch.Generator("cpu").manual_seed(zlib.crc32(name.encode()))
        dtype = torch.cfloat if output.is_complex() else torch.float32
        drawn = torch.randn(output.shape, generator=draw, dtype=dtype, device="cpu")
        return drawn if output.is_complex() else drawn.to(torch.bfloat16).float()

    @contextmanager
    def _at(self, parameters: dict[str, torch.Tensor], point: int, grid: torch.dtype) -> Iterator[None]:
        """Parameters moved as an optimizer moves them, and their own numbers put back bit for bit."""
        own = [(parameter, parameter.detach().clone()) for parameter in parameters.values()]
        torch.clear_autocast_cache()  # of an outer autocast of the user's, which sees no write past the version
        with torch.no_grad():
            for name, parameter in parameters.items():
                # by turns as an optimizer writes, and past the count of versions
                (parameter.data if point % 2 else parameter).copy_(self._moved(name, point, grid))
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in own:
                    parameter.data.copy_(value)
            torch.clear_autocast_cache()

    def _moved(self, name: str, point: int, grid: torch.dtype) -> torch.Tensor:
        start, place = self._start[name], zlib.crc32(name.encode())
        return nudged(_finer(start, grid), self._step, grid, point, place) if point else start

    def _incoming(self, name: str, output: torch.Tensor, point: int, twist: Twist) -> torch.Tensor:
        value = self._cotangent(name, output)
        value = nudged(value, self._step, self._coarsest, point, 1000) if point else value
        value = value.to(output.dtype).to(output.device)
        if self.refuses or twist == "contiguous" or not value.ndim:
            return value
        if self._summed:  # as that of a sum
            return value.flatten()[:1].reshape(()).expand(value.shape) if value.numel() else value
        return value.mT.contiguous().mT if self._lies_apart(point) and value.ndim > 1 else value


@contextmanager
def _differentiable() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def _others_apart(outputs: dict[str, torch.Tensor], moved: dict[str, torch.Tensor]) -> Iterator[bool]:
    """Gradients of leaves behind what functions close over are as before; True where their graph is to be kept."""
    known = {id(tensor) for tensor in moved.values()}
    others = [leaf for leaf in leaves(*outputs.values()) if id(leaf) not in known]
    with flags_restored(others):
        for leaf in others:
            leaf.grad = None  # else it would be added to
        yield bool(others)


_OTHER_SIZES, _COMPILED_SIZES = 16, 2  # for each of which torch.compile compiles anew, up to its limit of eight
_backward = seen_through(torch.autograd.backward)  # else no mode would see what custom backward passes compute


def _as_result(leaf: torch.Tensor) -> torch.Tensor:
    if not leaf.requires_grad or leaf.layout is not torch.strided:
        return leaf
    result = leaf.clone()
    return result if result.stride() == leaf.stride() else leaf


def _finer(value: torch.Tensor, grid: torch.dtype) -> torch.Tensor:
    """In the format that it is moved in: between the numbers of its own in float64."""
    return value.to(grid) if grid is torch.float64 and value.is_floating_point() else value
