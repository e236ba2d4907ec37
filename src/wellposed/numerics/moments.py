"""Mean, variance and extremes per feature: a state that merges without losing digits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics import accumulate
from wellposed.numerics.arrays import Array, Vector, of_any_library
from wellposed.numerics.exact import Exact
from wellposed.numerics.shifted import Shifted

_WHOLE = 1e15  # below it every whole number is a float64
_SINGLE = 4  # bytes of a float32

_FORMAT = "wellposed.Moments"
_MOST_EXPONENT = 2200  # powers of two: float64 reaches from 2^-1074 to 2^1024, and its squares twice as far
_FLOATS = ("count", "shift", "offset", "m2", "rest")


@dataclass(frozen=True)
class Moments:
    """Moments of D features. All arrays have shape [D]; `a + b` is the state of both, `a - b` of a without b's rows.

    `spread` is the state itself: `Exact` sums of integers (and of floats, where `reproducible` was asked for), the same
    bit for bit under any partition and order; or `Shifted`, which keeps at least 15 digits. NaN and infinity are
    counted and otherwise skipped. `min` and `max` are of finite values; NaN where a feature has none, and after a
    subtraction, since they cannot be known.
    """

    spread: Shifted | Exact
    nan_count: Vector
    inf_count: Vector
    min: Vector
    max: Vector

    @staticmethod
    def of(
        data: Any, axis: int | tuple[int, ...] | None = -1, weights: Any = None, reproducible: bool = False
    ) -> Moments:
        """The state of an array of any real dtype.

        `axis` counts the features, all other axes are examples: -1 for [N, ..., D], 1 for images [N, C, H, W], several
        for one feature per combination, None for one feature in all. `weights` [N] are how often each entry of axis 0
        counts. `reproducible` sums without rounding, 5 to 20 times slower.

        Raises `InputError` for text, complex numbers, axes that do not exist and weights that are negative or not
        finite.
        """
        array = of_any_library(data, "the data", "this is no array")
        if array.dtype.kind not in "fiub":
            raise InputError(f"moments are of real numbers, not of {array.dtype}")
        axes = _axes(axis, array.ndim)
        given = None if weights is None else _weights(weights, array, axes)
        if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
            array = array.astype(np.float32 if array.dtype.itemsize < _SINGLE else np.float64)
        found = reduce(accumulate.join, accumulate.pieces(array, axes, given, reproducible))
        return Moments(*found)

    @staticmethod
    def empty(d: int) -> Moments:
        """Of no rows."""
        none = np.full(d, np.nan)
        return Moments(Shifted.empty(d), np.zeros(d), np.zeros(d), none, none)

    def __len__(self) -> int:
        """The number of features."""
        return self.min.size

    @property
    def count(self) -> Vector:
        """How many finite numbers were seen (the sum of their weights)."""
        return self.spread.count

    @property
    def mean(self) -> Vector:
        return self.spread.mean()[0]

    @property
    def mean_parts(self) -> tuple[Vector, Vector]:
        """The mean in two float64, their exact sum being closer to it than one can be."""
        return self.spread.mean()

    @property
    def var(self) -> Vector:
        """Population variance (ddof = 0); NaN where nothing finite was seen."""
        return self.variance()

    def variance(self, ddof: float = 0) -> Vector:
        """Squared deviations / (count - ddof); NaN where count <= ddof. Beyond float64's range infinite or 0, where
        `deviation` is not.
        """
        return np.where(self.constant & (self.count > ddof), 0.0, self.spread.variance(ddof))

    @property
    def std(self) -> Vector:
        return self.deviation()

    def deviation(self, ddof: float = 0) -> Vector:
        """The square root of `variance`, also where that is beyond float64's range."""
        return np.where(self.constant & (self.count > ddof), 0.0, self.spread.std(ddof))

    @property
    def constant(self) -> Array:
        """Boolean [D]: every finite value seen was the same number. No threshold is involved."""
        if isinstance(self.spread, Exact):
            return self.spread.constant
        # Neighbouring integers of 64 bits are one float64, but their deviations are not 0.
        constant: Array = (self.count > 0) & (self.min == self.max) & (self.spread.m2 == 0)
        return constant

    def __add__(self, other: Moments) -> Moments:
        self._match(other)
        return Moments(*accumulate.join(self._pieces(), other._pieces()))

    def __sub__(self, other: Moments) -> Moments:
        self._match(other)
        if np.any(other.count > self.count * (1 + 1e-12)):  # weights may be off by rounding
            raise InputError(
                "the second state is not part of the first: it has more rows", hint="a - b leaves what b has not seen"
            )
        one, two = self.spread, other.spread
        unknown = np.full(len(self), np.nan)
        if isinstance(one, Exact) and isinstance(two, Exact):
            spread: Shifted | Exact = one - two
        else:
            spread = accumulate.as_shifted(one) - accumulate.as_shifted(two)
        return Moments(spread, self.nan_count - other.nan_count, self.inf_count - other.inf_count, unknown, unknown)

    def __eq__(self, other: object) -> bool:
        """The same state, bit for bit."""
        return isinstance(other, Moments) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def _pieces(self) -> accumulate.Pieces:
        return accumulate.Pieces(self.spread, self.nan_count, self.inf_count, self.min, self.max)

    def _match(self, other: Moments) -> None:
        if len(self) != len(other):
            raise InputError(f"moments of {len(self)} features cannot be combined with those of {len(other)}")

    def to_json(self) -> str:
        """A JSON object, readable without this library: "mean" and "std" beside the state, NaN as null."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """What `to_json` writes."""
        plain: dict[str, Any] = {"format": _FORMAT, "version": 1, "mean": _listed(self.mean), "std": _listed(self.std)}
        if isinstance(self.spread, Exact):
            sums = self.spread.stripped()
            plain |= {
                "count": _listed(sums.count),
                "sum": list(map(str, sums.s1)),
                "squares": list(map(str, sums.s2)),
                "exponent": sums.exponent,
            }
        else:
            plain |= {name: _listed(self.spread.parts()[name]) for name in _FLOATS}
            if self.spread.unit.any():
                plain["unit"] = self.spread.unit.tolist()
        return plain | {name: _listed(vars(self)[name]) for name in ("nan_count", "inf_count", "min", "max")}

    @staticmethod
    def from_json(text: str) -> Moments:
        """What `to_json` wrote, bit for bit. Nothing in it is executed. Raises `InputError` for anything else."""
        try:
            return Moments.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise InputError("this is no JSON that Moments.to_json wrote") from error

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Moments:
        """As `from_json`."""
        try:
            if plain["format"] != _FORMAT or plain["version"] != 1:
                raise KeyError("format")
            count, *others = (_unlisted(plain[name]) for name in ("count", "nan_count", "inf_count", "min", "max"))
            _demand(all((array >= 0).all() and np.isfinite(array).all() for array in (count, *others[:2])), "counts")
            _demand(not (others[2] > others[3]).any(), "range")
            if "sum" in plain:
                s1, s2 = (np.array([*map(int, plain[name]), None], dtype=object)[:-1] for name in ("sum", "squares"))
                _demand(len({len(s1), len(s2), len(count), *map(len, others)}) == 1, "lengths")
                _demand(all(type(part) is str for name in ("sum", "squares") for part in plain[name]), "digits")
                _demand(type(plain["exponent"]) is int and abs(plain["exponent"]) <= _MOST_EXPONENT, "exponent")
                _demand(
                    all(n == int(n) and s2k * int(n) >= s1k * s1k for n, s1k, s2k in zip(count, s1, s2, strict=True)),
                    "squares",
                )
                return Moments(Exact(count, s1, s2, plain["exponent"]), *others)
            floats = [_unlisted(plain[name]) for name in _FLOATS]
            unit = plain.get("unit", [0] * len(floats[0]))
            _demand(all(type(part) is int and abs(part) <= _MOST_EXPONENT for part in unit), "unit")
            _demand(len({len(array) for array in (*floats, *others, unit)}) == 1, "lengths")
            state = Shifted(**dict(zip(_FLOATS, floats, strict=True)), unit=np.array(unit, dtype=np.int64))
            seen = count > 0
            _demand(all(np.isfinite(array[seen]).all() for array in floats), "sums")
            _demand(bool((state.m2 >= -abs(state.rest))[seen].all()), "squares")
            return Moments(state, *others)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError("this is no JSON that Moments.to_json wrote") from error


def _demand(sound: bool, what: str) -> None:
    if not sound:
        raise ValueError(what)


def _axes(axis: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    if axis is None or axis == () or ndim == 0:
        return ()
    wanted = (axis,) if isinstance(axis, int) else tuple(axis)
    if ndim == 1 and wanted == (-1,):
        return ()  # one feature
    for one in wanted:
        if not -ndim <= one < ndim:
            raise InputError(f"axis {one} does not exist in data of {ndim} dimensions")
    return tuple(sorted(one % ndim for one in wanted))


def weights_of(weights: Any) -> Vector:
    """As float64; raises `InputError` for anything else."""
    try:
        return np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("weights must be numbers") from error


def _weights(weights: Any, array: Array, axes: tuple[int, ...]) -> Vector:
    given = weights_of(weights)
    rows = array.shape[0] if array.ndim else 1
    if 0 in axes or given.shape != (rows,):
        raise InputError(
            f"weights have shape {given.shape}, but there are {rows} rows",
            hint="give one weight for each entry of axis 0",
        )
    if not np.isfinite(given).all() or (given < 0).any():
        raise InputError("weights must be finite and not negative")
    if not given.any():
        raise InputError("all weights are zero")
    return given


def _listed(values: Vector) -> list[float | None]:
    return [
        None if value != value else int(value) if value.is_integer() and abs(value) < _WHOLE else value
        for value in map(float, values)
    ]


def _unlisted(values: list[float | None]) -> Vector:
    _demand(all(value is None or type(value) in (int, float) for value in values), "numbers")
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
