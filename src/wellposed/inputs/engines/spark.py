"""Spark DataFrames: `mapInArrow` turns each partition into one row, its state as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wellposed.inputs.sources.tables import choose_columns
from wellposed.inputs.state import State, merge


def state(data: Any, axis: Any, columns: tuple[str, ...], reproducible: bool) -> State:
    """Of a Spark DataFrame of numbers."""
    names = choose_columns(data.columns, columns, "the dataframe")

    def of_partition(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        from wellposed.inputs.engines.arrow import of_batches

        found = of_batches(batches, names, reproducible)
        if found is not None:
            yield pa.RecordBatch.from_pydict({"state": [json.dumps(found.to_dict())]})

    rows = data.select(*names).mapInArrow(of_partition, "state string").collect()
    return merge(State.from_dict(json.loads(row["state"])) for row in rows)
