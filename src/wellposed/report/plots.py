"""Figures as matplotlib draws them, and as SVG for a page: drawn in the page's own colours, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import escape

from wellposed.figures import Figure, Panel, Series

_FEW_PANELS, _MOST_ACROSS = 4, 3  # panels in a figure beyond which that many stand side by side
_CROWDED = 60  # points, beyond which their marks are small
_SHORT_LABEL = 4  # letters, beyond which labels are tilted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_MARKS = ("o", "s", "^", "D")
_ACROSS, _WIDTH, _HEIGHT = 2, 4.4, 2.9  # panels side by side, inches each
_NAMED = 12  # names below an axis; of more, every n-th
_LONGEST_LABEL = 18
# Colours that stand for the page's own: CSS variables in a page.
_PAGE = {"ink": "#010101", "line": "#020202", "series": ("#030303", "#040404", "#050505", "#060606")}
_NOTEBOOK = {"ink": "#1d2430", "line": "#9aa3b2", "series": ("#1f5fa8", "#b5480f", "#1b7a43", "#6b3fa0")}
_VARIABLES = {
    "#010101": "var(--ink)", "#020202": "var(--line)",
    "#030303": "var(--one)", "#040404": "var(--two)", "#050505": "var(--three)", "#060606": "var(--four)",
}  # fmt: skip


def draw(figure: Figure) -> Drawing:
    """The figure for a notebook or a file; it belongs to no window."""
    return _drawing(figure, _NOTEBOOK)


def svg(figure: Figure, prefix: str = "") -> str:
    """An `<svg>` element with a title and a description; `prefix` keeps its ids apart from those of other figures in
    the page.
    """
    from matplotlib import rc_context

    page = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": figure.name}):
        _drawing(figure, _PAGE).savefig(page, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = page.getvalue()
    text = text[text.index("<svg") :].strip()
    name = f"{prefix}{figure.name}"
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\1{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    described = (
        f'<title id="{name}-title">{escape(figure.title)}</title><desc id="{name}-text">{escape(figure.text)}</desc>'
    )
    head, body = text.split(">", 1)
    size = re.search(r'viewBox="0 0 ([\d.]+)', head)
    width = f"{float(size[1]):.0f}pt" if size else "100%"
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return (
        f'{head} role="img" aria-labelledby="{name}-title {name}-text" style="width: 100%; max-width:'
        f' {width}">{described}{body}'
    )


def _drawing(figure: Figure, colours: Mapping[str, object]) -> Drawing:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Drawing

    count = len(figure.panels)
    across = 1 if count == 1 else _MOST_ACROSS if count > _FEW_PANELS else _ACROSS
    down = -(-count // across)
    width = _WIDTH * _ACROSS / across if across > 1 else 1.4 * _WIDTH
    ink = str(colours["ink"])
    with rc_context(
        {
            "font.size": 9,
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": colours["line"],
            "axes.titlesize": 10,
        }
    ):
        drawing = Drawing(
            figsize=(across * width, down * (_HEIGHT if across <= _ACROSS else 0.75 * _HEIGHT)), layout="constrained"
        )
        for place, panel in zip(drawing.subplots(down, across, squeeze=False).flat, figure.panels, strict=False):
            _panel(place, panel, colours)
        for place in drawing.axes[count:]:
            place.set_axis_off()
    return drawing


def _panel(axes: Axes, panel: Panel, colours: Mapping[str, object]) -> None:
    from matplotlib.ticker import MaxNLocator

    palette = colours["series"]
    assert isinstance(palette, tuple)
    bars = [series for series in panel.series if series.mark == "bars"]
    for index, series in enumerate(panel.series):
        colour = palette[index % len(palette)]
        if series.mark == "bars":
            _bars(axes, series, colour, bars.index(series), len(bars))
        else:
            style = {"line": "-", "dashes": "--", "points": ""}[series.mark]
            mark = "" if series.mark == "dashes" else _MARKS[index % len(_MARKS)]
            size = 4 if len(series.x) < _CROWDED else 2
            axes.errorbar(
                series.x, series.y, yerr=series.error or None, linestyle=style, marker=mark, markersize=size,
                color=colour, label=series.label, linewidth=1.4,
            )  # fmt: skip
    for scale, wanted in ((axes.set_xscale, panel.log_x), (axes.set_yscale, panel.log_y)):
        if wanted and any(np.isfinite(series.y).any() for series in panel.series):
            scale("log")
    if panel.names:
        _named(axes, panel.names)
    elif not panel.log_x:
        whole = all(x == int(x) for series in panel.series for x in series.x if np.isfinite(x))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    if bars and not panel.log_y:
        axes.margins(y=0.3 if len(panel.series) > 1 else 0.05)
    axes.set_title(panel.title.replace("$", r"\$"))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.tick_params(color=colours["line"], labelcolor=colours["ink"])
    axes.grid(visible=True, color=colours["line"], linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.series) > 1:
        axes.legend(frameon=False, fontsize=8)


def _bars(axes: Axes, series: Series, colour: str, number: int, of: int) -> None:
    x = np.asarray(series.x)
    step = float(np.diff(x).min()) if len(x) > 1 else 1.0
    width = step * (1.0 if of == 1 else 0.8 / of)
    axes.bar(x + (number - (of - 1) / 2) * width, series.y, width=width, color=colour, label=series.label)


def _named(axes: Axes, names: tuple[str, ...]) -> None:
    every = -(-len(names) // _NAMED)
    at = range(0, len(names), every)
    short = [
        name if len(name) <= _LONGEST_LABEL else f"…{name[1 - _LONGEST_LABEL :]}" for name in (names[i] for i in at)
    ]
    tilted = len(names) > 1 and max(map(len, short)) > _SHORT_LABEL
    shown = [name.replace("$", r"\$") for name in short]  # no mathematics
    axes.set_xticks(list(at), shown, rotation=40 if tilted else 0, ha="right" if tilted else "center")
