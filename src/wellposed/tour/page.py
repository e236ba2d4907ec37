"""A chapter in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from wellposed.figures import Figure
from wellposed.report import Report, bars
from wellposed.report.text import render
from wellposed.tour.chapter import Chapter, Code, Part, Table


def lay_out(number: int, chapter: Chapter) -> RenderableType:
    parts: list[RenderableType] = [Text(f"{number}  {chapter.title}", style="bold")]
    for part in chapter.parts:
        parts += [Text(""), *_part(part)]
    return Group(*parts)


def _part(part: Part) -> Iterator[RenderableType]:
    if isinstance(part, str):
        yield Text(part)
    elif isinstance(part, Code):
        yield Padding(Text(part.lines, style="italic", overflow="fold"), (0, 0, 0, 4))
    elif isinstance(part, Table):
        grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in part.head:
            grid.add_column(heading, header_style="dim", overflow="fold")
        for row in part.rows:
            grid.add_row(*row)
        yield Padding(grid, (0, 0, 0, 4))
    elif isinstance(part, Report):
        yield Padding(render(part), (0, 0, 0, 4))
    else:
        yield from _figure(part)


def _figure(figure: Figure) -> Iterator[RenderableType]:
    """What it says, and a line of bars for each series that has an axis of its own kind: curves over a logarithmic
    scale.
    """
    for panel in figure.panels:
        for series in panel.series if panel.log_y else ():
            yield Padding(
                Text.assemble((f"{series.label:<22}", "dim"), bars.profile(bars.thin(series.y))), (0, 0, 0, 4)
            )
    yield Padding(Text(figure.text, style="dim"), (0, 0, 0, 4))
