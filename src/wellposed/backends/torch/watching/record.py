"""What was computed on the way from parameters to a loss, call by call: enough to run it again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.state import torch_generators
from wellposed.backends.torch.watching.nodes import Held, Kept, Made, Node, Place, depends, find_place, setting
from wellposed.backends.torch.watching.rows import Origins
from wellposed.backends.torch.watching.trees import mapped, tensors_in
from wellposed.backends.torch.watching.written import Written, memory_of

T = TypeVar("T")
Then = Callable[[Any], None]
"""What is noted of a call when it has returned."""

_GRADIENT: Any = torch.Tensor.grad
_GET_GRADIENT = _GRADIENT.__get__
_SET_GRADIENT = _GRADIENT.__set__
_ASKING = {
    "__get__", "__bool__", "__len__", "__repr__", "__format__", "__str__", "__hash__", "__reduce_ex__", "size", "dim",
    "numel", "ndimension", "is_floating_point", "is_complex", "stride", "storage_offset", "data_ptr", "element_size",
    "is_contiguous", "get_device", "untyped_storage", "is_shared", "type", "__dlpack__",
    "item", "tolist", "numpy", "__float__", "__int__", "__index__", "__complex__", "__array__", "equal", "allclose",
    "backward",
}  # fmt: skip
"""What makes no tensor, by name; properties that do are told by what they return."""
_DRAWING = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
    "bernoulli", "multinomial", "normal", "rand_like", "randn_like", "randint_like", "poisson", "binomial", "rrelu",
    "gumbel_softmax", "scaled_dot_product_attention", "_standard_gamma", "_sample_dirichlet", "rand", "randn",
    "randint", "randperm", "fractional_max_pool2d", "fractional_max_pool3d", "multi_head_attention_forward",
}  # fmt: skip
"""Functions that draw random numbers; beside them whatever writes in place by such a name."""
_WRITING = {
    "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__imod__", "__ipow__", "__iand__", "__ior__",
    "__ixor__", "__ilshift__", "__irshift__", "__setitem__", "__set__", "register_hook", "retain_grad",
}  # fmt: skip
"""What changes its first argument, beside whatever has a name that ends so."""
_FILLING = {"uniform", "normal", "exponential", "log_normal", "cauchy", "geometric", "random"}
_NOISE = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "uniform", "normal", "exponential"}
"""Of those, what makes random numbers of nothing."""
_COPIED = 1 << 24  # entries of a batch that is kept as it was
_MANY = 8  # random numbers in a tensor that are no chance when they come again


@dataclass(eq=False)
class Record(TorchFunctionMode):
    """Every call that something with a gradient goes into, from `begin` on. `failed` is what went wrong in here: from
    there on nothing is noted, and the user's calls go on.
    """

    paused: int = 0
    on: bool = False  # whether calls are noted
    keeps_gradients: bool = False  # whether what is done to gradients is noted too
    made: Any = field(default_factory=WeakTensorKeyDictionary)
    held: Any = field(default_factory=WeakTensorKeyDictionary)
    written: Written = field(default_factory=Written)
    assigned: list[Node] = field(default_factory=list)  # calls that put another gradient in place
    origins: Origins = field(default_factory=Origins)
    draws: dict[Place, list[int]] = field(default_factory=dict)
    failed: Exception | None = None
    reads: int = 0  # how often a gradient was looked at, other than to clear it
    differentiated: tuple[Any, Place] | None = None  # what torch.autograd.grad was called on last, and where
    order: int = 0
    since: int = 0  # the last call before the last backward pass

    def __post_init__(self) -> None:
        super().__init__()
        self._random = Randomness(*torch_generators())

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling() or self.paused or not self.on:  # a compiler sees no watcher
            return function(*args, **kwargs)
        then = self.ours(lambda: self._before(function, args, kwargs))
        result = function(*args, **kwargs)
        if then is not None:
            self.ours(lambda: then(result))
        return result

    def ours(self, run: Callable[[], T]) -> T | None:
        """What we do beside a call of the user's; None where it fails, which is no affair of the user's code."""
        try:
            return run()
        except Exception as error:  # ours, or of a tensor class that will not be looked at
            self.failed, self.on = error, False
            return None

    @contextmanager
    def off(self) -> Iterator[None]:
        """Nothing is noted within; torch does not even know that somebody watches, where nobody else does."""
        top = torch._C._len_torch_function_stack()
        mine = top and torch._C._get_function_stack_at(top - 1) is self
        if mine:
            torch._C._pop_torch_function_stack()
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1
            if mine and self.on:  # it may have come to its end within
                torch._C._push_on_torch_function_stack(self)

    def begin(self) -> None:
        """From now on calls are noted, until `end`."""
        self.on = True
        torch._C._push_on_torch_function_stack(self)

    def end(self) -> None:
        """Nothing is noted any more, and what was noted is let go of."""
        self.on = self.keeps_gradients = False
        for kept in (self.made, self.held, self.written, self.assigned):
            kept.clear()
        self.origins = Origins()
        top = torch._C._len_torch_function_stack()
        if top and torch._C._get_function_stack_at(top - 1) is self:  # else it stays, and passes everything on
            torch._C._pop_torch_function_stack()

    def moved(self, parameters: Iterable[torch.Tensor]) -> None:
        """These have other values now: what was made from them is data from here on."""
        stale = {id(parameter) for parameter in parameters}
        known: dict[int, bool] = {}
        for tensor, made in list(self.made.items()):
            if depends(made.node, stale, known):
                del self.made[tensor]
        self.written.forget(lambda node: depends(node, stale, known))
        self.keeps_gradients = False
        self.assigned.clear()

    def whole(self, call: Callable[..., Any], shown: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is run again as Python, whatever happens within. `shown` is what is called again."""
        node = None
        if not self.paused and self.on and torch.is_grad_enabled():
            node = self.ours(lambda: self._node(shown, args, kwargs, whole=True))
        spared = [] if node is None else self.ours(lambda: _copies(self.held, (args, kwargs))) or []
        with self.off():
            result = call(*args, **kwargs)
        if node is not None:
            for tensor, held, version, copy in spared:
                if tensor._version != version:  # the module has written to what it was given
                    held.tensor = copy
                    self.held.pop(tensor, None)
            self.ours(lambda: self._returned(node, result, []))
            self.ours(lambda: self._left_behind(node))
        return result

    def _left_behind(self, node: Node) -> None:
        """What a module keeps of its pass, as an auxiliary loss, is made by it too."""
        for module in node.call.modules() if isinstance(node.call, nn.Module) else ():
            for key, value in vars(module).items():
                live = isinstance(value, torch.Tensor) and value.requires_grad and not value.is_leaf
                if live and value not in self.made:
                    self.made[value] = Made(node, (("of", (module, key)),))

    def passed(self, parameters: Iterable[torch.Tensor]) -> None:
        """A backward pass has given these their gradients: what is done to them from here on is noted."""
        self.keeps_gradients, self.since = True, self.order
        self.assigned.clear()
        for parameter in parameters:
            if parameter.grad is not None:
                self.written.forget_of(parameter.grad)

    def writers(self, tensors: Iterable[torch.Tensor]) -> list[Node]:
        """The calls since the last backward pass that wrote to these, or put them where they are."""
        last = [node for tensor in tensors if (node := self.written.by(tensor)) is not None]
        return [
            node for node in {id(node): node for node in [*last, *self.assigned]}.values() if node.order > self.since
        ]

    def _before(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Then | None:
        name = getattr(function, "__name__", "")
        draws = name.rstrip("_") in _DRAWING or name.rstrip("_") in _FILLING
        if name == "__get__":
            return self._property(function, args, kwargs)
        if name in _ASKING:
            return None
        if function is torch.autograd.grad:
            self.differentiated = (args[0] if args else kwargs.get("outputs"), find_place())
        if name == "__set__" and self.keeps_gradients and function == _SET_GRADIENT and _is_parameter(args[0]):
            self.assigned.append(self._node(function, args, kwargs))
            return None
        writes = _writes(name, kwargs)
        if any(map(self._live, (tensor for _, tensor in tensors_in((args, kwargs), 3)))):
            return self._note(function, args, kwargs, draws=draws, writes=writes)
        if writes:
            self._spare(args, kwargs)

        def then(result: Any) -> None:
            self.origins.note(name, args, kwargs, result)
            if name.rstrip("_") in _NOISE:
                self._drawn(result)

        return then

    def _drawn(self, result: Any) -> None:
        """Random numbers that are data: by the line that draws them, a hash of each."""
        if isinstance(result, torch.Tensor) and not result.is_nested and result.numel() >= _MANY:
            numbers = result.detach().cpu().contiguous()
            if bool((numbers != numbers.flatten()[0]).any()):
                bits = numbers.view(torch.uint8) if numbers.dtype is torch.bfloat16 else numbers
                self.draws.setdefault(find_place(), []).append(hash(bits.numpy().tobytes()))

    def _property(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Then | None:
        if function == _GET_GRADIENT and not _clears():
            self.reads += 1
        if not (self.keeps_gradients if function == _GET_GRADIENT else self._live(args[0])):
            return None

        def then(result: Any) -> None:
            if isinstance(result, torch.Tensor) and result not in self.made:
                self.made[result] = Made(self._node(function, args, kwargs), ())

        return then

    def _live(self, tensor: torch.Tensor) -> bool:
        """Whether it is on the way from a parameter: where no gradient is kept, only what was on it before."""
        return tensor in self.made or (torch.is_grad_enabled() and tensor.requires_grad)

    def _note(self, call: Any, args: Any, kwargs: Any, *, draws: bool, writes: bool) -> Then | None:
        targets = _targets(args, kwargs) if writes else []
        if writes and all(_is_parameter(target) or self._within_parameter(target) for target in targets):
            return None
        for target in targets:
            if target not in self.made:
                self._spare((target,), {})
                self._begin(target)
        node = self._node(call, args, kwargs, draws=draws)
        return lambda result: self._returned(node, result, targets)

    def _within_parameter(self, target: torch.Tensor) -> bool:
        """Whether it is a parameter's own memory, as `.data` shows it: to write there makes nothing of it."""
        made = self.made.get(target)
        source = made.node.args[0] if made is not None and made.node.args else None
        return (
            isinstance(source, Held) and _is_parameter(source.tensor) and memory_of(source.tensor) == memory_of(target)
        )

    def _begin(self, target: torch.Tensor) -> None:
        """A tensor of data that is about to be written to by what is on the way: it starts as it is now."""
        held = Held(target.detach().clone())
        self.made[target] = Made(Node(self._next(), torch.clone, (held,), {}, setting(), find_place()), ())

    def _next(self) -> int:
        self.order += 1
        return self.order

    def _node(self, call: Any, args: Any, kwargs: Any, *, draws: bool = False, whole: bool = False) -> Node:
        after: dict[int, Node] = {}

        def stand_in(tensor: torch.Tensor) -> Any:
            writer = self.written.by(tensor)
            if writer is not None:
                after[id(writer)] = writer
            known = self.made.get(tensor)
            if known is not None and not _is_parameter(tensor):  # a leaf is trained, whatever it was made of
                return known
            if tensor not in self.held:
                self.held[tensor] = Held(tensor)
            return self.held[tensor]

        args, kwargs = mapped((args, kwargs), stand_in, _is_tensor)
        states = self._random.states() if draws or whole else None
        kept = Kept.of(call) if isinstance(call, nn.Module) else None
        before = tuple(after.values())
        return Node(self._next(), call, args, kwargs, setting(), find_place(), states, kept, before, whole)

    def _returned(self, node: Node, result: Any, targets: list[torch.Tensor]) -> None:
        for target in targets:
            self.written.note(target, node)
        for path, tensor in tensors_in(result):
            if _is_parameter(tensor):  # which is itself, whoever hands it on
                continue
            self.made[tensor] = Made(node, path)

    def _spare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Data that are about to be written to are kept as they were for the calls that had them."""
        memories = {memory_of(target) for target in _targets(args, kwargs)}
        for tensor, held in list(self.held.items()):
            if held.tensor is tensor and not _is_parameter(tensor) and memory_of(tensor) in memories:
                held.tensor = tensor.detach().clone().requires_grad_(tensor.requires_grad)
                del self.held[tensor]


def _copies(known: Any, given: Any) -> list[tuple[torch.Tensor, Held, int, torch.Tensor]]:
    """Of data that a module is given, with their versions: it may write to them."""
    data = [tensor for _, tensor in tensors_in(given) if tensor in known and not tensor.requires_grad]
    small = [tensor for tensor in data if not tensor.is_nested and tensor.numel() <= _COPIED]
    return [(tensor, known[tensor], tensor._version, tensor.detach().clone()) for tensor in small]


def _clears() -> bool:
    """Whether the call in hand is part of a zero_grad."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("wellposed."):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "zero_grad"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _is_parameter(tensor: torch.Tensor) -> bool:
    return tensor.is_leaf and tensor.requires_grad


def _writes(name: str, kwargs: dict[str, Any]) -> bool:
    return (name.endswith("_") and not name.endswith("__")) or name in _WRITING or "out" in kwargs


def _targets(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """What a call writes to: its first argument, which may be a list of tensors, or what it is told to."""
    return [tensor for _, tensor in tensors_in((args[:1], kwargs.get("out")), 3)]
