"""The gradient on its way back through the trunk, as far as it can be compared from place to place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wellposed.findings import Finding
from wellposed.rule import Rule
from wellposed.signals.along_depth import Course, describe_change, explain_shallow
from wellposed.signals.growth import growth
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_MOST_STEPS = 3


@dataclass(frozen=True)
class Backward:
    """`sites` are the trained places of the trunk that a gradient reaches, from the input on; `first` the first one,
    reached or not. `broken` is where the gradient is not finite, `shallow` why there is nothing to compare; `later`
    says after how many small steps it was looked at, where it is exactly zero before.
    """

    sites: tuple[Site, ...] = ()
    first: Site | None = None
    later: str = ""
    broken: Site | None = None
    shallow: str = ""

    @property
    def silent(self) -> bool:
        """Whether nothing reaches the first place, and something a later one."""
        return bool(self.sites) and self.first is not None and self.first.gradient == 0

    def leave_open(self, rule: Rule) -> Finding | None:
        """The rule's finding where there are no two places to compare; None where there are."""
        if self.shallow:
            return rule.not_applicable(self.shallow)
        if not self.sites:
            return rule.undecided("No gradient reaches any layer: see WP505.")
        if len(self.sites) < 2 and not self.silent:
            return rule.not_applicable("Only one layer is left to compare.")
        return None

    def course(self, trace: Trace) -> Course:
        """From the last place back to the first."""
        path = list(reversed(self.sites))
        along = growth([site.gradient for site in path])
        evidence = describe_change("gradient norm, first layer over last", along, self.sites[0].name, trace)
        return Course("gradient", path, along, evidence, self.later)


def follow_back(trace: Trace, after_steps: Callable[[int], Trace]) -> Backward:
    """`after_steps(n)` gives the trace after n small steps of gradient descent.

    It is asked for only where the first layer's gradient is exactly zero, as it is behind zero-initialised branches and
    heads.
    """
    shallow = explain_shallow(trace)
    if shallow:
        return Backward(shallow=shallow)
    broken = next((site for site in reversed(trace.sites) if not np.isfinite(site.gradient)), None)
    if broken is not None:
        return Backward(broken=broken)
    trunk = trace.compared if _reached(trace.compared) else trace.trained
    if len(trunk) < 2:
        return Backward(shallow="Fewer than two layers are trained.")
    later = ""
    if trunk[0].gradient == 0 and _reached(trunk):
        # What a zero-initialised layer lets through after a step is as small as the step: compare only what lies before
        # it.
        behind = [site.gradient == 0 for site in trunk]
        for steps in range(1, _MOST_STEPS + 1):
            moved = after_steps(steps).trained[: len(trunk)]  # the output, where it was left out, comes last
            if moved[0].gradient != 0:
                break
        later = f", after {steps} small step{'s' if steps > 1 else ''} (it is exactly zero before)"
        trunk = tuple(s for s, zero in zip(moved, behind, strict=True) if zero) if moved[0].gradient != 0 else moved
    return Backward(tuple(_reached(trunk)), trunk[0], later)


def _reached(sites: Sequence[Site]) -> list[Site]:
    return [site for site in sites if site.gradient > 0]
