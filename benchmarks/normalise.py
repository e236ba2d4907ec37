"""Note 1 in figures: accuracy, constants, speed, memory, early stopping, one data set through every engine; peers in the same run.

python benchmarks/normalise.py [nist stream constants fit images transform disk early engines]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from math import log10
from pathlib import Path

import numpy as np

import wellposed as wp

NIST = json.loads((Path(__file__).parents[1] / "tests/data/strd_univariate.json").read_text())
TRIALS = 1000


def digits(found: float, truth: Fraction) -> float:
    """-log10 of the relative error of a standard deviation, given the exact variance."""
    error = abs(Fraction(float(found)) ** 2 - truth) / truth / 2
    return 17.0 if error == 0 else min(17.0, -log10(error))


def exact_variance(values: np.ndarray) -> Fraction:
    numbers = [Fraction(float(v)) for v in values]
    mean = sum(numbers) / len(numbers)
    return sum((n - mean) ** 2 for n in numbers) / len(numbers)


def random_tree(column: np.ndarray, draw: np.random.Generator) -> wp.Moments:
    """Random batches, merged in random order."""
    cuts = np.sort(draw.choice(len(column) + 1, draw.integers(1, min(len(column), 60)), replace=True))
    parts = [wp.Moments.of(part) for part in np.split(column, cuts)]
    draw.shuffle(parts)
    while len(parts) > 1:
        i = int(draw.integers(len(parts) - 1))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0]


def nist() -> None:
    from sklearn.preprocessing import StandardScaler

    print(
        f"### NIST StRD: digits of the standard deviation, the fewest of {TRIALS} random batchings and merge trees (target 15)\n"
    )
    print("| | " + " | ".join(NIST) + " |\n|---|" + "---|" * len(NIST))
    rows: dict[str, list[float]] = {
        "wellposed": [],
        "wellposed, reproducible": [],
        "sklearn partial_fit, batches of 10": [],
        "numpy, at once": [],
    }
    for data in NIST.values():
        column = np.array([float(entry) for entry in data["y"]])[:, None]
        truth, draw = exact_variance(column[:, 0]), np.random.default_rng(0)
        rows["wellposed"].append(min(digits(random_tree(column, draw).std[0], truth) for _ in range(TRIALS)))
        rows["wellposed, reproducible"].append(digits(wp.Moments.of(column, reproducible=True).std[0], truth))
        scaler = StandardScaler()
        for start in range(0, len(column), 10):
            scaler.partial_fit(column[start : start + 10])
        rows["sklearn partial_fit, batches of 10"].append(digits(float(scaler.var_[0]) ** 0.5, truth))
        rows["numpy, at once"].append(digits(column.std(), truth))
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(f"{d:.1f}" for d in found) + " |")
    print()


def stream() -> None:
    rows, batch = 100_000_000, 1_000_000
    draw = np.random.default_rng(0)
    total, exact = wp.Moments.empty(1), None
    for _ in range(rows // batch):
        part = (1e4 + draw.standard_normal((batch, 1), dtype=np.float32)).astype(np.float32)
        total = total + wp.Moments.of(part)
        found = wp.Moments.of(part, reproducible=True)
        exact = found if exact is None else exact + found
    assert exact is not None
    error = abs(total.std[0] / exact.std[0] - 1)
    print(f"### {rows:,} rows of float32, mean 1e4, standard deviation 1, in batches of {batch:,}\n")
    print(f"relative error of the standard deviation, against exact sums: {error:.1e} (target 1e-12)\n")


def fuzzed(kind: int, scale: float, draw: np.random.Generator, n: int = 400) -> np.ndarray:
    match kind:
        case 0:
            return scale * draw.standard_normal(n)
        case 1:
            return np.full(n, scale * draw.standard_normal())
        case 2:
            return 1.7e9 + 10.0 ** draw.uniform(-6, 4) * draw.random(n)
        case 3:
            return np.where(np.arange(n) == draw.integers(n), np.nextafter(scale, np.inf), scale)
        case 4:
            return 5e-324 * draw.integers(0, 3, n)
        case 5:
            return np.where(draw.random(n) < 0.3, np.nan, scale * draw.integers(0, 2, n))
        case 6:
            return np.where(draw.random(n) < 0.3, np.nan, scale)
    return draw.standard_normal() * scale + scale * 1e-10 * draw.standard_normal(n)


def constants() -> None:
    """Columns of every scale; which of them are constant is known exactly."""
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(0)
    columns, truth = [], []
    for k in range(10_000):
        column = fuzzed(k % 8, 10.0 ** draw.uniform(-300, 300), draw)
        columns.append(column)
        truth.append(len(np.unique(column[~np.isnan(column)])) == 1)
    table, truth = np.stack(columns, axis=1), np.array(truth)

    def wrong(said: np.ndarray) -> str:
        return f"{int((said & ~truth).sum())} | {int((~said & truth).sum())}"

    merged = sum((wp.Moments.of(part) for part in np.array_split(table, 7)), wp.Moments.empty(len(truth)))
    standardizer = wp.Standardizer().fit(table)
    with np.errstate(all="ignore"):
        theirs = StandardScaler().fit(table).scale_
        z = standardizer.transform(table)
    off = np.abs(np.nanstd(z, axis=0)[~truth & (standardizer.scale_ > 1e-305)] - 1)
    print(f"### 10,000 columns: 1e-300 to 1e300, times, near-constants, subnormals, NaN; {int(truth.sum())} constant\n")
    print("| | called constant, wrongly | constants missed |\n|---|---|---|")
    print(f"| wellposed, in 7 parts | {wrong(merged.constant)} |")
    print(
        f"| wellposed Standardizer (scale left at 1) | {wrong((standardizer.scale_ == 1) & (standardizer.var_ == 0) & standardizer.state_.moments.constant)} |"
    )
    print(f"| sklearn StandardScaler (scale left at 1) | {wrong(theirs == 1)} |")
    print(
        f"\nAfter transform {int((off > 1e-6).sum())} of {off.size} varying columns (deviation above 1e-305) have a deviation off by 1e-6.\n"
    )


def bandwidth(
    work: Callable[[], object], gigabytes: float, others: dict[str, Callable[[], object]], repeats: int = 5
) -> dict[str, float]:
    """GB/s of each, interleaved, the best of some repeats."""
    best: dict[str, float] = {}
    for _ in range(repeats):
        for name, call in {"wellposed": work, **others}.items():
            start = time.perf_counter()
            call()
            best[name] = max(best.get(name, 0.0), gigabytes / (time.perf_counter() - start))
    return best


def without_numba(call: Callable[[], object]) -> Callable[[], object]:
    from wellposed.numerics import affine, kernels

    def plain() -> object:
        kept = kernels.compile_kernel, kernels._byte_kernel, affine._compiled
        kernels.compile_kernel = kernels._byte_kernel = affine._compiled = lambda: None
        try:
            return call()
        finally:
            kernels.compile_kernel, kernels._byte_kernel, affine._compiled = kept

    return plain


def fit() -> None:
    import polars as pl
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).standard_normal((1_000_000, 256), dtype=np.float32) + 10
    flat, gigabytes = x.ravel(), x.nbytes / 1e9
    frame = pl.DataFrame(x)
    wp.Moments.of(x)  # compiles
    found = bandwidth(
        lambda: wp.Moments.of(x), gigabytes,
        {
            "flat BLAS dot": lambda: flat @ flat,
            "wellposed without numba": without_numba(lambda: wp.Moments.of(x)),
            "Standardizer.fit (with fingerprint)": lambda: wp.Standardizer().fit(x),
            "sklearn StandardScaler.fit": lambda: StandardScaler().fit(x),
            "numpy mean and std": lambda: (x.mean(axis=0), x.std(axis=0)),
            "polars mean and std": lambda: frame.select(pl.all().mean().name.suffix("_m"), pl.all().std().name.suffix("_s")),
        },
        repeats=4,
    )  # fmt: skip
    print(
        "### Fit: float32, 1,000,000 x 256\n\n| | GB/s | of the dot (target 75 %) | times sklearn (target 15; 8 without numba) |\n|---|---|---|---|"
    )
    for name, speed in found.items():
        print(
            f"| {name} | {speed:.2f} | {speed / found['flat BLAS dot']:.0%} | {speed / found['sklearn StandardScaler.fit']:.1f} |"
        )
    extra = memory_of("x = np.ones((1_000_000, 256), np.float32); x[::2] = 2", "wp.Moments.of(x)")
    theirs = memory_of("x = np.ones((1_000_000, 256), np.float32); x[::2] = 2", "StandardScaler().fit(x)")
    print(f"\nExtra memory: {extra:.0f} MB (target 8), sklearn {theirs:.0f} MB.\n")


def memory_of(before: str, work: str) -> float:
    """MB that a second run of `work` adds to the peak of a process."""
    code = (
        "import numpy as np, resource, wellposed as wp\nfrom sklearn.preprocessing import StandardScaler\n"
        "wp.Moments.of(np.ones((200_000, 256), np.float32)); StandardScaler().fit(np.ones((10, 2), np.float32))\n"
        f"{before}\nbase = int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        f"{work}\n"
        "peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) * 1024\nprint((peak - base) / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else float("nan")


def images() -> None:
    x = np.random.default_rng(0).integers(0, 256, (800, 224, 224, 3), dtype=np.uint8)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    wp.Moments.of(x)
    cores = len(os.sched_getaffinity(0))
    found = bandwidth(
        lambda: wp.Moments.of(x), len(x) / cores,
        {
            "wellposed, channels first": lambda: wp.Moments.of(first, 1),
            "wellposed without numba": without_numba(lambda: wp.Moments.of(x)),
            "numpy mean and std": lambda: (x[:100].mean(axis=(0, 1, 2)), x[:100].std(axis=(0, 1, 2))),
        },
        repeats=3,
    )  # fmt: skip
    found["numpy mean and std"] *= 100 / len(x) * cores  # it had 100 of them, on one core
    exact = wp.Moments.of(x).spread.s1.tolist() == [int(part) for part in x.sum(axis=(0, 1, 2), dtype=np.int64)]
    print("### uint8 images 224 x 224 x 3\n\n| | images per second and core (target 15,000) |\n|---|---|")
    for name, speed in found.items():
        print(f"| {name} | {speed:,.0f} |")
    print(f"\nSums exact: {exact}.\n")


def transform() -> None:
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).standard_normal((1_000_000, 256), dtype=np.float32) + 10
    ours, theirs, out = wp.Standardizer().fit(x[:10_000]), StandardScaler().fit(x[:10_000]), np.empty_like(x)
    ours.transform(x)
    found = bandwidth(
        lambda: ours.transform(x), 2 * x.nbytes / 1e9,
        {
            "wellposed into an array": lambda: ours.transform(x, out=out),
            "wellposed without numba": without_numba(lambda: ours.transform(x)),
            "sklearn": lambda: theirs.transform(x),
            "copy": lambda: np.copyto(out, x),
        },
        repeats=4,
    )  # fmt: skip
    print(
        "### Transform: float32, 1,000,000 x 256, read plus write\n\n| | GB/s | times sklearn (target 3) |\n|---|---|---|"
    )
    for name, speed in found.items():
        print(f"| {name} | {speed:.2f} | {speed / found['sklearn']:.1f} |")
    far = (1e6 + np.random.default_rng(0).standard_normal((200_000, 4))).astype(np.float32)
    ours, theirs = wp.Standardizer().fit(far), StandardScaler().fit(far)
    truth = (far.astype(np.float64) - ours.mean_) / ours.scale_
    ulp = np.spacing(np.abs(truth).astype(np.float32))
    print(
        f"\nWith a mean of 1e6 standard deviations: off by at most {np.max(np.abs(ours.transform(far) - truth) / ulp):.1f} units in the last place "
        f"(target 2); sklearn {np.max(np.abs(theirs.transform(far) - truth) / ulp):,.0f}.\n"
    )


def disk() -> None:
    gigabytes = float(os.environ.get("GIGABYTES", "20"))
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as folder:
        path, rows = Path(folder) / "x.npy", int(gigabytes * 1e9 / 4 / 256)
        array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 256))
        block = np.random.default_rng(0).standard_normal((100_000, 256), dtype=np.float32)
        for start in range(0, rows, len(block)):
            array[start : start + len(block)] = block[: rows - start]
            array.flush()
        del array
        code = (
            "import sys, time, wellposed as wp\nstart = time.time()\n"
            "n = wp.Standardizer().fit(sys.argv[1]).n_samples_seen_\n"
            "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\nprint(n, time.time() - start, int(peak) / 1e3)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        seen, seconds, peak = map(float, done.stdout.split())
    print(
        f"### {gigabytes:.0f} GB of npy on disk\n\n{seen:,.0f} rows in {seconds:.0f} s, {peak:.0f} MB resident at most (target 500).\n"
    )


def early() -> None:
    runs, read, covered = 1000, [], {"mean": 0, "std": 0}
    x = np.random.default_rng(0).standard_normal(1_000_000)[:, None] * 3 + 1
    mean, std = x.mean(), x.std()
    for seed in range(runs):
        found = wp.Standardizer(early_stop=0.01, random_state=seed).fit(x)
        bounds = found.confidence_interval()
        read.append(found.n_samples_seen_ / len(x))
        covered["mean"] += bool(bounds["mean"][0, 0] <= mean <= bounds["mean"][1, 0])
        covered["std"] += bool(bounds["std"][0, 0] <= std <= bounds["std"][1, 0])
    print(f"### early_stop=0.01 on 1,000,000 rows, {runs} runs\n")
    print(
        f"read {max(read):.2%} at most (target 2 %); the 95 % interval holds the mean in {covered['mean'] / runs:.1%}, the standard deviation in "
        f"{covered['std'] / runs:.1%} of the runs (target 93 to 97 %).\n"
    )


def engines() -> None:
    import dask.array as da
    import duckdb
    import pandas as pd
    import polars as pl
    from dask.distributed import Client, LocalCluster

    x = np.random.default_rng(0).standard_normal((40_000, 3)) * [1, 5, 0.1] + [0, 100, 1.7e9]
    frame = pd.DataFrame(x, columns=list("abc"))
    found = {
        "NumPy": wp.Standardizer().fit(x),
        "polars": wp.Standardizer().fit(pl.DataFrame(frame)),
        "polars, lazy": wp.Standardizer().fit(pl.DataFrame(frame).lazy()),
        "duckdb": wp.Standardizer().fit(duckdb.sql("select * from frame")),
    }
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        found["Dask, 2 processes"] = wp.Standardizer().fit(da.from_array(x, chunks=(3000, 3)))
    ranks = (
        "import sys, numpy as np, torch.distributed as dist, wellposed as wp\ndist.init_process_group('gloo')\n"
        "x = np.load(sys.argv[1])[dist.get_rank()::2]\ns = wp.Standardizer().fit(x).all_gather()\n"
        "if dist.get_rank() == 0: s.save(sys.argv[2])\ndist.destroy_process_group()"
    )
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        Path(f"{folder}/ranks.py").write_text(ranks)
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            f"{folder}/ranks.py",
            f"{folder}/x.npy",
        ]
        subprocess.run(
            [*command, f"{folder}/s.json"], check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        found["torch.distributed, 2 ranks"] = wp.Standardizer.load(f"{folder}/s.json")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    found["Ray"] = wp.Standardizer().fit(ray.data.from_pandas(frame).repartition(4))
    ray.shutdown()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    found["Spark"] = wp.Standardizer().fit(spark.createDataFrame(frame).repartition(3))
    spark.stop()
    truth = wp.Moments.of(x, reproducible=True)
    print(
        "### One data set through every engine: digits of mean (beside the larger of mean and deviation) and deviation, the worst of 3 columns (target 15)\n"
    )
    print("| engine | mean | standard deviation |\n|---|---|---|")
    for name, standardizer in found.items():
        size = np.maximum(np.abs(truth.mean), truth.std)
        shown = [
            np.max(np.abs(standardizer.mean_ - truth.mean) / size),
            np.max(np.abs(standardizer.scale_ / truth.std - 1)),
        ]
        print(f"| {name} | " + " | ".join(f"{min(17.0, -log10(s)) if s else 17.0:.1f}" for s in shown) + " |")
    print()


if __name__ == "__main__":
    import sklearn

    print(
        f"wellposed {wp.__version__}, numpy {np.__version__}, scikit-learn {sklearn.__version__}; {os.cpu_count()} cores.\n"
    )
    parts: dict[str, Callable[[], None]] = {
        f.__name__: f for f in (nist, stream, constants, fit, images, transform, disk, early, engines)
    }
    for name in sys.argv[1:] or parts:
        parts[name]()
