"""Checks in a training loop: once, and then out of the way."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wellposed.errors import InputError
from wellposed.loops.context import Checked, checked_training

if TYPE_CHECKING:
    from wellposed.loops.keras import KerasCheckup
    from wellposed.loops.lightning import LightningCheckup
    from wellposed.loops.trainer import TrainerCheckup

_CALLBACKS = {
    "KerasCheckup": ("keras", "keras"),
    "LightningCheckup": ("lightning", "lightning"),
    "TrainerCheckup": ("trainer", "transformers"),
}


def __getattr__(name: str) -> Any:
    if name not in _CALLBACKS:
        raise AttributeError(f"module 'wellposed.loops' has no attribute {name!r}")
    module, package = _CALLBACKS[name]
    try:
        return getattr(importlib.import_module(f"wellposed.loops.{module}"), name)
    except ModuleNotFoundError as error:
        raise InputError(f"{name} needs {package}", hint=f"pip install {package}") from error


__all__ = ["Checked", "KerasCheckup", "LightningCheckup", "TrainerCheckup", "checked_training"]
