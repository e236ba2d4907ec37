"""wellposed: is this training problem well posed? Inputs, signals, weights, derivatives, gradients.

import wellposed as wp
report = wp.checkup(wp.TorchProblem(model, loss, (inputs, targets)))
print(report)
"""

from __future__ import annotations

import importlib
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

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
from wellposed.backends.numpy import FunctionProblem
from wellposed.derivatives.estimate import Estimate
from wellposed.derivatives.functions import derivative, directional, gradient, jacobian
from wellposed.errors import CheckFailed, InputError, WellposedError
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.inputs.standardizer import Standardizer
from wellposed.loops import checked_training
from wellposed.numerics.fans import Fan
from wellposed.numerics.moments import Moments
from wellposed.report import Report
from wellposed.weights.gains import Gain

__version__ = _version("wellposed")

if TYPE_CHECKING:
    from wellposed.backends.jax import JaxProblem
    from wellposed.backends.torch import TorchProblem

# The frameworks' problems are looked up when they are asked for, so that importing wellposed imports no framework.
_ADAPTERS = {"TorchProblem": "wellposed.backends.torch", "JaxProblem": "wellposed.backends.jax"}


def __getattr__(name: str) -> Any:
    if name not in _ADAPTERS:
        raise AttributeError(f"module 'wellposed' has no attribute {name!r}")
    framework = _ADAPTERS[name].rpartition(".")[2]
    try:
        return getattr(importlib.import_module(_ADAPTERS[name]), name)
    except ModuleNotFoundError as error:
        if error.name != framework:
            raise
        raise ImportError(f"{name} needs {framework}\n\nHint: pip install 'wellposed[{framework}]'") from error


__all__ = [
    "CheckFailed", "Estimate", "Evidence", "Fan", "Finding", "FunctionProblem", "Gain", "InputError", "JaxProblem",
    "Moments", "Remedy",
    "Report", "Standardizer", "TorchProblem", "Verdict", "WellposedError", "check_accumulation", "check_gradients",
    "check_grads",
    "check_inputs", "check_objective", "check_ranks", "check_signals", "check_weights", "checked_training", "checkup",
    "derivative", "directional", "fan", "gain", "gradcheck", "gradient", "initialize", "jacobian", "spectrum", "trace",
]  # fmt: skip
