"""Arrow record batches, as engines hand them to a function."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import narwhals as nw
import pyarrow as pa

from wellposed.inputs.sources.tables import pieces
from wellposed.inputs.state import State, merge


def of_batches(batches: Iterable[Any], names: list[str], reproducible: bool) -> State | None:
    """The state of tables or record batches; None where they have no rows."""
    states = []
    for number, batch in enumerate(batches):
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        for chunk in pieces(nw.from_native(table, eager_only=True), names, f"batch {number}"):
            found = State.of(chunk.rows, 1, reproducible=reproducible)
            states.append(State(found.moments, found.fingerprint, chunk.names))
    return merge(states) if states else None
