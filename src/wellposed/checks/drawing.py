"""Figures of what a session has measured; nothing is measured for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from wellposed.catalogue import CATALOGUE
from wellposed.checks.session import Session
from wellposed.checks.structure_drawing import draw_dependence, draw_terms
from wellposed.figures import Figure, Panel, Series
from wellposed.findings import Finding
from wellposed.gradients.probe import Probe
from wellposed.inputs.features import as_array, features_of
from wellposed.numerics.arrays import Vector
from wellposed.numerics.moments import Moments
from wellposed.numerics.shifted import unit_of
from wellposed.signals.spectrum import Spectrum
from wellposed.signals.trace import Trace

_FEATURES, _BINS = 6, 24


def figures_of(session: Session, findings: Sequence[Finding], *, spectrum: bool = False) -> tuple[Figure, ...]:
    """Inputs, depth, gradient, structure and spectrum, as far as they are known, with the rules that they show."""
    trace, told = session.known_trace, {finding.rule for finding in findings}
    drawn: tuple[Callable[[], Figure | None], ...] = (
        lambda: _inputs(session) if told.intersection(_shown_by("inputs")) else None,
        lambda: None if trace is None else depth(trace),
        lambda: gradient(session.known_gradient_check.compared),
        lambda: draw_dependence(session.known_structure.successions, _shown_by("dependence")),
        lambda: draw_terms(session.known_terms, _shown_by("terms")),
        lambda: draw_spectrum(session.spectrum) if spectrum and session.spectrum is not None else None,
    )
    with np.errstate(all="ignore"):  # numbers of any size: a picture is no reason to stop
        return tuple(figure for make in drawn if (figure := make()) is not None)


def _shown_by(name: str) -> tuple[str, ...]:
    return tuple(rule.id for rule in CATALOGUE.values() if name in rule.figures)


def _inputs(session: Session) -> Figure | None:
    """Histograms of the features whose scale is furthest from 1 or whose mean is furthest from 0."""
    data = session.problem.network.inputs()
    if data is None or data.dtype.kind != "f":
        return None
    rows = features_of(as_array(data, "the inputs"), None).rows.astype(np.float64)
    whole = np.isfinite(rows).all(axis=1)
    left, rows = int((~whole).sum()), rows[whole]
    if len(rows) < 2:
        return None
    moments = Moments.of(rows)
    means, spreads = moments.mean, moments.std
    with np.errstate(divide="ignore"):
        off = np.where(
            spreads > 0, np.abs(np.log(np.maximum(spreads, 1e-300))) + np.abs(means) / np.maximum(spreads, 1e-300), -1.0
        )
    chosen = np.sort(np.argsort(-off, kind="stable")[:_FEATURES])
    panels = tuple(_histogram(rows[:, j], f"feature {j}" if rows.shape[1] > 1 else "inputs") for j in chosen)
    which = (
        f"{len(chosen)} of {rows.shape[1]} features, those furthest from mean 0 and deviation 1"
        if rows.shape[1] > 1
        else "All inputs"
    )
    text = (
        f"{which}. Over all of them means go from {means.min():.3g} to {means.max():.3g} and standard deviations from"
        f" {spreads.min():.3g} to {spreads.max():.3g}."
        + (f" {left} rows with NaN or infinity are left out." if left else "")
    )
    return Figure("inputs", "Inputs", text, panels, _shown_by("inputs"))


def _histogram(values: Vector, title: str) -> Panel:
    exponent = int(unit_of(np.abs(values).max()))
    values = np.ldexp(values.astype(np.float64), -exponent)
    low, high = float(values.min()), float(values.max())
    narrow = high - low <= _BINS * np.spacing(max(abs(low), abs(high)))  # too few numbers in between for bins
    room = (abs(high) / 1000 or 0.5) if narrow else 0.0
    counts, edges = np.histogram(values, bins=1 if narrow else _BINS, range=(low - room, high + room))
    centres = np.ldexp((edges[:-1] + edges[1:]) / 2, exponent)
    return Panel(title, "value", "rows", (Series("rows", _numbers(centres), _numbers(counts), "bars"),))


def depth(trace: Trace) -> Figure | None:
    """What every place of the trunk makes and gets back, with theory beside the measurement."""
    sites = trace.trunk
    if len(sites) < 2:
        return None
    at = _numbers(np.arange(len(sites)))
    rms = [site.forward.rms for site in sites]
    spread = [site.forward.spread for site in sites]
    back = [site.gradient for site in sites]
    forward = (
        Series("root mean square, measured", at, _positive(rms)),
        Series("by theory", at, _positive([expected.rms for expected in trace.theory]), "dashes"),
        Series("deviation over the batch", at, _positive(spread), "points"),
    )
    backward = (
        Series("norm, measured", at, _positive(back)),
        Series("by theory", at, _positive(_expected_back(trace)), "dashes"),
    )
    names = tuple(site.name for site in sites)
    panels = (
        Panel("What each layer makes", "layer", "size", forward, log_y=True, names=names),
        Panel("The gradient that comes back to it", "layer", "norm per example", backward, log_y=True, names=names),
    )
    text = (
        f"From the first to the last of {len(sites)} places along the trunk: the root mean square goes from"
        f" {rms[0]:.3g} to {rms[-1]:.3g}, the gradient, read backwards, from {back[-1]:.3g} to {back[0]:.3g}."
    )
    return Figure("depth", "Signals over depth", text, panels, _shown_by("depth"))


def _expected_back(trace: Trace) -> list[float]:
    """Theory's factors from each place to the one before, from the measured gradient at the last place that has one;
    NaN beyond a gap.
    """
    sizes = [float("nan")] * len(trace.trunk)
    for index in reversed(range(len(trace.trunk) - 1)):
        ahead = sizes[index + 1] if np.isfinite(sizes[index + 1]) else trace.trunk[index + 1].gradient
        sizes[index] = ahead * trace.theory[index].factor
    return sizes


def gradient(compared: Sequence[tuple[str, Probe]]) -> Figure | None:
    """Slopes along directions as the gradient claims them and as differences of the loss measure them."""
    known = [(name, probe) for name, probe in compared if probe.known]
    if not known:
        return None
    claimed, measured = np.array([(probe.claimed, probe.measured) for _, probe in known]).reshape(-1, 2).T
    at = np.arange(len(known))
    allowed = np.array([probe.allowed for _, probe in known])
    size = np.maximum(np.maximum(np.abs(claimed), np.abs(measured)), 1e-300)
    ends = (float(min(claimed.min(), measured.min())), float(max(claimed.max(), measured.max())))
    slopes = (
        Series("claimed = measured", ends, ends, "dashes"),
        Series(
            "a direction",
            _numbers(claimed),
            _numbers(measured),
            "points",
            _numbers([probe.error for _, probe in known]),
        ),
    )
    apart = (
        Series("apart", _numbers(at), _positive(np.abs(claimed - measured) / size), "points"),
        Series("what errors allow", _numbers(at), _positive(allowed / size), "dashes"),
    )
    names = tuple(name for name, _ in known)
    panels = (
        Panel("Slope along a direction", "claimed by the gradient", "measured", slopes),
        Panel("How far apart, over their size", "direction within", "relative", apart, log_y=True, names=names),
    )
    beyond = [name for name, probe in known if not probe.agrees]
    said = (
        f"beyond their error bars in {', '.join(dict.fromkeys(beyond))}"
        if beyond
        else "nowhere beyond their error bars"
    )
    along = "a direction" if len(known) == 1 else f"{len(known)} directions"
    text = f"Slopes along {along}, as claimed and as measured by differences: apart {said}."
    return Figure("gradient", "Gradient, claimed and measured", text, panels, _shown_by("gradient"))


def draw_spectrum(found: Spectrum) -> Figure | None:
    """Singular values of the input-output Jacobian, of all examples together."""
    if found.values is None:
        return None
    values = np.sort(found.values, axis=1)[:, ::-1]
    at = _numbers(np.arange(1, values.shape[1] + 1))
    series = tuple(Series(f"example {index}", at, _positive(row), "points") for index, row in enumerate(values))
    text = (
        f"Singular values of the Jacobian of outputs by inputs at {len(values)} examples: from {values.min():.3g} to"
        f" {values.max():.3g}; near 1 all of them pass signals and gradients on as they come."
    )
    panel = Panel("Singular values", "number", "size", series, log_y=True)
    return Figure("spectrum", "The Jacobian's spectrum", text, (panel,), _shown_by("spectrum"))


def remedies_figure(findings: Sequence[Finding]) -> tuple[Figure, ...]:
    """The loss after 50 steps with and without each remedy that was tried."""
    tried = [
        (f.rule, r.before, r.after)
        for f in findings
        for r in f.remedies[:1]
        if r.before is not None and r.after is not None and np.isfinite([r.before, r.after]).any()
    ]
    if not tried:
        return ()
    at = np.arange(len(tried), dtype=float)
    series = (
        Series("as it is", _numbers(at), _numbers([before for _, before, _ in tried]), "bars"),
        Series("with the remedy", _numbers(at), _numbers([after for *_, after in tried]), "bars"),
    )
    told = "; ".join(f"{rule}: {before:.3g} as it is, {after:.3g} with the remedy" for rule, before, after in tried)
    panel = Panel("Loss after 50 steps", "remedy for", "loss", series, names=tuple(rule for rule, *_ in tried))
    return (
        Figure(
            "remedies",
            "Remedies, tried on a copy",
            f"The loss after 50 steps. {told}.",
            (panel,),
            tuple(rule for rule, *_ in tried),
        ),
    )


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _positive(values: Iterable[float]) -> tuple[float, ...]:
    """For a logarithmic axis: what is 0 or less is left out."""
    return tuple(float(value) if value > 0 else float("nan") for value in values)
