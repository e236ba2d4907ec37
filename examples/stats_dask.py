"""Mean and standard deviation of a Dask array, on two worker processes of this machine.

    python examples/stats_dask.py

The workers turn their blocks into states of a few hundred bytes; these are merged here. A worker that dies changes
nothing.
"""

import dask.array as da
from dask.distributed import Client, LocalCluster

import wellposed as wp


def main() -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        x = da.random.default_rng(0).standard_normal((1_000_000, 3), chunks=(100_000, 3)) * [1.0, 5.0, 0.1] + [
            0.0,
            100.0,
            1.7e9,
        ]
        standardizer = wp.Standardizer().fit(x)
    print("mean", standardizer.mean_)
    print("std ", standardizer.scale_)


if __name__ == "__main__":
    main()
