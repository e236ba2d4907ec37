"""The places that every way from an input to the loss passes: post-dominators in the graph of operations.

In one sweep from the end, since operations come in the order in which they ran (Cooper, Harvey & Kennedy 2001, on a
graph without circles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wellposed.backends.measured import Operation


def trunk(operations: Sequence[Operation], counts: Callable[[Operation], bool]) -> list[int]:
    """The operations that every way passes from one input on: from the input with the most operations that count among
    them, and of several such (the same network on one batch after the other) from the one that gets most gradient.

    What leads to no gradient, as an output that the loss does not read, is no way to the loss.
    """
    following = _nearest(operations)
    starts = [
        index for index, operation in enumerate(operations) if not operation.inputs and following[index] is not None
    ]
    sources = [
        index for index in starts if operations[index].reads_batch
    ] or starts  # positions and the like are no inputs
    chains = [_chain(index, following) for index in sources]

    def worth(chain: list[int]) -> tuple[int, float]:
        gradient = operations[chain[0]].gradient
        return sum(counts(operations[index]) for index in chain), gradient.norm if gradient is not None else 0.0

    return max(chains, key=worth, default=[])


def readers_of(operations: Sequence[Operation]) -> list[list[int]]:
    """For each operation those that read what it makes, in order."""
    readers: list[list[int]] = [[] for _ in operations]
    for index, operation in enumerate(operations):
        for source in operation.inputs:
            readers[source].append(index)
    return readers


def _nearest(operations: Sequence[Operation]) -> list[int | None]:
    """For each operation the nearest later one that every way from it passes; len(operations) for the loss itself, None
    off every way.
    """
    end = len(operations)
    readers = readers_of(operations)
    ends = [index for index in range(end) if not readers[index]]
    read = [
        index for index in ends if (gradient := operations[index].gradient) is not None and gradient.norm != 0
    ] or ends[-1:]
    nearest: list[int | None] = [None] * end
    for index in reversed(range(end)):
        after = [end] if index in read else [reader for reader in readers[index] if nearest[reader] is not None]
        if after:
            common = after[0]
            for other in after[1:]:
                common = _meeting(common, other, nearest)
            nearest[index] = common
    return nearest


def _meeting(one: int, other: int, nearest: list[int | None]) -> int:
    while one != other:
        lower, higher = sorted((one, other))
        step = nearest[lower]
        assert step is not None  # only operations on a way to the loss are compared
        one, other = step, higher
    return one


def _chain(index: int, nearest: list[int | None]) -> list[int]:
    chain = []
    at: int | None = index
    while at is not None and at < len(nearest):
        chain.append(at)
        at = nearest[at]
    return chain
