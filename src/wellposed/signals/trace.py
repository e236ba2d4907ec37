"""What a run shows: its layers in order, the trunk through all of them, branches, loops, and theory beside the
measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from wellposed.backends.measured import Operation, ParameterSize, Recurrence, Run, Signal
from wellposed.signals import post_dominators
from wellposed.signals.growth import Growth, growth
from wellposed.signals.site import Site
from wellposed.signals.theory import Depth, Expected, depth, expect

WEIGHTED = ("linear", "conv", "recurrent")
_LOOP, _STEADY = 4, 10
_UNSCALED = 1.25


@dataclass(frozen=True, slots=True)
class Branch:
    """A residual branch where it joins the stream: the root mean squares of both, and of their sum.

    The branch's is that of the last operation seen in it: a normalisation written out behind that one may have changed
    it.
    """

    name: str
    stream: float
    branch: float
    joined: float

    @property
    def share(self) -> float:
        """The branch's size over the stream's."""
        return self.branch / self.stream if self.stream > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Loop:
    """One layer used again and again, each time on what came of the time before: `gradients` are the norms at its
    output, by use.
    """

    name: str
    gradients: tuple[float, ...]

    @property
    def arrived(self) -> tuple[float, ...]:
        """The gradients of the last uses, as far back as any arrives: earlier ones may have become 0 in their dtype."""
        lost = [index for index, size in enumerate(self.gradients) if not size > 0]
        return self.gradients[lost[-1] + 1 :] if lost else self.gradients

    @property
    def factor(self) -> float:
        """Per step back in time; NaN where fewer than two uses have a gradient."""
        known = self.arrived
        return float((known[0] / known[-1]) ** (1 / (len(known) - 1))) if len(known) > 1 else float("nan")

    @property
    def steady(self) -> bool:
        """Whether the gradient changes by about the same factor at each step, as through one map again and again."""
        if len(self.arrived) < _STEADY:
            return False
        steps = np.diff(np.log(self.arrived))
        return bool(abs(steps.mean()) > 3 * steps.std() / np.sqrt(steps.size))


@dataclass(frozen=True)
class Trace:
    """One forward and backward pass, in the order in which layers ran.

    `sites` are all weighted layers. `trunk` are the places that every way from an input to the loss passes: in a plain
    network all layers, in a residual one the sums along the stream and the layers before and after them, without the
    branches; of several inputs, from the one with most of them. `operations` is everything that was recorded, `passed`
    whether every way passes it, `parameters` the sizes of weights and of their gradients, `updates` the size of the
    optimizer's first step over that of the weights, where an optimizer is known.
    """

    sites: tuple[Site, ...]
    trunk: tuple[Site, ...]
    operations: tuple[Operation, ...] = ()
    parameters: Mapping[str, ParameterSize] = field(default_factory=dict)
    recurrences: tuple[Recurrence, ...] = ()
    updates: Mapping[str, float] = field(default_factory=dict)
    passed: tuple[bool, ...] = ()
    dtype: str = "float32"

    @property
    def hidden(self) -> tuple[Site, ...]:
        return tuple(site for site in self.sites if not site.is_output)

    @property
    def trained(self) -> tuple[Site, ...]:
        """The places of the trunk that a gradient could reach."""
        # A layer of another model, that is not trained here, has none by right: as a generator behind detach().
        return tuple(site for site in self.trunk if site.trained and (site.gradient != 0 or self._own(site)))

    def _own(self, site: Site) -> bool:
        """Whether the layer's weight is one of the problem's parameters, or it is a sum."""
        use = site.layer.weight
        return site.layer.kind not in WEIGHTED or (use is not None and use.name in self.parameters)

    @cached_property
    def compared(self) -> tuple[Site, ...]:
        """The trained trunk without the output layer, whose size is a choice and scales the gradient of all others
        alike.
        """
        hidden = tuple(site for site in self.trained if not site.is_output)
        return hidden if len(hidden) > 1 else self.trained

    @cached_property
    def norms(self) -> int:
        """How many normalisations every way passes."""
        return sum(
            operation.kind == "norm" and passed for operation, passed in zip(self.operations, self.passed, strict=True)
        )

    @cached_property
    def theory(self) -> tuple[Expected, ...]:
        """What mean-field theory expects at each site of the trunk."""
        return expect(self.trunk, self.parameters)

    @cached_property
    def depth(self) -> Depth | None:
        """How deep a network of these layers can be, by theory."""
        return depth(self.theory)

    @cached_property
    def backward(self) -> Growth | None:
        """Growth of the gradient along the compared places, from the last back to the first; None where fewer than two
        have one.
        """
        sizes = [site.gradient for site in reversed(self.compared) if site.gradient > 0 and np.isfinite(site.gradient)]
        return growth(sizes) if len(sizes) > 1 else None

    @cached_property
    def forward(self) -> Growth | None:
        """Growth of the signal's standard deviation over the batch along the hidden trunk."""
        sizes = [site.forward.spread for site in self.carrying]
        return growth(sizes) if len(sizes) > 1 else None

    @cached_property
    def carrying(self) -> tuple[Site, ...]:
        """The hidden places of the trunk at which rows differ; at none that is not finite."""
        return tuple(site for site in self.trunk if not site.is_output and site.forward.batch_variance > 0)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Where the stream of a residual network takes in what a branch adds."""
        return tuple(
            Branch(add.name, self.operations[stream].output.rms, self.operations[branch].output.rms, add.output.rms)
            for add, stream, branch in self.joins
        )

    @cached_property
    def joins(self) -> tuple[tuple[Operation, int, int], ...]:
        """The sums of the stream and one branch, with the operations that both come from."""
        found = []
        for operation in self.operations:
            if operation.kind != "add" or len(operation.inputs) != 2:
                continue
            stream, branch = sorted(operation.inputs, key=lambda index: not self.passed[index])
            if self.passed[stream] and not self.passed[branch]:
                found.append((operation, stream, branch))
        return tuple(found)

    @cached_property
    def loops(self) -> tuple[Loop, ...]:
        """Layers used at least four times in a chain: recurrent networks written as a loop, and layers shared over
        depth.
        """
        uses: dict[str, list[int]] = {}
        for index, operation in enumerate(self.operations):
            if operation.kind in WEIGHTED:
                uses.setdefault(_layer(operation) or f"{operation.kind} {operation.name}", []).append(index)
        found = []
        for indices in uses.values():
            if len(indices) < _LOOP or not self._chained(indices):
                continue
            gradients = [self.operations[index].gradient for index in indices]
            if all(gradient is not None for gradient in gradients):
                found.append(Loop(self.operations[indices[0]].name, tuple(g.norm for g in gradients if g is not None)))
        return tuple(found)

    def _chained(self, indices: Sequence[int]) -> bool:
        reached = {indices[0]}
        for index in range(indices[0] + 1, indices[-1] + 1):
            if reached.intersection(self.operations[index].inputs):
                reached.add(index)
        return reached.issuperset(indices)


def trace_of(run: Run, dtype: str = "float32", updates: Mapping[str, float] | None = None) -> Trace:
    """The sites of a run, in the order in which they run."""
    operations = run.operations
    readers = post_dominators.readers_of(operations)
    leads_to_weight = _leads_to_weight(operations)
    way = set(post_dominators.trunk(operations, lambda operation: operation.kind in (*WEIGHTED, "add")))
    last = max((index for index, operation in enumerate(operations) if operation.kind in WEIGHTED), default=-1)
    sites, trunk = [], []
    for index, operation in enumerate(operations[: last + 1]):  # what comes after is the loss's own arithmetic
        weighted = operation.kind in WEIGHTED
        if not weighted and operation.kind != "add":
            continue
        site = _site(operations, readers, index, not leads_to_weight[index])
        if weighted:
            sites.append(site)
        if index in way:
            trunk.append(site)
    passed = tuple(index in way for index in range(len(operations)))
    return Trace(tuple(sites), _once(trunk), operations, run.parameters, run.recurrences, updates or {}, passed, dtype)


def _layer(operation: Operation) -> str:
    """What makes two uses the same layer's: its weight, or that of a recurrent cell its name; "" where that is not
    known.
    """
    if operation.weight is not None:
        return operation.weight.name
    return f"recurrent {operation.name}" if operation.kind == "recurrent" else ""


def _once(trunk: list[Site]) -> tuple[Site, ...]:
    """A layer that is used several times counts once, and all of them in the same pass: where the first of them gets
    most gradient.
    """
    uses: dict[str, list[Site]] = {}
    for site in trunk:
        uses.setdefault(_layer(site.layer) or f"operation {site.index}", []).append(site)
    chosen = [sites[0] for sites in uses.values() if len(sites) == 1]
    for times in {len(sites) for sites in uses.values()} - {1}:
        together = [sites for sites in uses.values() if len(sites) == times]
        best = max(range(times), key=lambda number: together[0][number].gradient)
        chosen += [sites[best] for sites in together]
    return tuple(sorted(chosen, key=lambda site: site.index))


def _site(operations: Sequence[Operation], readers: list[list[int]], index: int, last: bool) -> Site:
    operation, place = operations[index], index
    following = readers[place]
    normalised = len(following) == 1 and operations[following[0]].kind == "norm"
    if normalised:
        place = following[0]
        following = readers[place]
    kinds = [operations[reader].kind for reader in following]
    kind: str = next((k for k in ("activation", "add", "norm") if k in kinds), kinds[0] if kinds else "")
    acts = [reader for reader in following if operations[reader].kind == "activation"]
    reader = acts[0] if acts else -1
    function, activation = (
        (operations[reader].function.rstrip("_"), operations[reader].activation) if acts else ("", None)
    )
    sources = [operations[source] for source in operation.inputs]
    before = sources[0] if len(sources) == 1 and sources[0].kind == "activation" else None
    made = operations[reader].output if acts else None
    scale = _scale(operations[place].output, operations[reader].source) if acts else 1.0
    return Site(
        operation, operations[place], normalised, kind, function, activation, last, before, index, reader, made, scale
    )


def _scale(shown: Signal, read: Signal | None) -> float:
    """What an activation reads over what the layer before shows; a bias or dropout in between is no scale."""
    if read is None or not (read.finite and shown.finite and read.mean_square > 0 and shown.mean_square > 0):
        return 1.0
    ratio = read.rms / shown.rms
    return 1.0 if 1 / _UNSCALED < ratio < _UNSCALED else ratio


def _leads_to_weight(operations: Sequence[Operation]) -> list[bool]:
    leads = [False] * len(operations)
    for index in reversed(range(len(operations))):
        counts = leads[index] or operations[index].kind in WEIGHTED
        for source in operations[index].inputs:
            leads[source] = leads[source] or counts
    return leads
