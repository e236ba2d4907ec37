"""Mean and standard deviation of a Ray Dataset, on this machine.

python examples/stats_ray.py
"""

import numpy as np
import ray

import wellposed as wp


def main() -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    x = np.random.default_rng(0).normal([0.0, 100.0], [1.0, 5.0], size=(100_000, 2))
    dataset = ray.data.from_items([{"a": float(a), "b": float(b)} for a, b in x])
    standardizer = wp.Standardizer().fit(dataset)
    print("names", list(standardizer.feature_names_in_))
    print("mean ", standardizer.mean_)
    print("std  ", standardizer.scale_)
    ray.shutdown()


if __name__ == "__main__":
    main()
