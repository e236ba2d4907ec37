"""Ray Datasets: `map_batches` turns each batch into one row, its state as JSON."""

from __future__ import annotations

import json
from typing import Any

from wellposed.inputs.sources.tables import choose_columns
from wellposed.inputs.state import State, merge


def state(data: Any, axis: Any, columns: tuple[str, ...], reproducible: bool) -> State:
    """Of a Ray Dataset of numeric columns."""
    names = choose_columns(data.schema().names, columns, "the dataset")

    def of_batch(batch: Any) -> Any:
        import pyarrow as pa

        from wellposed.inputs.engines.arrow import of_batches

        found = of_batches([batch], names, reproducible)
        return pa.table({"state": [] if found is None else [json.dumps(found.to_dict())]})

    rows = data.select_columns(names).map_batches(of_batch, batch_format="pyarrow").take_all()
    return merge(State.from_dict(json.loads(row["state"])) for row in sorted(rows, key=lambda row: str(row["state"])))
