import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The benchmarks' cases are tests too.
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
settings.register_profile("ours", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("ours"), derandomize=True)
# The same examples at every run where nobody looks for new ones.
settings.load_profile("ci" if os.environ.get("CI") else "ours")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)
