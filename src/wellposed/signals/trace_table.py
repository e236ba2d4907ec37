"""A trace as a person reads it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from wellposed.printable import harmless
from wellposed.signals.growth import Growth
from wellposed.signals.site import Site
from wellposed.signals.theory import Expected
from wellposed.signals.trace import Trace

_MOST_ROWS, _WIDTH = 60, 100


class PrintedTrace(Trace):
    """A trace that prints as a table."""

    @staticmethod
    def of(trace: Trace) -> PrintedTrace:
        return PrintedTrace(**{part.name: vars(trace)[part.name] for part in fields(trace)})

    def __str__(self) -> str:
        return trace_text(self)


def trace_text(trace: Trace) -> str:
    """The table as plain text."""
    page = io.StringIO()
    Console(file=page, width=_WIDTH, color_system=None, highlight=False, force_terminal=False).print(trace_table(trace))
    return "\n".join(line.rstrip() for line in page.getvalue().strip("\n").splitlines())


def trace_table(trace: Trace) -> RenderableType:
    """One line per place of the trunk: what arrives, what comes back, and the factors between, beside theory's; then
    what else was seen.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for heading in ("rms", "std", "similar", "gradient", "back", "theory"):
        table.add_column(heading, justify="right")
    table.add_column("then")
    sites, theory = trace.trunk, trace.theory
    for k in _shown(len(sites)):
        if k < 0:
            table.add_row(f"... {len(sites) - _MOST_ROWS} more")
            continue
        back = (
            sites[k].gradient / sites[k + 1].gradient
            if k + 1 < len(sites) and sites[k + 1].gradient > 0
            else float("nan")
        )
        table.add_row(*_row(sites[k], back, theory[k]))
    lines: list[RenderableType] = [table]
    if trace.backward is not None:
        lines.append(Text(f"gradient, per layer back: {_along(trace.backward)}"))
    if trace.forward is not None:
        lines.append(Text(f"signal, per hidden layer: {_along(trace.forward)}"))
    if trace.depth is not None:
        d = trace.depth
        lines.append(
            Text(
                f"theory: {np.sqrt(d.chi):.4g} per layer back; trainable to about {d.trainable:.3g} layers, this"
                f" network has {d.layers}"
            )
        )
    lines += [Text(harmless(line)) for line in _others(trace)]
    return Group(*lines)


def _row(site: Site, back: float, theory: Expected) -> list[str | Text]:
    name = Text(harmless(site.name if site.layer.kind != "add" else f"{site.name} (sum)"))
    if not site.forward.finite:
        return [name, "NaN or infinite", "", "", "", "", "", site.function or site.follower]
    return [
        name,
        _number(site.forward.rms),
        _number(site.forward.spread),
        _number(site.forward.similarity, "{:.3f}"),
        _number(site.gradient, "{:.2e}"),
        _number(back),
        _number(theory.factor),
        site.function or site.follower,
    ]


def _others(trace: Trace) -> list[str]:
    lines = []
    if trace.branches:
        shares = [branch.share for branch in trace.branches]
        lines.append(
            f"residual branches: {len(shares)}, {min(shares):.3g} to {max(shares):.3g} of the stream where they join it"
        )
    entropies = [operation.entropy for operation in trace.operations if operation.entropy is not None]
    if entropies:
        lines.append(
            f"attention: {len(entropies)} times, entropy {min(entropies):.2f} to {max(entropies):.2f} of uniform"
        )
    lines += [
        f"{r.name}: {r.steps} steps of {r.function}, Lyapunov exponents {', '.join(f'{e:.3f}' for e in r.exponents)}"
        " per step"
        for r in trace.recurrences
        if len(r.exponents)
    ]
    lines += [
        f"{loop.name}: used {len(loop.gradients)} times in a chain, gradient {loop.factor:.3g} per step back"
        for loop in trace.loops
    ]
    ratios = [size.gradient / size.rms for size in trace.parameters.values() if size.gradient and size.rms > 0]
    if ratios:
        lines.append(f"gradient over weight: {min(ratios):.2g} to {max(ratios):.2g}")
    if trace.updates:
        lines.append(
            f"first update over weight: {min(trace.updates.values()):.2g} to {max(trace.updates.values()):.2g} (about"
            " 1e-3 is usual)"
        )
    return lines


def _along(along: Growth) -> str:
    low, high = along.interval
    between = f" ({low:.3g} to {high:.3g})" if np.isfinite(low) else ""
    return f"{along.typical:.4g}{between}, {along.total:.3g} in all"


def _shown(count: int) -> Sequence[int]:
    return (
        range(count) if count <= _MOST_ROWS else [*range(_MOST_ROWS // 2), -1, *range(count - _MOST_ROWS // 2, count)]
    )


def _number(value: float, form: str = "{:.3g}") -> str:
    return form.format(value) if np.isfinite(value) else ""
