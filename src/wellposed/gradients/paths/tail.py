"""Is a fault one of the last block? Then it goes where the size is cut to a power of two, and comes with three more."""

from __future__ import annotations

from wellposed.gradients.paths.held import Held, Kind
from wellposed.users_code import ask

_MORE = 3  # beyond whole blocks: no block has so few
_LEAST = 8  # below which there are no blocks


def in_the_last_block(held: Held, name: str, kind: Kind, begins: tuple[int, ...]) -> bool | None:
    """Whether a tensor is right with inputs of whole blocks alone, and wrong with a few more; None where no size can be
    cut. `begins` are numbers at which what is wrong begins.
    """
    most = held.ways.other_sizes // 2  # each is cut twice
    sizes = sorted((size for size in held.ways.sizes if size > _LEAST), reverse=True)[:most]
    wholes = {size: {1 << (size.bit_length() - 1), *(b for b in begins if _LEAST <= b < size)} for size in sizes}
    told = [_told(held, size, whole, name, kind) for size in sizes for whole in sorted(wholes[size])]
    return True if any(told) else None if all(one is None for one in told) else False


def _told(held: Held, size: int, whole: int, name: str, kind: Kind) -> bool | None:
    if size == whole:
        return None
    without, more = (_right(held, size, to, name, kind) for to in (whole, whole + _MORE))
    return None if without is None or more is None else without and not more


def _right(held: Held, size: int, to: int, name: str, kind: Kind) -> bool | None:
    """At this size; None where it cannot be told."""
    if to >= size:
        return False  # as it was found to be
    ways = held.ways.cut(size, to)
    if ways is None:
        return None
    there = Held(ways)
    made = ask(lambda: there.exact and there.measured(there.candidate, kind), None)
    if not made:
        return None
    return not next(one for one in made if one.name == name).wrong
