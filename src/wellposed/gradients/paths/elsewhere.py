"""A kernel that is right on the inputs given may be wrong on others of their kind: other sizes, layouts and values are
tried, and the smallest shapes are looked for at which it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from wellposed.backends.ways import Variation, Ways
from wellposed.findings import Finding, Verdict
from wellposed.gradients.rules.paths import PATHS
from wellposed.printable import listed
from wellposed.users_code import ask


class Judged(Protocol):
    """What is found on two ways; `finite_alone`: whether all that is asked is whether numbers are finite."""

    def __call__(self, ways: Ways, *, finite_alone: bool) -> Finding | None: ...


_FEWEST = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    9,
    10,
    17,
    18,
    33,
    34,
)  # to which a size is cut: beyond each power of two, where a block begins
_CAUSES: dict[str, str] = {"masked": "padding"}
"""What a variation alone shows."""
_SATURATED: Variation = "large"  # gradients may be too small for any two formulas to agree
_OF_BLOCKS = ("missing-term", "wrong-rows", "tail")
_VARIATIONS: tuple[tuple[Variation, str], ...] = (
    ("not in one piece", "inputs that do not lie in one piece"),
    ("broadcast", "inputs of one row for all (stride 0)"),
    ("summed", "an incoming gradient of one number for all (stride 0), as a sum gives"),
    ("large", "inputs a hundred times as large"),
    ("small", "inputs of a millionth"),
    ("zero rows", "every other row zero"),
    ("masked", "all of the mask off"),
    ("unmasked", "all of the mask on"),
    ("repeated", "one index throughout"),
)


@dataclass(frozen=True)
class Tried:
    """Other inputs: how they are told of, what they may show, and the two ways there."""

    ways: Ways
    told: str
    cause: str = ""
    size: int = -1
    finite_alone: bool = False


def wrong_elsewhere(ways: Ways, judged: Judged) -> Finding | None:
    """What is wrong on the first inputs of the same kind that show it; None where all that can be tried is right."""
    for tried in _others(ways):
        found = _failing(tried, judged)
        ways.runs += tried.ways.runs
        if found is not None:
            smallest = tried if tried.size < 0 else _smallest(tried, judged)
            cause = tried.cause if tried.cause != "tail" or found.cause in _OF_BLOCKS else ""
            return _told(smallest, _failing(smallest, judged) or found, cause)
    return None


def _failing(tried: Tried, judged: Judged) -> Finding | None:
    """What raises there is not silent."""
    found = ask(lambda: judged(tried.ways, finite_alone=tried.finite_alone), None)
    if found is None or found.verdict is not Verdict.FAILS:
        return None
    # what a row is in which all is masked, formulas are free to say; its gradient then is not
    return None if tried.cause == "padding" and found.where.startswith("output") else found


def _others(ways: Ways) -> Iterator[Tried]:
    for variation, told in _VARIATIONS:
        there = ask(partial(ways.varied, variation), None)
        if there is not None:
            yield Tried(there, f"With {told}", _CAUSES.get(variation, ""), finite_alone=variation == _SATURATED)
    cuts = dict.fromkeys((size, to_of(size)) for to_of in _SIZES for size in sorted(ways.sizes, reverse=True))
    for size, to in [cut for cut in cuts if _sound(ways, *cut)][: ways.other_sizes]:
        there = ask(partial(ways.cut, size, to), None)
        if there is not None:
            yield Tried(there, "", "" if to < 2 else "tail", to)


def _sound(ways: Ways, size: int, to: int) -> bool:
    """Halves and steps of two need an even size, padding on both sides an odd one: only what counts examples becomes
    anything. Sizes beside one another belong together.
    """
    if not 0 <= to < size or {size - 1, size + 1} & set(ways.sizes):
        return False
    examples = all(axis == 0 for shape in ways.shapes for axis, length in enumerate(shape) if length == size)
    return examples or (to > 0 and to % 2 == size % 2)


_SIZES: tuple[Callable[[int], int], ...] = (
    lambda size: size - 1, lambda size: size - 2, lambda _: 1, lambda size: size // 2 + 1, lambda size: size // 2 + 2,
    lambda _: 2, lambda _: 0,
)  # fmt: skip


def _smallest(tried: Tried, judged: Judged) -> Tried:
    """With every size as small as still shows it."""
    for size in sorted(tried.ways.sizes, reverse=True):
        for to in _FEWEST:
            there = ask(partial(tried.ways.cut, size, to), None) if _sound(tried.ways, size, to) else None
            cut = None if there is None else replace(tried, ways=there)
            if cut is not None and _failing(cut, judged) is not None:
                tried = cut
                break
    return tried


def _told(tried: Tried, found: Finding, cause: str) -> Finding:
    shapes = listed([str(shape) for shape in tried.ways.shapes], 6)
    told = tried.told or f"With inputs of the shapes {shapes}"
    text = f"{told} it is wrong, though it is right on those given: {found.message[0].lower()}{found.message[1:]}"
    cause = cause or found.cause
    return PATHS.found(Verdict.FAILS, text, where=found.where, cause=cause, evidence=found.evidence)
