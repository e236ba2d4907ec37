"""What a trace and the parameters' roles say about a network as a whole: its branches, its depth, what is behind each
layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from wellposed.backends.initializable import Parameter
from wellposed.backends.measured import Operation
from wellposed.numerics.activations import Activation, odd_part
from wellposed.numerics.gaussian import Expectations, expectations
from wellposed.signals.post_dominators import readers_of
from wellposed.signals.site import Site
from wellposed.signals.trace import WEIGHTED, Trace

_PROBE = np.linspace(-8.0, 8.0, 65)


def values_of(phi: Activation) -> bytes:
    """What tells one activation from another: its values."""
    with np.errstate(all="ignore"):
        return np.asarray(phi(_PROBE.copy()), dtype=np.float32).tobytes()


@dataclass(frozen=True)
class Network:
    """The sites of a trace by the weight they use first, and the parameters."""

    trace: Trace
    parameters: Mapping[str, Parameter]
    sizes: Mapping[str, float] = field(default_factory=dict)  # root mean squares of the weights as they are
    points: dict[Any, Any] = field(default_factory=dict, repr=False)  # moments and operating points, each found once

    def moments(self, phi: Activation | None, q: float = 1.0, *, odd: bool = False) -> Expectations | None:
        """The moments of an activation, or of the odd part of it; None where there is none or they do not exist. Each
        computed once.
        """
        if phi is None:
            return None
        key = (values_of(phi), q, odd)
        if key not in self.points:
            at = expectations(odd_part(phi) if odd else phi, q)
            self.points[key] = at if np.isfinite(at.square) and at.square > 0 else None
        found: Expectations | None = self.points[key]
        return found

    @cached_property
    def readers(self) -> list[list[int]]:
        return readers_of(self.trace.operations)

    @cached_property
    def _by_reader(self) -> dict[int, Site]:
        return {site.reader: site for site in self.sites.values() if site.reader >= 0}

    @cached_property
    def by_index(self) -> dict[int, Site]:
        """The first uses, by their operation."""
        return {site.index: site for site in self.sites.values()}

    def previous(self, site: Site) -> Site | None:
        """The layer whose activation a layer reads directly, and nothing else."""
        return self._by_reader.get(site.layer.inputs[0]) if len(site.layer.inputs) == 1 else None

    @cached_property
    def sites(self) -> dict[str, Site]:
        """The first use of each weight."""
        found: dict[str, Site] = {}
        for site in self.trace.sites:
            if site.layer.weight is not None:
                found.setdefault(site.layer.weight.name, site)
        return found

    @cached_property
    def branches(self) -> dict[int, tuple[int, ...]]:
        """For the weighted operation at the end of each residual branch those of the whole branch, first to last.

        A branch whose end is normalised has none: the normalisation sets its size.
        """
        found: dict[int, tuple[int, ...]] = {}
        for _add, _stream, branch in self.trace.joins:
            inside = self._before(branch)
            end = next((one for one in inside if self._operation(one).kind in (*WEIGHTED, "norm")), None)
            if end is not None and self._operation(end).kind in WEIGHTED:
                found[end] = tuple(one for one in reversed(inside) if self._operation(one).kind in WEIGHTED)
        return found

    def _operation(self, index: int) -> Operation:
        return self.trace.operations[index]

    def _before(self, branch: int) -> list[int]:
        """The operations of a branch, last first, up to the stream."""
        seen: set[int] = set()
        left = [branch]
        while left:
            index = left.pop()
            if index in seen or self.trace.passed[index]:
                continue
            seen.add(index)
            left.extend(self._operation(index).inputs)
        return sorted(seen, reverse=True)

    @cached_property
    def chain(self) -> tuple[Site, ...]:
        """The layers of a plain network: no sums, no normalisation, one after the other. Empty for any other
        network.
        """
        trace = self.trace
        plain = not any(operation.kind in ("add", "norm", "attention", "recurrent") for operation in trace.operations)
        sites = tuple(site for site in trace.trunk if site.layer.kind in ("linear", "conv"))
        return sites if plain and len(sites) == len(self.sites) == len(trace.sites) else ()

    @cached_property
    def width(self) -> float:
        """How many inputs a layer of a plain network has behind the first, in the middle."""
        return float(
            np.median([site.layer.weight.fan_in for site in self.chain[1:] if site.layer.weight is not None] or [1.0])
        )

    @cached_property
    def depth(self) -> int:
        """How many activations a plain network passes one after the other."""
        return sum(site.activation is not None for site in self.chain)
