import gc
import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Half of the time of a test of JAX is compilation, of what runs once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The benchmarks' cases are tests too.
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
settings.register_profile("quick", deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("quick"), max_examples=60)  # `make test-all`
# The same examples at every run where nobody looks for new ones.
settings.register_profile("ci", parent=settings.get_profile("quick"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "quick")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


# What repeats on a larger scale what a quicker test sees: `make test-all` runs it, `make test` does not.
SLOW = {
    "test_checkup.py": ["test_a_large_model_with_a_backward_pass_of_its_own_is_checked_on_all_rows"],
    "test_cli.py": [f"test_examples_as_a_user_runs_them[{name}]" for name in (
        "broken_deep.py:remedied-0-fails2", "growth.py-1-fails3", "growth.py:shrinking-1-fails4", "jax_mlp.py-0-fails7")],
    "test_corpus.py": ["test_bugs_are_found_and_explained_and_healthy_twins_hold[jax]"],
    "test_devices.py": ["test_a_large_model_in_autocast_is_sound_and_as_before[cpu]",
                        "test_a_wrong_backward_pass_of_a_large_model_is_proven[cpu]",
                        "test_a_wrong_tensor_of_a_large_model_is_named[cpu]",
                        "test_what_is_held_beside_a_large_model_agrees[cpu]",
                        "test_without_a_device_it_says_so"],
    "test_gradcheck.py": [f"test_no_operator_s_gradient_fails_that_is_right[{part}]" for part in range(23)],
    "test_initialize.py": [f"test_a_dictionary_of_arrays_is_planned_as_a_torch_model_is[sigmoid-{flag}]"
                           for flag in (True, False)],
    "test_joint.py": [f"test_every_rank_gets_the_same_true_report[{set_ups}]" for set_ups in ("two at length", "four")],
    "test_loops.py": ["test_keras_on_both_backends[jax]", "test_keras_on_another_backend_says_so"],
    "test_pytest_plugin.py": ["test_reports_fail_tests_and_are_summed_up[xdist]"],
    "test_run.py": ["test_under_torchrun_the_first_rank_tells"],
}  # fmt: skip


def pytest_collection_finish():
    """What modules hold stays: steps that are watched look through all that is alive, which is little so."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Also names what is in the list and no longer there."""
    collected = {}
    for item in items:
        if "jax" in item.nodeid:  # what one test has compiled serves the next in the same process
            item.add_marker(pytest.mark.xdist_group("jax"))
        names = SLOW.get(item.path.name, ())
        collected.setdefault(item.path.name, set()).add(item.name)
        if item.name in names:
            item.add_marker(pytest.mark.slow)
    gone = [
        name for file, names in collected.items() if len(names) > 1 for name in SLOW.get(file, ()) if name not in names
    ]
    if gone and not any("::" in argument or argument.startswith("-k") for argument in sys.argv):
        raise pytest.UsageError(f"tests/conftest.py calls slow what is not there: {', '.join(gone)}")
