"""Mean and standard deviation of rows that lie on several ranks: one all-gather of the state.

torchrun --standalone --nproc-per-node 2 examples/stats_ranks.py
"""

import numpy as np
import torch.distributed as dist

import wellposed as wp


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    own = np.random.default_rng(rank).normal([0.0, 100.0], [1.0, 5.0], size=(100_000, 2))
    standardizer = wp.Standardizer().fit(own).all_gather()
    if rank == 0:
        print("rows", standardizer.n_samples_seen_)
        print("mean", standardizer.mean_)
        print("std ", standardizer.scale_)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
