"""Statistics as a person reads them."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wellposed.inputs.standardizer import Standardizer
from wellposed.printable import harmless

_MOST_FEATURES = 40


def statistics_table(standardizer: Standardizer) -> RenderableType:
    """One line per feature, the first `_MOST_FEATURES`; what is special about it in words."""
    moments = standardizer.state_.moments
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("feature")
    for heading in ("mean", "std", "min", "max"):
        table.add_column(heading, justify="right", overflow="fold")  # a number cut short would be another number
    table.add_column("")
    deviation = moments.deviation(standardizer.ddof)
    for j, name in list(enumerate(standardizer.get_feature_names_out()))[:_MOST_FEATURES]:
        remarks = ["constant"] if moments.constant[j] else []
        remarks += [
            f"{int(counts[j]):,} {what}"
            for what, counts in (("NaN", moments.nan_count), ("infinite", moments.inf_count))
            if counts[j]
        ]
        places = [_digits(number, deviation[j]) for number in (moments.mean[j], moments.min[j], moments.max[j])]
        table.add_row(
            Text(harmless(str(name))),
            places[0],
            f"{deviation[j]:.6g}",
            *places[1:],
            Text(", ".join(remarks), style="yellow"),
        )
    rows = standardizer.n_samples_seen_
    lines: list[RenderableType] = [
        Text(f"{rows:,} {'entries' if rows != 1 else 'entry'} seen, {len(moments)} features"),
        table,
    ]
    if len(moments) > _MOST_FEATURES:
        lines.append(Text(f"... and {len(moments) - _MOST_FEATURES} more"))
    return Group(*lines)


def _digits(number: float, deviation: float) -> str:
    """As many as tell a thousandth of a standard deviation, at least 6."""
    beyond = np.log10(abs(number) / deviation) if deviation > 0 and number else 0.0
    return f"{number:.{int(np.clip(np.ceil(np.nan_to_num(beyond)) + 3, 6, 17))}g}"
