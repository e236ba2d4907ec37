"""Statistics as a person reads them."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wellposed.inputs.standardizer import Standardizer

_MOST = 40


def statistics_table(standardizer: Standardizer) -> RenderableType:
    """One line per feature, the first `_MOST`; what is special about it in words."""
    moments = standardizer.state_.moments
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("feature")
    for heading in ("mean", "std", "min", "max"):
        table.add_column(heading, justify="right")
    table.add_column("")
    deviation = moments.deviation(standardizer.ddof)
    for j, name in list(enumerate(standardizer.get_feature_names_out()))[:_MOST]:
        remarks = ["constant"] if moments.constant[j] else []
        remarks += [
            f"{int(counts[j]):,} {what}" for what, counts in (("NaN", moments.nan_count), ("infinite", moments.inf_count)) if counts[j]
        ]
        numbers = (moments.mean[j], deviation[j], moments.min[j], moments.max[j])
        table.add_row(Text(str(name)), *(f"{number:.6g}" for number in numbers), Text(", ".join(remarks), style="yellow"))
    rows = standardizer.n_samples_seen_
    lines: list[RenderableType] = [Text(f"{rows:,} {'entries' if rows != 1 else 'entry'} seen, {len(moments)} features"), table]
    if len(moments) > _MOST:
        lines.append(Text(f"... and {len(moments) - _MOST} more"))
    return Group(*lines)
