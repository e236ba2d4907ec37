"""Engines that exist, started on loopback: the state is ours, the same to the last digits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wellposed as wp
from launched import on_ranks

X = np.random.default_rng(0).standard_normal((4000, 3)) * [1, 5, 0.1] + [0, 100, 1.7e9]
TRUTH = wp.Standardizer().fit(X)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dask_client():
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("ignore")
def test_dask_arrays_and_dataframes_on_two_processes(dask_client):
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd

    array = da.from_array(X, chunks=(300, 2))  # the features lie apart
    found = wp.Standardizer().fit(array)
    np.testing.assert_allclose(found.scale_, TRUTH.scale_, rtol=1e-14)
    assert found.state_.fingerprint.to_dict() == TRUTH.state_.fingerprint.to_dict()
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abc")), npartitions=5)
    named = wp.Standardizer().fit(frame[frame.b > -1e9])
    np.testing.assert_allclose(named.mean_, TRUTH.mean_, rtol=1e-15)
    assert list(named.feature_names_in_) == list("abc")
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    assert wp.Standardizer(axis=1).fit(da.from_array(images, chunks=(7, 3, 8, 8))).state_.moments == wp.Moments.of(
        images, 1
    )


@pytest.mark.filterwarnings("ignore")
def test_a_dask_worker_that_is_killed_changes_no_bit(dask_client):
    import dask.array as da

    def slow_and_deadly(block, block_info=None):
        import os
        import time

        flag = Path(os.environ["WELLPOSED_FLAG"])
        time.sleep(0.05)
        if block_info[0]["chunk-location"][0] == 7 and not flag.exists():
            flag.touch()
            os._exit(1)
        return block

    flag = ROOT / ".pytest_cache" / f"killed-{os.getpid()}"
    flag.parent.mkdir(exist_ok=True)
    dask_client.run(lambda: os.environ.__setitem__("WELLPOSED_FLAG", str(flag)))
    os.environ["WELLPOSED_FLAG"] = str(flag)
    plain = da.from_array(X, chunks=(200, 3))
    try:
        undisturbed = wp.Standardizer().fit(plain)
        found = wp.Standardizer().fit(plain.map_blocks(slow_and_deadly, dtype=X.dtype, meta=np.empty((0, 3))))
        assert flag.exists()
    finally:
        flag.unlink(missing_ok=True)
    assert found.state_.moments == undisturbed.state_.moments


def run(*command):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_two_ranks_gather_one_state():
    shown = on_ranks(2, str(ROOT / "examples/stats_ranks.py")).stdout
    rows = np.concatenate(
        [np.random.default_rng(rank).normal([0.0, 100.0], [1.0, 5.0], size=(100_000, 2)) for rank in range(2)]
    )
    assert "rows 200000" in shown
    assert f"mean {rows.mean(axis=0)}" in shown
    assert f"std  {rows.std(axis=0)}" in shown


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["dask", "ray", "spark"])
def test_the_examples_run(engine):
    shown = run(sys.executable, f"examples/stats_{engine}.py")
    assert "mean" in shown
    assert "std" in shown


@pytest.mark.engines
@pytest.mark.filterwarnings("ignore")
def test_a_ray_dataset():
    import pandas as pd
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        found = wp.Standardizer().fit(
            ray.data.from_pandas(pd.DataFrame(X, columns=list("abc"))).repartition(4), columns=["b", "c"]
        )
    finally:
        ray.shutdown()
    np.testing.assert_allclose(found.scale_, TRUTH.scale_[1:], rtol=1e-14)


@pytest.mark.engines
@pytest.mark.filterwarnings("ignore")
def test_a_spark_dataframe():
    import pandas as pd
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        found = wp.Standardizer().fit(spark.createDataFrame(pd.DataFrame(X, columns=list("abc"))).repartition(3))
    finally:
        spark.stop()
    np.testing.assert_allclose(found.scale_, TRUTH.scale_, rtol=1e-14)
    assert list(found.feature_names_in_) == list("abc")
