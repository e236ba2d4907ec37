"""wellposed: is this training problem well posed? Inputs, signals, weights, derivatives, gradients.

import wellposed as wp
report = wp.checkup(wp.TorchProblem(model, loss, (inputs, targets)))
print(report)
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wellposed.api import (
        check_accumulation,
        check_gradients,
        check_grads,
        check_inputs,
        check_objective,
        check_ranks,
        check_signals,
        check_weights,
        checkup,
        fan,
        gain,
        gradcheck,
        initialize,
        spectrum,
        trace,
    )
    from wellposed.backends.jax import JaxProblem
    from wellposed.backends.numpy import FunctionProblem
    from wellposed.backends.protocol import Problem
    from wellposed.backends.torch import TorchProblem
    from wellposed.comparing import check_paths, fingerprint
    from wellposed.derivatives.estimate import Estimate
    from wellposed.derivatives.functions import derivative, directional, gradient, jacobian
    from wellposed.errors import CheckFailed, InputError, Interrupted, WellposedError
    from wellposed.findings import Evidence, Finding, Remedy, Verdict
    from wellposed.inputs.standardizer import Standardizer
    from wellposed.loops import checked_training
    from wellposed.numerics.fans import Fan
    from wellposed.numerics.moments import Moments
    from wellposed.report import Report
    from wellposed.resuming import check_resume
    from wellposed.running import seen_in
    from wellposed.watching import watch
    from wellposed.weights.gains import Gain

__version__ = _version("wellposed")

# Every name is looked up when it is asked for: what is not used is not imported, and no framework is.
_HOMES = {
    "api": "check_accumulation check_gradients check_grads check_inputs check_objective check_ranks check_signals "
    "check_weights checkup fan gain gradcheck initialize spectrum trace",
    "backends.jax": "JaxProblem",
    "backends.numpy": "FunctionProblem",
    "backends.protocol": "Problem",
    "backends.torch": "TorchProblem",
    "comparing": "check_paths fingerprint",
    "derivatives.estimate": "Estimate",
    "derivatives.functions": "derivative directional gradient jacobian",
    "errors": "CheckFailed InputError Interrupted WellposedError",
    "findings": "Evidence Finding Remedy Verdict",
    "inputs.standardizer": "Standardizer",
    "loops": "checked_training",
    "numerics.fans": "Fan",
    "numerics.moments": "Moments",
    "report": "Report",
    "resuming": "check_resume",
    "running": "seen_in",
    "watching": "watch",
    "weights.gains": "Gain",
}
_HOME = {name: f"wellposed.{module}" for module, names in _HOMES.items() for name in names.split()}
_FRAMEWORKS = {"TorchProblem": "torch", "JaxProblem": "jax"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        return _of_another_package(name)
    try:
        found = getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        framework = _FRAMEWORKS.get(name)
        if framework is None or error.name != framework:
            raise
        raise ImportError(f"{name} needs {framework}\n\nHint: pip install 'wellposed[{framework}]'") from error
    globals()[name] = found
    return found


def _of_another_package(name: str) -> Any:
    """A problem of a framework that another package adapts, by its entry point in the group `wellposed.backends`."""
    found = entry_points(group="wellposed.backends", name=name)
    if name.startswith("_") or not found:
        raise AttributeError(f"module 'wellposed' has no attribute {name!r}")
    (entry,) = tuple(found)[:1]
    return entry.load()


def __dir__() -> list[str]:
    return sorted((*_HOME, "__version__"))


__all__ = [
    "CheckFailed", "Estimate", "Evidence", "Fan", "Finding", "FunctionProblem", "Gain", "InputError", "Interrupted",
    "JaxProblem", "Moments", "Problem", "Remedy", "Report", "Standardizer", "TorchProblem", "Verdict",
    "WellposedError", "check_accumulation", "check_gradients", "check_grads", "check_inputs", "check_objective",
    "check_paths", "check_ranks", "check_resume", "check_signals", "check_weights", "checked_training", "checkup",
    "derivative", "directional", "fan", "fingerprint", "gain", "gradcheck", "gradient", "initialize", "jacobian",
    "seen_in", "spectrum", "trace", "watch",
]  # fmt: skip
