"""What is kept of a problem's outputs and gradients, to hold another version, device or code against it later.

Of each tensor its products with random signs are kept, whose mean square is the tensor's own (Johnson and Lindenstrauss
1984), in float64 and as the problem computes it, with the scatter of rounding; no weights, and about a kilobyte each.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.paths.apart import floor_of
from wellposed.gradients.paths.held import KINDS, Held, Kind
from wellposed.gradients.rules.paths import PATHS
from wellposed.numerics.arrays import Array, Vector

_SIGNS = 16  # products for each tensor: its size within 18 %
_SAME_FUNCTION = 1e-9  # relative: the same formula in float64, in another order
_SCATTERS = 5.0  # of rounding, then and now


@dataclass(frozen=True)
class Print:
    """Of one tensor: its size, its products with random signs in float64 and as it was computed, and their scatter."""

    shape: tuple[int, ...]
    size: float
    exact: tuple[float, ...]
    seen: tuple[float, ...]
    scatter: float


def prints_of(held: Held) -> dict[str, Print]:
    """Of all outputs and gradients. There must be something exact."""
    return {f"{kind} {name}": _print(held, kind, name) for kind in KINDS for name in getattr(held.candidate[0], kind)}


def _print(held: Held, kind: Kind, name: str) -> Print:
    exact, seen = ([getattr(one, kind)[name] for one in runs or ()] for runs in (held.exact, held.candidate))
    noise = np.var([one - other for one, other in zip(seen, exact, strict=True)], axis=0, ddof=1)
    signs = _signs(name, exact[0])
    in_float64, as_computed = (tuple(map(float, signs @ one[0].ravel())) for one in (exact, seen))
    size, scatter = float(np.linalg.norm(exact[0])), float(np.sqrt(noise.sum()))
    return Print(exact[0].shape, size, in_float64, as_computed, scatter)


def _signs(name: str, like: Array) -> Array:
    """The same ones wherever a tensor of this name and size is."""
    draw = np.random.default_rng(zlib.crc32(f"{name} {like.size}".encode()))
    return draw.integers(0, 2, (_SIGNS, like.size)) * 2.0 - 1.0


def as_data(prints: Mapping[str, Print]) -> dict[str, object]:
    return {name: asdict(one) for name, one in prints.items()}


def from_data(data: Mapping[str, Mapping[str, object]]) -> dict[str, Print]:
    """Raises `TypeError` or `ValueError` for what is no fingerprint."""
    return {name: _from(dict(one)) for name, one in data.items()}


def _from(one: dict[str, object]) -> Print:
    made = Print(**one)  # type: ignore[arg-type]
    return Print(tuple(made.shape), float(made.size), _numbers(made.exact), _numbers(made.seen), float(made.scatter))


def _numbers(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(float, values))


def compare(then: Mapping[str, Print], now: Mapping[str, Print], unit: float) -> list[Finding]:
    """WP509 of what is now against what was then. `unit` is the coarser format's unit roundoff."""
    gone = sorted(then.keys() ^ now.keys())
    if gone:
        return [PATHS.undecided(f"The problem has other tensors than the fingerprint: `{gone[0].partition(' ')[2]}`.")]
    for name, before in then.items():
        told = _compare_one(name, before, now[name], unit)
        if told is not None:
            return [told]
    text = f"{len(then)} outputs and gradients are those of the fingerprint, up to rounding."
    return [PATHS.holds((), text)]


def _compare_one(name: str, before: Print, now: Print, unit: float) -> Finding | None:
    kind, _, where = name.partition(" ")
    what = "The output" if kind == "outputs" else "The gradient by"
    if before.shape != now.shape:
        return PATHS.undecided(f"`{where}` has the shape {now.shape}, in the fingerprint {before.shape}.", where=where)
    size = before.size or now.size or 1.0
    exact, seen = (_distance(getattr(before, way), getattr(now, way)) / size for way in ("exact", "seen"))
    usual = max(2 * floor_of(unit), _SCATTERS * (before.scatter + now.scatter) / size)
    evidence = (
        Evidence("distance to the fingerprint, relative", seen, where, "", f"below {usual:.1g}"),
        Evidence("the same in float64", exact, where, "", f"below {_SAME_FUNCTION:g}"),
    )
    cause = "forward" if kind == "outputs" else ""
    if exact > _SAME_FUNCTION:
        text = (
            f"{what} `{where}` is another than in the fingerprint, in float64 too ({exact:.2g} of its size): what is"
            " computed has changed, or the batch."
        )
        return PATHS.found(Verdict.FAILS, text, where=where, cause=cause, evidence=evidence)
    if seen > usual:
        text = (
            f"{what} `{where}` is another than in the fingerprint ({seen:.2g} of its size), and in float64 it is the"
            " same: the way in which it is computed has changed."
        )
        return PATHS.found(Verdict.FAILS, text, where=where, cause=cause, evidence=evidence)
    return None


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    difference: Vector = np.subtract(one, other)
    return float(np.sqrt(np.mean(difference**2)))
