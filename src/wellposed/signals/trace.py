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


@dataclass(frozen=True)
class Trace:
    sites: tuple[Site, ...]
    residual: bool

    @property
    def hidden(self) -> tuple[Site, ...]:
        return tuple(site for site in self.sites if not site.is_output)


def trace_of(run: Run) -> Trace:
    """The sites of a run. Names of layers that run more than once carry the count of the call."""
    operations = run.operations
    readers: dict[int, list[int]] = {}
    for index, operation in enumerate(operations):
        for source in operation.inputs:
            readers.setdefault(source, []).append(index)
    leads_to_weight = _leads_to_weight(operations)
    sites = []
    for index, operation in enumerate(operations):
        if operation.kind not in ("linear", "conv"):
            continue
        place = index
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
        last = not leads_to_weight[index]
        sites.append(Site(operation, operations[place], normalised, kind, function, activation, last, before))
    residual = any(operation.kind == "add" for operation in operations)
    return Trace(tuple(sites), residual)


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

    `total` is their product. `typical` is the median factor. `outlier` is the index of the one factor that makes the total
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
        return float(np.exp(np.median(np.log(self.factors))))


def growth(sizes: Sequence[float]) -> Growth:
    """Growth along positive, finite sizes of length L >= 2."""
    steps = np.diff(np.log(np.asarray(sizes, dtype=np.float64)))
    worst = int(np.argmax(np.abs(steps)))
    rest = float(steps.sum() - steps[worst])
    alone = abs(rest) < np.log(30) and abs(steps[worst]) > np.log(30)
    return Growth(np.exp(steps), worst if alone else None)
