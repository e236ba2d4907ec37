"""From recorded operations to sites: one per weighted layer, in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellposed.backends.protocol import Operation, Run, Signal
from wellposed.numerics.activations import Activation
from wellposed.numerics.arrays import Vector


@dataclass(frozen=True)
class Site:
    """A weighted layer and the place behind it where its signal is measured.

    The place is the layer's output or, where a normalisation reads it directly, the normalisation's:
    what comes before one has an arbitrary size. `follower` is the kind of operation that reads the
    place ("" for none), `function` that activation's name, `activation` itself elementwise.
    `before` is the activation that the layer reads directly.
    """

    layer: Operation
    place: Operation
    normalised: bool
    follower: str
    function: str
    activation: Activation | None
    is_output: bool
    before: Operation | None

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def forward(self) -> Signal:
        return self.place.output

    @property
    def gradient(self) -> float:
        """The norm per example of the loss's gradient at the place; 0 where none arrives, NaN where it is not finite."""
        return self.place.gradient.norm if self.place.gradient is not None else 0.0

    @property
    def trained(self) -> bool:
        """Whether a gradient could arrive: what lies before frozen layers alone has none by right."""
        return self.place.gradient is not None


@dataclass(frozen=True)
class Trace:
    """All weighted layers, and the trunk: the places that every way from the input to the output passes, in order.

    In a plain network the trunk is all layers; in a residual one the sums along the stream and the layers
    before and after them, without the branches.
    """

    sites: tuple[Site, ...]
    trunk: tuple[Site, ...]

    @property
    def hidden(self) -> tuple[Site, ...]:
        return tuple(site for site in self.sites if not site.is_output)


def trace_of(run: Run) -> Trace:
    """The sites of a run, in the order in which they run."""
    operations = run.operations
    readers: dict[int, list[int]] = {}
    for index, operation in enumerate(operations):
        for source in operation.inputs:
            readers.setdefault(source, []).append(index)
    leads_to_weight = _leads_to_weight(operations)
    passed_by_all = _passed_by_all(operations)
    sites, trunk = [], []
    for index, operation in enumerate(operations):
        weighted = operation.kind in ("linear", "conv")
        if not weighted and operation.kind != "add":
            continue
        site = _site(operations, readers, index, not leads_to_weight[index])
        if weighted:
            sites.append(site)
        if passed_by_all[index]:
            trunk.append(site)
    return Trace(tuple(sites), tuple(trunk))


def _site(operations: Sequence[Operation], readers: dict[int, list[int]], index: int, last: bool) -> Site:
    operation, place = operations[index], index
    following = readers.get(place, [])
    normalised = len(following) == 1 and operations[following[0]].kind == "norm"
    if normalised:
        place = following[0]
        following = readers.get(place, [])
    kinds = [operations[reader].kind for reader in following]
    kind: str = next((k for k in ("activation", "add", "norm") if k in kinds), kinds[0] if kinds else "")
    acts = [operations[reader] for reader in following if operations[reader].kind == "activation"]
    function, activation = (acts[0].function.rstrip("_"), acts[0].activation) if acts else ("", None)
    sources = [operations[source] for source in operation.inputs]
    before = sources[0] if len(sources) == 1 and sources[0].kind == "activation" else None
    return Site(operation, operations[place], normalised, kind, function, activation, last, before)


def _passed_by_all(operations: Sequence[Operation]) -> list[bool]:
    """Whether no connection, from an earlier operation or from the inputs, leads past an operation to a later one."""
    leads_past = [False] * len(operations)
    for index, operation in enumerate(operations):
        for between in range(min(operation.inputs, default=-1) + 1, index):
            leads_past[between] = True
    return [not past for past in leads_past]


def _leads_to_weight(operations: Sequence[Operation]) -> list[bool]:
    leads = [False] * len(operations)
    for index in reversed(range(len(operations))):
        counts = leads[index] or operations[index].kind in ("linear", "conv")
        for source in operations[index].inputs:
            leads[source] = leads[source] or counts
    return leads


@dataclass(frozen=True)
class Growth:
    """How a size changes from site to site: `factors[i]` = size[i + 1] / size[i], length L - 1.

    `total` is their product. `typical` is their geometric mean. `outlier` is the index of the one factor that makes the total
    what it is while the others together stay within a factor of 30; None where the trend is shared.
    """

    factors: Vector
    outlier: int | None

    @property
    def total(self) -> float:
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(np.sum(np.log(self.factors))))

    @property
    def typical(self) -> float:
        return float(np.exp(np.mean(np.log(self.factors))))


def growth(sizes: Sequence[float]) -> Growth:
    """Growth along positive, finite sizes of length L >= 2."""
    steps = np.diff(np.log(np.asarray(sizes, dtype=np.float64)))
    worst = int(np.argmax(np.abs(steps)))
    rest = float(steps.sum() - steps[worst])
    alone = abs(rest) < np.log(30) and abs(steps[worst]) > np.log(30)
    return Growth(np.exp(steps), worst if alone else None)
