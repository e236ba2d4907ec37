"""`wellposed stats` and `audit`: the statistics to standardize by, and whether they belong to data."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from wellposed import api
from wellposed.commands.app import HOLDS, Json, app, told
from wellposed.commands.written import write_reports
from wellposed.inputs.sources.files import files, paths_of
from wellposed.inputs.standardizer import Standardizer
from wellposed.inputs.statistics_table import statistics_table
from wellposed.terminal import show
from wellposed.writing import refuse_inputs

_Columns = Annotated[str, Parameter(help="Columns of a table, separated by commas")]
_Key = Annotated[str, Parameter(help="The array of a file that holds several")]
_Axis = Annotated[
    int | None,
    Parameter(
        allow_leading_hyphen=True, help="The axis that counts the features; left out: columns, or channels of images"
    ),
]


@app.command
def stats(
    data: Annotated[
        list[str], Parameter(help="npy, npz, csv, parquet, zarr, hdf5, a folder of images, patterns", negative="")
    ],
    /,
    *,
    output: Annotated[
        str, Parameter(name=["--output", "-o"], help="Write the statistics here, for Standardizer.load")
    ] = "",
    axis: _Axis = None,
    columns: _Columns = "",
    key: _Key = "",
    ddof: Annotated[int, Parameter(help="Subtracted from the count in the variance")] = 0,
    early_stop: Annotated[
        float | None, Parameter(help="Stop when mean and deviation are known to this fraction of the deviation")
    ] = None,
) -> int:
    """Mean, standard deviation and extremes of the features of DATA, larger than memory or not."""
    refuse_inputs([output], paths_of(list(data)))
    standardizer = Standardizer(axis, ddof=ddof, early_stop=early_stop, infinite="skip")
    standardizer.fit(list(data), columns=_listed(columns), key=key or None)
    if output:
        standardizer.save(output)
    show(statistics_table(standardizer))
    return HOLDS


@app.command
def audit(
    statistics: Annotated[str, Parameter(help="What `wellposed stats` or Standardizer.save wrote")],
    data: Annotated[list[str], Parameter(help="As for stats", negative="")],
    /,
    *,
    axis: _Axis = None,
    columns: _Columns = "",
    key: _Key = "",
    json: Json = "",
    held_out: Annotated[
        bool, Parameter(help="DATA is a test set, which the statistics must not have seen", negative="")
    ] = False,
) -> int:
    """Do these statistics belong to DATA, and if not, which mistake was made?"""
    refuse_inputs([json], [statistics, *paths_of(list(data))])
    fitted = Standardizer.load(statistics)
    report = api.audit(
        fitted,
        files(list(data), _listed(columns), key or None),
        axis=fitted.axis if axis is None else axis,
        held_out=held_out,
    )
    write_reports(report, None, {"json": json})
    return told(report, json)


def _listed(columns: str) -> list[str]:
    return [name.strip() for name in columns.split(",") if name.strip()]
