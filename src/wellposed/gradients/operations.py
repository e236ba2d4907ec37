"""Which operation of the forward pass has a wrong backward pass: the claim must be what that mistake would make of it.

Where the result a of an operation moves by its true rate, the loss has its true slope. A backward pass that takes
another rate for it claims the slope that the loss would have if a moved by that rate: with a held while the parameters
move, and a moved by that rate alone. So every mistake is tried out on the forward pass, with two evaluations, and held
against the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.backends.tape import Node, Tape
from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.prober import Prober
from wellposed.numerics.arrays import Array, Vector

_MOST_OPERATIONS = 150  # operations looked at
_PAIRS = 8  # reductions of which two are tried at once
_TWINS = 3
_OPERATION_STEP = 1e-6
_OPERATION_FITS = 1e-5
_LEFT_OUT = "1 (it is left out)"
_LAST = " in its last step"
_ONES = (
    _LEFT_OUT,
    "a > 0",
    "z > 0",
    "1 where the derivative is not 0",
)  # what is left of a product without one of its factors
Rate = Callable[[Callable[[int], Array]], Array]
"""From the rates of other results to that of one."""

_OPERANDS = ("first operand", "second operand")


def guilty_operation(problem: Problem, prober: Prober, names: Sequence[str]) -> Explanation | None:
    """The one mistake in one operation that explains the claims of all these tensors; None where there is none, or
    nothing is seen.
    """
    base = Tape(lines=True)
    value = problem.differentiation.taped(prober.theta, base)
    if value is None or not np.isclose(value, prober.value, rtol=1e-9) or not base.nodes:
        return None
    lines = [_Line(problem, prober, base, prober.directions.jointly(names)) for _ in range(2)]
    if not all(line.usable for line in lines):
        return None
    first, second = lines
    for mistake in _mistakes(base.nodes[-_MOST_OPERATIONS:], len(base.nodes) - min(len(base.nodes), _MOST_OPERATIONS)):
        found = next((name for name, rates in mistake.rates(first) if first.claims(mistake.held, rates)), None)
        rates = None if found is None else dict(mistake.rates(second)).get(found)
        if found is not None and rates is not None and second.claims(mistake.held, rates):
            return mistake.explanation(base, found)
    return None


class _Mistake:
    """A wrong rate for the results of one operation, of two, or of every round of a loop."""

    def __init__(self, held: tuple[int, ...]) -> None:
        self.held = held

    def rates(self, line: _Line) -> Iterator[tuple[str, dict[int, Rate]]]:
        """Names of what may be taken for the rate of the held results, and that."""
        yield "constant", {}
        # In some rounds a wrong rate may be the right one: a mask that lets everything through.
        first, *others = [dict(_wrong_rates(line, k, every=len(self.held) > 1)) for k in self.held]
        for name in first:
            if all(name in other for other in others):
                yield name, dict(zip(self.held, (first[name], *(other[name] for other in others)), strict=True))

    def explanation(self, base: Tape, name: str) -> Explanation:
        nodes = [base.nodes[k] for k in self.held]
        where = ", ".join(dict.fromkeys(node.line or node.operation for node in nodes))
        if name == "constant" and all(node.reduces or base.nodes[node.root].reduces for node in nodes):
            return Explanation(
                "batch-statistics",
                f"It takes a mean or variance that depends on the parameters for a constant ({where}).",
            )
        if name == "constant":
            return Explanation("detached", f"What goes through this operation is missing from it: {where}.")
        if name in _OPERANDS:
            return Explanation(
                "detached", f"What comes through the {name} of this operation is missing from it: {where}."
            )
        if (
            name.removesuffix(_LAST) in _ONES
            and nodes[0].operation == "multiply"
            and (name.endswith(_LAST) or nodes[0].last == nodes[0].root)
        ):
            return Explanation("missing-factor", f"A factor or a mask of the forward pass is left out: {where}.")
        if name == "transposed":
            return Explanation("transposed", f"The backward pass multiplies by W where its transpose belongs: {where}.")
        return Explanation("activation-derivative", f"The backward pass takes {name} for the derivative at {where}.")


class _Line:
    """One direction: how every operation's result moves along it, and what is claimed."""

    def __init__(self, problem: Problem, prober: Prober, base: Tape, u: Vector) -> None:
        self.base, self._problem, self._theta, self._u = base, problem, prober.theta, u
        self._h = _OPERATION_STEP * prober.directions.reach(u)
        above, below = Tape(), Tape()
        values = (
            problem.differentiation.taped(self._theta + self._h * u, above),
            problem.differentiation.taped(self._theta - self._h * u, below),
        )
        self.usable = None not in values and len(above.nodes) == len(below.nodes) == len(base.nodes)
        self.claimed = float(prober.gradient @ u)
        self._size = float(np.linalg.norm(prober.gradient * u))
        if self.usable:
            self.moving = [(a.result - b.result) / (2 * self._h) for a, b in zip(above.nodes, below.nodes, strict=True)]
        self._held: dict[tuple[int, ...], float] = {}

    def claims(self, held: tuple[int, ...], rates: dict[int, Rate]) -> bool:
        """Whether the claim is what these rates of the held results would make of it."""
        if held not in self._held:
            self._held[held] = self._slope(dict.fromkeys(held))
        through = 0.0
        if len(rates) == 1:
            ((index, rate),) = rates.items()
            through = self._moved(index, rate(self.moving.__getitem__))
        slope = self._slope(rates) if len(rates) > 1 else self._held[held] + through
        return bool(
            abs(slope - self.claimed) <= _OPERATION_FITS * max(abs(self.claimed), self._size / 10, abs(through) / 10)
        )

    def _slope(self, rates: Mapping[int, Rate | None]) -> float:
        """Of the loss along u, where these results move by these rates, each from what those before have made of the
        operations; or not at all."""

        def end(sign: float) -> float:
            def result(index: int, rate: Rate | None) -> Callable[[Tape], Array]:
                base, step = self.base.nodes, sign * self._h
                if rate is None:
                    return lambda tape: base[index].result
                return lambda tape: (
                    base[index].result + step * rate(lambda k: (tape.nodes[k].result - base[k].result) / step)
                )

            tape = Tape(held={index: result(index, rate) for index, rate in rates.items()})
            found = self._problem.differentiation.taped(self._theta + sign * self._h * self._u, tape)
            return np.nan if found is None else found

        return (end(1.0) - end(-1.0)) / (2 * self._h)

    def _moved(self, index: int, rate: Array) -> float:
        """The slope of the loss as this result moves by that rate."""
        ends = [
            self._problem.differentiation.taped(self._theta, Tape(added={index: sign * self._h * rate}))
            for sign in (1, -1)
        ]
        return np.nan if None in ends else (ends[0] - ends[1]) / (2 * self._h)  # type: ignore[operator]


def _mistakes(nodes: Sequence[Node], offset: int) -> Iterator[_Mistake]:
    singles = [
        offset + k for k, node in enumerate(nodes) if not node.operation.startswith("parameter") and node.result.ndim
    ]
    yield from (_Mistake((k,)) for k in reversed(singles))
    reductions = [k for k in singles if nodes[k - offset].reduces][-_PAIRS:]
    yield from (_Mistake(pair) for pair in combinations(reductions, 2))
    yield from (_Mistake(found) for found in _rounds(nodes, singles, offset))


def _rounds(nodes: Sequence[Node], singles: Sequence[int], offset: int) -> Iterator[tuple[int, ...]]:
    """The same operation in every round of a loop; a line may hold it up to _TWINS times."""
    alike: dict[tuple[str, str], list[int]] = {}
    for k in singles:
        node = nodes[k - offset]
        if node.line:
            alike.setdefault((node.line, node.operation), []).append(k)
    for found in alike.values():
        for period in range(1, _TWINS + 1):
            if (
                len(found) >= 2 * period
            ):  # counted from the end: in the first round an operand may be a constant, and not be seen
                yield from (tuple(found[::-1][last::period][::-1]) for last in range(period))


def _wrong_rates(line: _Line, index: int, *, every: bool) -> Iterator[tuple[str, Rate]]:
    """Usual mistakes for the rate of one operation's result, as functions of the rates of other results; `every` with
    those that are none here."""
    node = line.base.nodes[index]
    for source in dict.fromkeys((node.last, node.root)):  # the last link of the chain, and all of it from its beginning
        if source not in (index, -1) and node.root != index:
            last = "" if source == node.root else _LAST
            for name, derivative in _derivatives(node, line, index, source, every):
                if np.isfinite(derivative).all():
                    yield name + last, _times(derivative, source)
    yield from _product(node)
    yield from _one_operand(node)


def _times(derivative: Array, source: int) -> Rate:
    return lambda moving: derivative * moving(source)


def _derivatives(node: Node, line: _Line, index: int, source: int, every: bool) -> Iterator[tuple[str, Array]]:
    """Usual mistakes for the derivative of a = f(z)."""
    z, a, rate = line.base.nodes[source].result, node.result, line.moving[source]
    true = np.divide(line.moving[index], rate, out=np.ones_like(a), where=rate != 0)
    sigmoid, tanh = 1 / (1 + np.exp(-np.clip(z, -50, 50))), np.tanh(z)
    of_a = 1 / (1 + np.exp(-np.clip(a, -50, 50)))
    candidates = {
        _LEFT_OUT: np.ones_like(a),
        "z (1 - z)": z * (1 - z),
        "a (1 - a)": a * (1 - a),
        "1 - a^2": 1 - a**2,
        "1 - a": 1 - a,
        "1 - z^2": 1 - z**2,
        "a": a,
        "z": z,
        "z > 0": (z > 0) * 1.0,
        "a > 0": (a > 0) * 1.0,
        "sigmoid(z)": sigmoid,
        "sigmoid'(z)": sigmoid * (1 - sigmoid),
        "tanh'(z)": 1 - tanh**2,
        "sigmoid'(a)": of_a * (1 - of_a),
        "tanh'(a)": 1 - np.tanh(a) ** 2,
        "the derivative's square": true**2,
        "the derivative with the other sign": -true,
        "1 where the derivative is not 0": (true != 0) * 1.0,
        "0 where the input is negative": np.where(z > 0, true, 0),
        "the other sign where the input is negative": np.where(z > 0, true, -true),
        "exp(z)": np.exp(np.clip(z, -50, 50)),
        "2 z": 2 * z,
        "1 / z": 1 / np.where(z == 0, 1, z),
        "cos(z)": np.cos(z),
        "-sin(z)": -np.sin(z),
    }
    for name, derivative in candidates.items():
        if every or not np.allclose(derivative, true, rtol=1e-6, atol=1e-9):
            yield name, derivative


def _product(node: Node) -> Iterator[tuple[str, Rate]]:
    """x @ W for a square W: what comes back may be multiplied by W instead of its transpose."""
    if node.operation == "matmul" and len(node.operands) == 2:
        x, weight = node.operands
        if weight.ndim == 2 and weight.shape[0] == weight.shape[1] and x.ndim in (1, 2):
            left, right = node.left, node.right

            def rate(moving: Callable[[int], Array]) -> Array:
                through = moving(left) @ weight.T if left >= 0 else 0.0  # a constant, as the first state of a loop
                return np.asarray(through + (x @ moving(right) if right >= 0 else 0.0))

            yield "transposed", rate


def _one_operand(node: Node) -> Iterator[tuple[str, Rate]]:
    """Two operands that both depend on the parameters, of which only one is followed back."""
    if node.left < 0 or node.right < 0 or len(node.operands) != 2:
        return
    (x, y), left, right, shape = node.operands, node.left, node.right, node.result.shape
    if node.operation in ("add", "subtract"):
        sign = -1.0 if node.operation == "subtract" else 1.0
        yield _OPERANDS[0], lambda moving: np.broadcast_to(sign * moving(right), shape)
        yield _OPERANDS[1], lambda moving: np.broadcast_to(moving(left), shape)
    elif node.operation == "multiply":
        yield _OPERANDS[0], lambda moving: x * moving(right)
        yield _OPERANDS[1], lambda moving: moving(left) * y
    elif node.operation == "matmul":
        yield _OPERANDS[0], lambda moving: x @ moving(right)
        yield _OPERANDS[1], lambda moving: moving(left) @ y
