"""What a fit has seen: moments, names, a fingerprint of the rows; merged with +, written as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from wellposed.errors import InputError
from wellposed.inputs.features import Features, features_of
from wellposed.inputs.fingerprint import Fingerprint
from wellposed.numerics.kernels import MUCH
from wellposed.numerics.moments import Moments


@dataclass(frozen=True)
class State:
    """`features` tells names and axes of the first rows seen."""

    moments: Moments
    fingerprint: Fingerprint
    names: tuple[str, ...] = ()

    @staticmethod
    def of(
        data: Any, axis: int | tuple[int, ...] | None = None, *, weights: Any = None, reproducible: bool = False
    ) -> State:
        """Of an array or table in memory."""
        features = features_of(data, axis)
        if features.array.nbytes < MUCH:
            moments = Moments.of(features.array, features.axes, weights, reproducible)
            return State(moments, Fingerprint.of(features.array), features.names)
        with ThreadPoolExecutor(1) as pool:  # one waits for single numbers from memory, the other reads all of it
            fingerprint = pool.submit(Fingerprint.of, features.array)
            moments = Moments.of(features.array, features.axes, weights, reproducible)
            return State(moments, fingerprint.result(), features.names)

    def __add__(self, other: State) -> State:
        return State(self.moments + other.moments, self.fingerprint + other.fingerprint, self.names)

    def where(self, j: int) -> str:
        """The user's name for feature j."""
        return Features.called(self.names, j)

    def to_dict(self) -> dict[str, Any]:
        return {"moments": self.moments.to_dict(), "fingerprint": self.fingerprint.to_dict(), "names": list(self.names)}

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> State:
        """What `to_dict` wrote; raises `InputError` for anything else."""
        try:
            return State(
                Moments.from_dict(plain["moments"]), Fingerprint.from_dict(plain["fingerprint"]), tuple(plain["names"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("this is no state of a fit") from error


def merge(states: Iterable[State | None]) -> State:
    """All of them, in order; None stands for a part without rows. Raises `InputError` if nothing is left."""
    total: State | None = None
    for state in states:
        if state is not None:
            total = state if total is None else total + state
    if total is None:
        raise InputError("the data is empty")
    return total
