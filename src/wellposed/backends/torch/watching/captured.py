"""A loss as the script computed it, and the problem that it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.backup import reachable_restored
from wellposed.backends.torch.state import torch_generators
from wellposed.backends.torch.watching.as_code import AsCode
from wellposed.backends.torch.watching.movement import some_of
from wellposed.backends.torch.watching.multiples import peeled
from wellposed.backends.torch.watching.names import Names
from wellposed.backends.torch.watching.nodes import Kept, Made, Place
from wellposed.backends.torch.watching.passed_on import PassedOn
from wellposed.backends.torch.watching.plan import Given, Slot, nodes_of
from wellposed.backends.torch.watching.problem import CapturedProblem, Tail
from wellposed.backends.torch.watching.replay import Replay, replay_of
from wellposed.backends.torch.watching.rows import Origins, apart
from wellposed.backends.torch.watching.trees import mapped
from wellposed.numerics.arrays import Array
from wellposed.users_code import Raised, attempt

_UNLIKE = 0.05  # of a gradient: compiled code and other formats round otherwise, by less
_NEAR = 0.3  # of a ratio of two losses, which may have drawn other random numbers


@dataclass
class Captured:
    """A loss that a backward pass began at. `unlike` says in words how a replay differs from it, "" where it does not;
    `factor` is what the script multiplied the loss by before.
    """

    replay: Replay
    place: Place
    model: nn.Module
    roots: list[int]  # the calls of modules that are trained, by their place in the replay
    leaves: list[torch.Tensor]
    factor: float
    loss: float
    kept: list[Kept]
    states: list[Any]
    whole: Replay
    others: dict[int, str]  # what leaves are called that the model does not have, by identity
    fresh: set[int]  # the leaves whose gradient is of this loss alone
    unlike: str = ""
    number: int = 0  # of the backward pass
    step: int = 0  # the number of steps before it
    passed_on: PassedOn | None = None  # what is done to its gradient before the step
    samples: dict[int, torch.Tensor] = field(default_factory=dict)  # some entries of the gradient, by its leaf

    @property
    def shown(self) -> str:
        """Its line, as "train.py:12"."""
        return self.place.shown

    @property
    def pairs(self) -> tuple[Array, Array] | None:
        """Its rows of inputs with their targets, where it has one array of each."""
        inputs, targets = self._data()
        if len(inputs) != 1 or len(targets) != 1 or len(inputs[0].tensor) != len(targets[0].tensor):
            return None
        one, other = (given.tensor.detach().to_dense().cpu() for given in (inputs[0], targets[0]))
        return as_numpy(one), as_numpy(other)

    @property
    def modules(self) -> list[nn.Module]:
        """The modules that are called on the way and get a gradient."""
        called: list[Any] = [self.replay.calls[root].function for root in self.roots]
        return called

    def rows_apart(self, origins: Origins) -> bool:
        """Whether inputs and what they are held against were taken from other rows of their data."""
        inputs, targets = self._data()
        known = [rows for given in inputs if (rows := origins.of(given.held.tensor))]
        return any(apart(known, origins.of(given.held.tensor)) for given in targets)

    @property
    def names(self) -> dict[int, str]:
        """What its leaves are called, by identity."""
        known = {id(p): name for name, p in self.model.named_parameters()}
        return {id(leaf): known.get(id(leaf)) or self.others.get(id(leaf), "") for leaf in self.leaves}

    def average(self) -> bool | None:
        """Whether it is a mean over rows: with every row given twice it stays what it is. None where it does neither
        that nor double.
        """
        given = {one.key: one for call in self.replay.calls for one in _given(call) if _is_data(one)}
        inputs, _ = self._data()
        if not inputs:
            return None
        rows = len(inputs[0].tensor)
        twice = {key: torch.cat([one.tensor] * 2) for key, one in given.items() if len(one.tensor) % rows == 0}
        with self.as_it_was(), torch.no_grad():
            losses = attempt(lambda: [float(self.replay.run(put=put)) for put in ({}, twice)])
        if isinstance(losses, Raised) or not losses[0]:
            return None
        ratio = losses[1] / losses[0]
        return True if abs(ratio - 1) < _NEAR else False if abs(ratio - 2) < _NEAR else None

    def verify(self, loss: torch.Tensor) -> None:
        """Holds a replay against the loss, and its gradient against the one that the script's own backward pass has
        left, where that was the first.
        """
        with reachable_restored(self.whole, but=self.leaves), self.as_it_was(), torch.enable_grad():
            made = attempt(lambda: self.whole(self.model))
            if isinstance(made, Raised):
                self.unlike = f"run again, it raises {made.line}"
                return
            now = float(made.detach().real.sum())
            then = self.loss * self.factor if self.whole.weight is not None else float(loss.detach().real.sum())
            if now != then and now == now:
                self.unlike = f"run again, it is {now:.9g} and not {then:.9g}"
                return
            gradients = attempt(
                lambda: torch.autograd.grad(made, self.leaves, torch.ones_like(made), allow_unused=True)
            )
        if isinstance(gradients, Raised):
            self.unlike = f"run again, its backward pass raises {gradients.line}"
            return
        for leaf, gradient in zip(self.leaves, gradients, strict=True):
            if id(leaf) in self.fresh and not _same(leaf.grad, gradient) and not _touched(leaf):
                self.unlike = "run again, its gradient is another one"

    def sample(self) -> None:
        """Some entries of the script's own gradient, where it is of this loss alone."""
        self.samples = {
            id(leaf): some_of(leaf.grad.detach().to_dense()).double()
            for leaf in self.leaves
            if id(leaf) in self.fresh and leaf.grad is not None and not _touched(leaf)
        }

    def problem(self, optimizer: Any, trained: set[int]) -> CapturedProblem:
        """With the data that its modules were called on as inputs, and those that are used after them as targets;
        `trained` are the parameters that the script's other optimizers have.
        """
        inputs, targets = self._data()
        whole = self._whole()
        if whole is not None:
            tail = Tail(self.replay, self.roots[0], targets)
            problem = CapturedProblem(self.model, tail, (whole, _one(targets)), optimizer=optimizer)
        else:
            named = {"inputs": _one(inputs), "targets": _one(targets)}
            problem = CapturedProblem(self.model, self.replay, **named, optimizer=optimizer)
        problem.trained_elsewhere, problem.passed_on = frozenset(trained), self.passed_on
        return problem

    def differs(self, problem: CapturedProblem) -> str:
        """In words, where the problem has another gradient than the script; "" where not, or where it is large."""
        if problem.large:
            return ""
        gradient = problem.gradient(problem.theta())
        names = {id(parameter): name for name, parameter in problem.named().items()}
        apart = whole = 0.0
        for key, sample in self.samples.items():
            if key in names and bool(sample.isfinite().all()):
                part = gradient[names[key]]
                found = torch.zeros(()) if part is None else self.factor * some_of(torch.as_tensor(part))
                apart += float((found - sample).square().sum())
                whole += float(sample.square().sum())
        return "its gradient is not the script's" if apart > _UNLIKE**2 * whole else ""

    def as_code(self) -> tuple[list[str], list[Any], bool]:
        """The body of the loss as a function, the objects that it names as `held`, and whether it is a function of
        outputs and targets; else it is one of the model.
        """
        inputs, targets = self._data()
        paired = self._whole() is not None
        named = _named("targets", targets) | ({} if paired else _named("inputs", inputs))
        code = AsCode(self.replay.calls, self.model, {self.roots[0]: "outputs"} if paired else {}, named)
        return [*code.lines, f"return {code.result(self.replay.result)}"], code.held, paired

    @property
    def data(self) -> tuple[Any, Any]:
        """Inputs and targets."""
        inputs, targets = self._data()
        whole = self._whole()
        return _one(inputs) if whole is None else whole, _one(targets)

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Random numbers, buffers and modes as the forward pass found them; afterwards as they are now."""
        random = Randomness(*torch_generators())
        now = random.states(), [kept.now() for kept in self.kept]
        try:
            self.go_back()
            yield
        finally:
            random.put(now[0])
            for kept in now[1]:
                kept.put(copied=False)

    def go_back(self) -> None:
        """To random numbers, buffers and modes as the forward pass found them."""
        for kept in self.kept:
            kept.put()
        Randomness(*torch_generators()).put(self.states)

    def put_back(self, optimizer: Any) -> Callable[[], None]:
        """What puts parameters, random numbers, buffers, modes and the optimizer back to where they are now, the
        forward pass not yet made.
        """
        values = [(leaf, leaf.detach().clone()) for leaf in self.leaves]
        state = None if optimizer is None else copy.deepcopy(optimizer.state_dict())

        def put() -> None:
            with torch.no_grad():
                for leaf, value in values:
                    leaf.copy_(value)
                    leaf.grad = None
            if state is not None:
                optimizer.load_state_dict(state)
            self.go_back()

        return put

    def _whole(self) -> Any:
        """What the model is called on, where the loss is a function of its outputs and of data."""
        if len(self.roots) != 1 or self.replay.calls[self.roots[0]].function is not self.model:
            return None
        call = self.replay.calls[self.roots[0]]
        if call.setting.autocast:
            return None
        if any(isinstance(part, Slot) for part in _parts_of((call.args, call.kwargs))):
            return None
        args, kwargs = mapped(
            (call.args, call.kwargs), lambda given: given.tensor, lambda part: isinstance(part, Given)
        )
        if not kwargs:
            return args[0] if len(args) == 1 and isinstance(args[0], torch.Tensor) else args
        return kwargs if not args else None

    def _data(self) -> tuple[list[Given], list[Given]]:
        calls = self.replay.calls
        inputs: list[Given] = []
        for root in self.roots:
            inputs += [given for given in _given(calls[root]) if given not in inputs and _is_data(given)]
        rows = {len(given.tensor) for given in inputs}
        places = {given.tensor.shape[0] * given.tensor.shape[1] for given in inputs if given.tensor.dim() > 1}
        targets: list[Given] = []
        for index, call in enumerate(calls):
            if index not in self.roots:
                targets += [
                    given
                    for given in _given(call)
                    if given not in inputs
                    and given not in targets
                    and _is_data(given)
                    and (len(given.tensor) in rows or len(given.tensor) in places)
                ]
        return inputs, targets


def _named(what: str, given: list[Given]) -> dict[int, str]:
    """How the code of a loss calls them, by key."""
    return {one.key: what if len(given) == 1 else f"{what}[{place}]" for place, one in enumerate(given)}


def _one(given: list[Given]) -> Any:
    tensors = tuple(one.tensor for one in given)
    return tensors[0] if len(tensors) == 1 else tensors


def _given(call: Any) -> list[Given]:
    return [part for part in _parts_of((call.args, call.kwargs)) if isinstance(part, Given)]


def _parts_of(value: Any) -> list[Any]:
    found: list[Any] = []

    def see(part: Any) -> Any:
        found.append(part)
        return part

    mapped(value, see, lambda part: isinstance(part, Given | Slot))
    return found


def _is_data(given: Given) -> bool:
    tensor = given.tensor
    return (
        not (tensor.is_leaf and tensor.requires_grad and isinstance(tensor, nn.Parameter))
        and tensor.dim() > 0
        and tensor.numel() > 1
    )


def _touched(leaf: torch.Tensor) -> bool:
    """Whether what the backward pass leaves is not its gradient alone: hooks are called then, or ranks reduce."""
    ranks = torch.distributed.is_available() and torch.distributed.is_initialized()
    several = ranks and torch.distributed.get_world_size() > 1
    return several or bool(getattr(leaf, "_post_accumulate_grad_hooks", None))


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.layout is not torch.strided or other.layout is not torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return torch.equal(one, other) or bool((one.isnan() == other.isnan()).all() and not one.isfinite().all())


def capture(
    made: Made,
    loss: torch.Tensor,
    weight: torch.Tensor | None,
    graph: list[torch.Tensor],
    fresh: set[int],
    place: Place,
    names: Names,
) -> Captured:
    """`graph` are the leaves that a backward pass from the loss reaches, `fresh` those that had no gradient before;
    `weight` is what the pass weights it by, which makes a number of it.
    """
    inner, factor = peeled(made) if weight is None else (made, 1.0)
    states = next((node.states for node in nodes_of([inner.node]) if node.states is not None), None)
    if states is None:
        states = Randomness(*torch_generators()).states()
    replay, nodes = replay_of(inner, states, weight)
    own = {id(leaf) for leaf in graph}
    roots = [
        index
        for index, node in enumerate(nodes)
        if isinstance(node.call, nn.Module) and any(id(p) in own for p in node.call.parameters())
    ]
    called: list[Any] = [nodes[index].call for index in roots]
    model = _model(called, graph, names)
    kept: dict[int, Kept] = {}
    for node in nodes:
        if node.kept is not None:
            kept.setdefault(id(node.kept.module), node.kept)
    for leaf in graph:
        name = names.of(leaf)
        if name.isidentifier() and not hasattr(replay, name):
            setattr(replay, name, leaf)
    return Captured(
        replay,
        place,
        model,
        roots,
        graph,
        factor,
        float((loss if weight is None else loss * weight).detach().real.sum()) / factor,
        list(kept.values()),
        states,
        replay if inner is made else replay_of(made, states, weight)[0],
        names.parameters(),
        fresh,
    )


def _model(roots: list[nn.Module], graph: list[torch.Tensor], names: Names) -> nn.Module:
    """What holds them all, as the user calls it; else a model of their names."""
    distinct = list({id(root): root for root in roots}.values())
    if len(distinct) == 1:
        return distinct[0]
    holders = []
    for name, module in names.modules():
        inside = {id(part) for part in module.modules()}
        if distinct and all(id(root) in inside for root in distinct):
            holders.append((sum(1 for _ in module.parameters()), name, module))
    if holders:
        return min(holders, key=lambda holder: holder[0])[2]
    together = nn.Module()
    if not distinct:  # tensors that no module has
        for number, leaf in enumerate(graph):
            together._parameters[_word(names.of(leaf)) or f"tensor{number}"] = leaf  # type: ignore[assignment]
    for number, root in enumerate(distinct):
        together.add_module(_word(names.of(root)) or f"module{number}", root)
    return together


def _word(name: str) -> str:
    """As the name of an attribute may be."""
    return "".join(char if char.isalnum() else "_" for char in name).strip("_")
