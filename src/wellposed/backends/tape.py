"""A NumPy function's operations as they run, and the function run again with some of their results held or moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wellposed.backends.lines import find_caller
from wellposed.numerics.arrays import Array

_INSIDE = ("numpy", "wellposed")


@dataclass
class Node:
    """One operation: NumPy's name for it, its result, the node that it is an elementwise function of (itself where it
    is of none), and the line of the user's code.

    `left` and `right` are the nodes of its operands (-1 where they are none), `operands` its inputs where it has two.
    """

    operation: str
    result: Array
    root: int
    line: str = ""
    operands: tuple[Array, ...] = ()
    reduces: bool = False
    left: int = -1
    right: int = -1

    @property
    def last(self) -> int:
        """The operand's node where there is one only, or the first of two."""
        return self.left if self.left >= 0 else self.right


@dataclass
class Tape:
    """What happens to a node's result: `held` is put in its place, or what it makes of the tape so far; `added` is
    added to it; what `changed` makes of it takes its place."""

    held: Mapping[int, Array | Callable[[Tape], Array]] = field(default_factory=dict)
    added: Mapping[int, Array] = field(default_factory=dict)
    changed: Mapping[int, Callable[[Array], Array]] = field(default_factory=dict)
    lines: bool = False
    nodes: list[Node] = field(default_factory=list)

    def run(self, function: Callable[[dict[str, Array]], Any], params: Mapping[str, Array]) -> float:
        """The function's value; raises whatever it raises when it is given arrays of another class."""
        given = {name: self._own(array, f"parameter {name}") for name, array in params.items()}
        with np.errstate(all="ignore"):  # whatever there is to warn of, the plain run did
            return float(np.asarray(function(given)).reshape(()))

    def _own(self, array: Array, what: str) -> Any:
        return self.note(what, np.array(array), [])

    def note(self, operation: str, result: Any, given: Sequence[Any]) -> Any:
        """The result, to be followed further; what it is of `given`, traced or not, in the order of the call."""
        if not isinstance(result, np.ndarray | np.generic) or result.dtype.kind != "f":
            return result
        index = len(self.nodes)
        result = np.asarray(result)
        inputs = list(_traced(given))
        operands = tuple(np.asarray(_plain(x)) for x in given) if len(given) == 2 else ()
        if index in self.held:
            kept = self.held[index]
            result = np.broadcast_to(kept(self) if callable(kept) else kept, result.shape).copy()
        if index in self.added:
            result = result + self.added[index]
        if index in self.changed:
            result = self.changed[index](result)
        roots = {self.nodes[i.node].root if i.node >= 0 else -1 for i in inputs}
        elementwise = operation in _ELEMENTWISE and len(roots) == 1 and all(i.shape == result.shape for i in inputs)
        root = roots.pop() if elementwise else index
        reduces = bool(inputs) and result.size < max(i.size for i in inputs)
        node = Node(
            operation,
            result,
            root if root >= 0 else index,
            find_caller(_INSIDE) if self.lines else "",
            operands,
            reduces,
        )
        node.left, node.right = [*(x.node if isinstance(x, _Traced) else -1 for x in given), -1, -1][:2]
        self.nodes.append(node)
        return _wrapped(result, self, index)


class _Traced(np.ndarray[Any, Any]):
    """An array whose operations are noted on a tape."""

    tape: Tape | None = None
    node: int = -1

    def __array_finalize__(self, other: Any) -> None:
        self.tape, self.node = getattr(other, "tape", None), -1

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        result = getattr(ufunc, method)(*map(_plain, inputs), **{key: _plain(value) for key, value in kwargs.items()})
        traced = next(_traced(inputs), None)
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        noted = traced.tape.note(name, result, inputs) if traced is not None and traced.tape is not None else result
        if out is None:
            return noted
        target = out[0] if isinstance(out, tuple) else out
        np.asarray(_plain(target))[...] = np.asarray(_plain(noted))
        if isinstance(target, _Traced) and isinstance(noted, _Traced):
            target.node = noted.node
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in ("sum", "mean", "var", "std", "max", "amax", "min"):  # of ufuncs inside
            return super().__array_function__(function, types, args, kwargs)
        result = function(*_deep(args), **{key: _deep(value) for key, value in kwargs.items()})
        traced = list(args[:2]) if function.__name__ == "dot" else list(_traced(args))
        tape = next((one.tape for one in _traced(args)), None)
        return result if tape is None else tape.note(function.__name__, result, traced)

    def transpose(self, *axes: Any) -> Any:
        moved = np.asarray(self).transpose(*axes)
        return self.tape.note("transpose", moved, [self]) if self.tape is not None else moved

    def dot(self, other: Any, out: Any = None) -> Any:
        return np.dot(self, other, out) if out is not None else np.dot(self, other)

    @property
    def T(self) -> Any:
        return self.transpose()

    def reshape(self, *shape: Any, **options: Any) -> Any:
        found = np.asarray(self).reshape(*shape, **options)
        return self.tape.note("reshape", found, [self]) if self.tape is not None else found

    def __getitem__(self, index: Any) -> Any:
        found = np.asarray(self)[_deep(index)]
        return self.tape.note("getitem", found, [self]) if self.tape is not None else found


_ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "true_divide", "power", "negative", "positive", "exp", "expm1", "log",
    "log1p", "tanh", "sin",
    "cos", "sqrt", "square", "reciprocal", "maximum", "minimum", "absolute", "where", "clip", "logaddexp",
    "float_power", "arctan", "sinh", "cosh", "exp2", "log2", "sign",
}  # fmt: skip


def _wrapped(result: Array, tape: Tape, index: int) -> Any:
    traced = np.asarray(result).view(_Traced)
    traced.tape, traced.node = tape, index
    return traced


def _plain(thing: Any) -> Any:
    return thing.view(np.ndarray) if isinstance(thing, _Traced) else thing


def _deep(thing: Any) -> Any:
    if isinstance(thing, list | tuple):
        return type(thing)(map(_deep, thing))
    return _plain(thing)


def _traced(things: Any) -> Iterator[Any]:
    for thing in things:
        if isinstance(thing, _Traced):
            yield thing
        elif isinstance(thing, list | tuple):
            yield from _traced(thing)
