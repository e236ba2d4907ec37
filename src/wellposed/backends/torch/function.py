"""A torch function of tensors, as J(theta): what `torch.autograd.gradcheck` is called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.utils._pytree import tree_flatten, tree_unflatten

from wellposed.backends.protocol import Held
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.backends.torch.held_constants import HeldCuts, HeldProblem, Replayable
from wellposed.backends.torch.leaves import closed_over, leaves, modules_of
from wellposed.backends.torch.state import buffers_lent, model_restored, parameters_at, torch_generators
from wellposed.backends.torch.tensor_numbers import (
    PLAIN,
    as_gradient,
    copy_of,
    dtype_of,
    inner_product,
    leaf_like,
    numbers_of,
    own_leaf,
    real_shape,
    rebuild_like,
    values_of,
)
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Layout, Theta
from wellposed.users_code import Raised, attempt


class OtherShapes(ValueError):
    """fn returns other shapes than at the point."""


class TensorFunctionProblem(Replayable):
    """J(theta) = Re <w, fn(*inputs)> with a cotangent w for each output: those given, else random ones.

    theta holds the inputs that require a gradient, and the leaves that fn closes over: real numbers as they are,
    complex ones as pairs, of sparse tensors the entries that are there. Outputs that carry no gradient (indices, masks)
    are left out. Raises `InputError` where no input requires a gradient, or one is no real or complex floating-point
    tensor, or holds NaN or infinity.
    """

    backend = "torch"
    cuts_count = True

    def __init__(
        self,
        fn: Callable[..., Any],
        inputs: Any,
        seed: int = 0,
        cotangents: Sequence[torch.Tensor | None] = (),
        *,
        finite: bool = True,
        inputs_alone: bool = False,
    ) -> None:
        """`finite`: whether NaN among the inputs is refused, and not held; `inputs_alone`: whether what fn closes over
        is left as it is.
        """
        if not callable(fn):
            raise InputError(f"fn must be a function, not a {type(fn).__name__}")
        self._fn, self._seed, self._given, self._alone = fn, seed, cotangents, inputs_alone
        given = inputs if isinstance(inputs, tuple | list) else (inputs,)
        self._leaves, self._tree = tree_flatten(tuple(given))
        self._flat = len(self._leaves) == len(given) and all(a is b for a, b in zip(self._leaves, given, strict=True))
        self._moving = [
            i for i, leaf in enumerate(self._leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad
        ]
        if not self._moving:
            raise InputError(
                "no input requires a gradient", hint="x.requires_grad_(True) on each tensor to differentiate by"
            )
        names = dict(zip(self._moving, _names(fn, given, self._moving), strict=True))
        self._tensors: dict[str, torch.Tensor] = {names[i]: self._leaves[i] for i in self._moving}
        for name, tensor in self._tensors.items():
            if finite and torch.isnan(values_of(tensor.detach())).any():
                raise InputError(f"input {name!r} contains NaN; there is no derivative at such a point")
        self._random = Randomness(*torch_generators(), *owned_generators(fn))
        self._modules = modules_of(fn)
        self._closed: dict[str, torch.Tensor] = {}
        self._unnamed: tuple[str, ...] = ()
        self._changing: list[int] = []
        self._cotangents: list[torch.Tensor | None] = []
        self._prepare()
        every = self._tensors | self._closed
        self._layout = Layout({name: real_shape(tensor) for name, tensor in every.items()})
        infinite = {name: ~np.isfinite(numbers_of(tensor)) for name, tensor in every.items()}
        self._infinite = {name: mask for name, mask in infinite.items() if mask.any()}
        self._stored_in = sorted({dtype_of(tensor) for tensor in every.values()})
        # What fn returns may be coarser than what goes in.
        returned = {dtype_of(cotangent) for cotangent in self._cotangents if cotangent is not None}
        self.dtype = "+".join(sorted(returned.union(self._stored_in)))

    @property
    def layout(self) -> Layout:
        return self._layout

    def unreached(self) -> tuple[str, ...]:
        return self._unnamed

    def theta(self) -> Vector:
        every = {name: numbers_of(tensor) for name, tensor in (self._tensors | self._closed).items()}
        return self._layout.pack(
            {name: np.where(np.isfinite(numbers), numbers, 0.0) for name, numbers in every.items()}
        )

    def untrained(self) -> dict[str, Array]:
        """Infinite entries stay where they are: a mask of -inf is an ordinary argument of a softmax."""
        return self._infinite

    def stored(self, theta: Vector) -> Vector:
        if self._stored_in == ["float64"]:
            return theta
        every = self._tensors | self._closed
        return self._layout.pack(
            {name: numbers_of(rebuild_like(every[name], part)) for name, part in self._layout.unpack(theta).items()}
        )

    def value(self, theta: Theta) -> float:
        with self._at(theta, quick=True) as inputs:
            outputs = self._outputs(inputs)
        self._demand_shapes(outputs)
        pairs = zip(outputs, self._cotangents, strict=True)
        return sum(inner_product(output.detach(), cotangent) for output, cotangent in pairs if cotangent is not None)

    def _demand_shapes(self, outputs: Sequence[torch.Tensor]) -> None:
        """Beside the point fn must return what it does there; further out it need not, and is not defined for us."""
        if len(outputs) != len(self._cotangents):
            raise OtherShapes(f"fn returns {len(self._cotangents)} tensors at the point, but {len(outputs)} beside it")
        for output, cotangent in zip(outputs, self._cotangents, strict=True):
            if cotangent is not None and output.shape != cotangent.shape:
                shapes = f"{tuple(cotangent.shape)} at the point and {tuple(output.shape)} beside it"
                raise OtherShapes(
                    f"an output of fn has shape {shapes}: a shape that depends on the values has no derivative"
                )

    def gradient(self, theta: Theta) -> Gradient:
        return self.gradient_of_multiple(theta, 1.0)

    def gradient_of_multiple(self, theta: Theta, factor: float) -> Gradient:
        with self._at(theta) as inputs:
            outputs = self._outputs(inputs)
            self._demand_shapes(outputs)
            wanted = [inputs[i] for i in self._moving] + list(self._closed.values())
            pairs = [
                (o, w) for o, w in zip(outputs, self._cotangents, strict=True) if w is not None and o.requires_grad
            ]
            if not pairs:
                return dict.fromkeys(self._layout.names)
            parts = torch.autograd.grad(
                [o for o, _ in pairs], wanted, [w if factor == 1 else w * factor for _, w in pairs], allow_unused=True
            )
        named = zip((self._tensors | self._closed).items(), parts, strict=True)
        found = {name: None if part is None else as_gradient(tensor, part) for (name, tensor), part in named}
        for name, mask in self._infinite.items():
            part = found[name]
            if part is not None:
                found[name] = np.where(mask, 0.0, part)  # of what is not finite there is no derivative to compare
        return found

    def held(self, theta: Theta) -> Held | None:
        cuts = HeldCuts(torch.nn.ModuleList(self._modules), {})
        with self._at(theta) as inputs, cuts.recording():
            if isinstance(attempt(lambda: self._outputs(inputs), ours=True), Raised):  # which another look tells
                return None
        return HeldProblem(self, cuts) if cuts.cuts else None

    def pointwise(self) -> tuple[Callable[[Vector], Vector], Vector] | None:
        alone = len(self._moving) == len(self._cotangents) == 1 and not self._closed
        tensor, cotangent = self._leaves[self._moving[0]], self._cotangents[0]
        if (
            not alone
            or cotangent is None
            or cotangent.shape != tensor.shape
            or tensor.is_complex()
            or cotangent.is_complex()
        ):
            return None

        def f(values: Vector) -> Vector:
            with self._at(np.asarray(values, dtype=np.float64).ravel(), quick=True) as inputs:
                return numbers_of(self._outputs(inputs)[0])

        return f, numbers_of(cotangent)

    @property
    def jvp_names(self) -> tuple[str, ...]:
        return tuple(self._tensors)

    def jvp(self, theta: Vector, u: Vector) -> float:
        """The slope along u by forward mode. What fn raises where an operation has none comes through."""
        tangents = self._layout.unpack(u)
        with self._at(theta) as inputs, forward_ad.dual_level():
            for index, name in zip(self._moving, self._tensors, strict=True):
                tangent = rebuild_like(self._tensors[name], tangents[name])
                inputs[index] = forward_ad.make_dual(inputs[index].detach(), tangent.detach())
            total = 0.0
            for output, cotangent in zip(self._outputs(inputs), self._cotangents, strict=True):
                moved = None if cotangent is None else forward_ad.unpack_dual(output).tangent
                if moved is not None and cotangent is not None:
                    total += inner_product(moved.detach(), cotangent)
        return total

    def data(self) -> dict[str, Array]:
        """Its own inputs, and the data of the problem that it is a part of."""
        own = {
            f"inputs[{i}]": leaf
            for i, leaf in enumerate(self._leaves)
            if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided
        }
        return {
            name: leaf.detach().cpu().numpy(force=True) for name, leaf in own.items() if str(leaf.dtype)[6:] in PLAIN
        } | super().data()

    @contextmanager
    def preserved(self) -> Iterator[None]:
        gradients = [
            (tensor, tensor.grad)
            for tensor in (self._tensors | self._closed).values()
            if tensor.is_leaf or tensor.retains_grad
        ]
        with self._random.fixed(), model_restored(*self._modules):
            try:
                yield
            finally:
                for tensor, gradient in gradients:
                    if tensor.grad is not gradient:
                        tensor.grad = gradient

    def _prepare(self) -> None:
        """One run at the point: what it returns, what it closes over, and a cotangent for every output that may carry a
        gradient.
        """
        with model_restored(*self._modules), self._random.fixed(), torch.enable_grad():
            inputs = [
                leaf_like(leaf, copy_of(leaf)) if i in self._moving else own_leaf(leaf)
                for i, leaf in enumerate(self._leaves)
            ]
            outputs = self._outputs(inputs)
            still = [i for i, leaf in enumerate(inputs) if i not in self._moving and isinstance(leaf, torch.Tensor)]
            self._changing = [i for i in still if inputs[i]._version]
            for output in outputs:
                floating = output.is_floating_point() or output.is_complex()
                self._cotangents.append(
                    self._cotangent(output) if floating and (output.requires_grad or len(outputs) == 1) else None
                )
            own = {id(leaf) for leaf in inputs}
            others = [] if self._alone else [leaf for leaf in leaves(*outputs) if id(leaf) not in own]
            if others:
                called = {id(tensor): name for name, tensor in closed_over({"": self._fn}, []).items()}
                self._closed = {called[id(leaf)]: leaf for leaf in others if id(leaf) in called}
                self._unnamed = tuple(
                    f"a tensor of shape {tuple(leaf.shape)}" for leaf in others if id(leaf) not in called
                )

    def _cotangent(self, output: torch.Tensor) -> torch.Tensor:
        number = len(self._cotangents)
        given = self._given[number] if number < len(self._given) else None
        if given is not None and given.any():
            return given.detach().to(dtype=output.dtype)
        draw = np.random.default_rng((self._seed, number))
        shape = tuple(output.shape)
        numbers = draw.standard_normal(shape)
        if output.is_complex():
            numbers = numbers + 1j * draw.standard_normal(shape)
        drawn = torch.as_tensor(np.asarray(numbers)).to(dtype=output.dtype, device=output.device)
        return torch.where(torch.isfinite(output.detach()), drawn, torch.zeros_like(drawn))

    @contextmanager
    def _at(self, theta: Theta, *, quick: bool = False) -> Iterator[list[Any]]:
        """The inputs at theta, each a leaf of its own; what one evaluation leaves behind no other one sees."""
        self.evaluations += 1
        parts = self._layout.unpack(theta)
        for name, mask in self._infinite.items():
            parts[name] = np.where(mask, numbers_of(self._tensors[name]), parts[name])
        inputs = list(self._leaves)
        for index in self._changing:  # fn writes to it: each evaluation gets a copy of its own
            inputs[index] = own_leaf(inputs[index])
        for index, name in zip(self._moving, self._tensors, strict=True):
            inputs[index] = leaf_like(self._tensors[name], rebuild_like(self._tensors[name], parts[name]))
        closed = [(tensor, rebuild_like(tensor, parts[name])) for name, tensor in self._closed.items()]
        with (
            self._random.fixed(seen=quick),
            torch.enable_grad(),
            parameters_at(closed) if closed else nullcontext(),
            buffers_lent(*self._modules) if self._modules else nullcontext(),
        ):
            yield inputs

    def _outputs(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        with self._replaying():
            returned = self._fn(*(inputs if self._flat else tree_unflatten(list(inputs), self._tree)))
        if isinstance(returned, torch.Tensor) and returned.layout is torch.strided:  # the common case, first
            return [returned]
        found = [leaf for leaf in tree_flatten(returned)[0] if isinstance(leaf, torch.Tensor)]
        if not found:
            raise InputError(f"fn must return a tensor or several, but it returned a {type(returned).__name__}")
        return [leaf if leaf.layout is torch.strided else leaf.to_dense() for leaf in found]


def second_order(
    fn: Callable[..., Any], inputs: Any, seed: int = 1, *, inputs_alone: bool = False
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The gradient of fn, by its inputs and (but for `inputs_alone`) by what it closes over, as a function of the
    inputs and the cotangents: (function, inputs).
    """
    given = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    held = Randomness(*torch_generators(), *owned_generators(fn))
    with torch.enable_grad(), held.fixed(), model_restored(*modules_of(fn)):
        copies = tuple(
            leaf_like(x, copy_of(x)) if isinstance(x, torch.Tensor) and x.requires_grad else own_leaf(x) for x in given
        )
        outputs = _differentiable(fn(*copies))
    if any(output.layout is not torch.strided for output in outputs):
        raise InputError("fn returns a sparse tensor; its second derivatives are not checked")
    draw = torch.Generator().manual_seed(seed)
    cotangents = tuple(
        torch.randn(o.shape, dtype=o.dtype, generator=draw, device=draw.device).to(o.device).requires_grad_()
        for o in outputs
    )

    def gradient(*both: Any) -> Any:
        xs, vs = both[: len(given)], both[len(given) :]
        returned = _differentiable(fn(*xs))
        inner = [leaf for leaf in tree_flatten(xs)[0] if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
        wanted = inner + [leaf for leaf in leaves(*returned) if not inputs_alone and all(leaf is not x for x in inner)]
        parts = torch.autograd.grad(returned, wanted, vs, create_graph=True, allow_unused=True)
        return tuple(part for part in parts if part is not None)

    gradient.__module__ = "second_order"  # a function of the user's, as far as looking for what it closes over goes
    return gradient, (*given, *cotangents)


def _differentiable(returned: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(returned)[0] if isinstance(leaf, torch.Tensor) and leaf.requires_grad]


def _names(fn: Callable[..., Any], given: Sequence[Any], moving: Sequence[int]) -> list[str]:
    """The names of fn's own parameters where each input is one tensor, else inputs[0], inputs[1], ..."""
    names = [f"inputs[{index}]" for index in moving]
    if any(not isinstance(leaf, torch.Tensor) and isinstance(leaf, tuple | list | dict) for leaf in given):
        return names
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return names
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [positional[index] for index in moving] if len(positional) >= len(given) else names
