"""Which rows a state has seen, in a few kilobytes: to notice that it saw the test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wellposed.numerics.arrays import Array
from wellposed.numerics.kernels import MUCH, compile_row_sums

_KEPT = 256
_WINDOW = 4  # entries in the middle of a row that decide whether the whole row is looked at
_GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15
_ODD = np.uint64(0xBF58476D1CE4E5B9)
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Fingerprint:
    """The `_KEPT` smallest 64-bit hashes of rows, of those whose middle hashes lowest (a bottom-k sketch: Broder 1997).

    `keys` sort the rows, `hashes` are of whole rows; both uint64, ascending by key. A row is an entry of axis 0, in
    float64. `rows` is the number of rows seen, `distinct` whether hardly any of those kept came twice.
    """

    keys: Array
    hashes: Array
    rows: int
    repeated: int = 0

    @staticmethod
    def of(array: Array) -> Fingerprint:
        """Of an array [n, ...] of real numbers."""
        total = Fingerprint.empty()
        flat = array.reshape(len(array), -1) if array.size else np.zeros((0, 1))
        for start in range(0, len(flat), _BLOCK):
            total = total + _of_block(flat[start : start + _BLOCK], total.limit, much=array.nbytes >= MUCH)
        return total

    @staticmethod
    def empty() -> Fingerprint:
        none = np.zeros(0, dtype=np.uint64)
        return Fingerprint(none, none, 0)

    @property
    def limit(self) -> np.uint64:
        """Keys above it are not kept."""
        return self.keys[-1] if len(self.keys) >= _KEPT else np.uint64(2**64 - 1)

    def __add__(self, other: Fingerprint) -> Fingerprint:
        keys = np.concatenate([self.keys, other.keys])
        hashes = np.concatenate([self.hashes, other.hashes])
        order = np.lexsort((hashes, keys))
        keys, hashes = keys[order], hashes[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = (keys[1:] != keys[:-1]) | (hashes[1:] != hashes[:-1])
        repeated = self.repeated + other.repeated + int((~first[:_KEPT]).sum())
        return Fingerprint(keys[first][:_KEPT], hashes[first][:_KEPT], self.rows + other.rows, repeated)

    def seen(self, array: Array) -> tuple[int, int]:
        """Of the rows of `array` that would have been kept: how many there are, and how many of them this state has
        seen.

        (0, 0) where that is no evidence, for the rows of this state repeat themselves.
        """
        if not self.rows or self.repeated > len(self.keys) // 8 or array.ndim < 1:
            return 0, 0
        flat = array.reshape(len(array), -1)
        known, asked, met = set(zip(self.keys.tolist(), self.hashes.tolist(), strict=True)), 0, 0
        last = max(known) if len(known) >= _KEPT else (2**64, 0)
        for start in range(0, len(flat), _BLOCK):
            found = _of_block(flat[start : start + _BLOCK], self.limit, keep=None)
            pairs = [pair for pair in zip(found.keys.tolist(), found.hashes.tolist(), strict=True) if pair <= last]
            asked += len(pairs)
            met += sum(pair in known for pair in pairs)
        return asked, met

    def to_dict(self) -> dict[str, Any]:
        """Hexadecimal, for JSON has no 64-bit integers."""
        return {
            "rows": self.rows,
            "repeated": self.repeated,
            "keys": [f"{value:x}" for value in self.keys.tolist()],
            "hashes": [f"{value:x}" for value in self.hashes.tolist()],
        }

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Fingerprint:
        keys, hashes = (np.array([int(v, 16) for v in plain[k]], dtype=np.uint64) for k in ("keys", "hashes"))
        return Fingerprint(keys, hashes, int(plain["rows"]), int(plain["repeated"]))


def _of_block(flat: Array, limit: np.uint64, keep: int | None = _KEPT, *, much: bool = False) -> Fingerprint:
    d = flat.shape[1]
    middle = max(0, d // 2 - _WINDOW // 2)
    keys = _hashed(flat[:, middle : middle + _WINDOW], much=much)
    below = np.flatnonzero(keys <= limit)
    if keep is not None and len(below) > 4 * keep:
        below = below[keys[below] <= np.partition(keys[below], 4 * keep)[4 * keep]]
    hashes = _hashed(flat[below])
    order = np.lexsort((hashes, keys[below]))
    found, hashes = keys[below][order], hashes[order]
    if keep is None:
        return Fingerprint(found, hashes, len(flat))
    first = np.ones(len(found), dtype=bool)
    first[1:] = (found[1:] != found[:-1]) | (hashes[1:] != hashes[:-1])
    return Fingerprint(found[first][:keep], hashes[first][:keep], len(flat), int((~first).sum()))


def _hashed(rows: Array, *, much: bool = False) -> Array:
    """One uint64 per row: a polynomial of its numbers' bits, mixed (splitmix64's finaliser; Steele, Lea, Flood
    2014).
    """
    factors = np.array([pow(_GOLDEN_RATIO_64, k + 1, 2**64) for k in range(rows.shape[1])] or [1], dtype=np.uint64)
    compiled = compile_row_sums() if much and rows.dtype in (np.float32, np.float64) else None
    total = (_row_sums if compiled is None else compiled)(rows, factors)
    for shift in (30, 27):
        total = (total ^ (total >> np.uint64(shift))) * _ODD
    return np.asarray(total ^ (total >> np.uint64(31)))


def _row_sums(rows: Array, factors: Array) -> Array:
    bits = (np.ascontiguousarray(rows, dtype=np.float64) + 0.0).view(np.uint64)  # + 0.0: -0 is 0
    mixed = bits ^ (bits >> np.uint64(32))
    total: Array = (mixed * factors[: rows.shape[1]]).sum(axis=1, dtype=np.uint64)
    return total
