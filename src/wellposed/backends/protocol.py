"""What a framework must offer to be checked, a handful of methods, and what it may offer besides.

J(theta) is the problem: a loss as a function of all parameters. theta is one float64 vector of
length P in the order of `layout`, which keeps the parameters' names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from wellposed.backends.initializable import Initializable
from wellposed.backends.measured import Cut, Dependence, InputMap, LossArguments, NotFinite, Run, Uncut
from wellposed.backends.randomness import Randomness
from wellposed.backends.structured import Structured
from wellposed.backends.tape import Tape
from wellposed.backends.ways import Ways
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Layout, Theta, adam
from wellposed.numerics.weight import Weight


@dataclass(frozen=True)
class Part:
    """A backward pass written by the user within a problem, with what came in during the real run.

    `problem` is its own: the function it belongs to, of the inputs it had, with the cotangents that arrived.
    `reverses`: whether it passes its input on as it is, and a negative multiple of the gradient back.
    """

    name: str
    where: str
    problem: Problem
    reverses: bool = False


class Held(Protocol):
    """A problem in which what passes a cut of its graph is held as it was at one point."""

    @property
    def problem(self) -> Problem:
        """The problem so held: what its gradient takes for a constant is one."""

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """Where something with a gradient is computed from what has lost its own."""

    @property
    def broken(self) -> bool:
        """Whether an evaluation met other calls than the first one did, so that nothing can be told."""

    def freed(self, *cuts: Cut) -> Problem:
        """Held in all but these."""

    def nudged(self, cut: Cut) -> Problem:
        """Held, with the Python number that passes there changed by a thousandth."""


class Problem(ABC):
    """J(theta), as a framework's adapter presents it. Nothing here changes the user's objects for good.

    What an adapter offers besides is in four capabilities that it may inherit: `Differentiation`, `Network`,
    `Training`, `Variants`. A problem without one has its defaults.
    """

    backend: str
    dtype: str
    evaluations: int = 0
    _random: Randomness | None = None  # what evaluations may draw from

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """The parameters' names and shapes, in the order of theta."""

    @abstractmethod
    def theta(self) -> Vector:
        """The parameters as they are now, shape [P]. Not to be written to: a problem may hand out the memory that they
        lie in.
        """

    @abstractmethod
    def value(self, theta: Theta) -> float:
        """J(theta), with the same randomness and the same buffers at every call."""

    @abstractmethod
    def gradient(self, theta: Theta) -> Gradient:
        """The gradient that training would use at theta."""

    @abstractmethod
    def preserved(self) -> AbstractContextManager[None]:
        """Within it theta may be moved; on leaving, the user's objects are bit for bit as before."""

    def stored(self, theta: Vector) -> Vector:
        """theta as the problem can store it: rounded to its parameters' dtypes."""
        return theta

    @property
    def differentiation(self) -> Differentiation:
        return self if isinstance(self, Differentiation) else Differentiation(self)

    @property
    def network(self) -> Network:
        return self if isinstance(self, Network) else Network(self)

    @property
    def training(self) -> Training:
        return self if isinstance(self, Training) else Training(self)

    @property
    def variants(self) -> Variants:
        return self if isinstance(self, Variants) else Variants(self)


class Capability:
    """What a problem may offer; made of a problem that does not, it has the defaults."""

    _without: Problem | None = None

    def __init__(self, problem: Problem) -> None:
        self._without = problem

    @property
    def _subject(self) -> Problem:
        if self._without is not None:
            return self._without
        assert isinstance(self, Problem)
        return self


class Differentiation(Capability):
    """How J is differentiated, and what is known of it: forward mode, custom backward passes, what cuts its graph."""

    by_entry: bool = True  # whether its tensors are what the user knows by their names, entry by entry
    handwritten: bool = False  # whether the gradient is the user's own code, called as such
    # Whether its gradient is to hold along what passes a detach too, as that of a function differentiated as such.
    cuts_count: bool = False
    is_part: bool = False
    context: Mapping[str, Array] = {}  # the data of the problem that this is a part of
    # The loss and its gradient at theta(), where making the problem took them.
    first: tuple[float, Gradient] | None = None

    def gradient_in_parts(self, theta: Theta) -> Iterator[tuple[str, Vector | None]]:
        """As `gradient`, one parameter after the other, for whoever needs no more than one at a time."""
        yield from self._subject.gradient(theta).items()

    def value_along(self, theta: Vector, u: Vector, t: float) -> float:
        """J(theta + t u), at that point as the problem stores it."""
        return self._subject.value(self._subject.stored(theta + t * u))

    def gradient_of_multiple(self, theta: Theta, factor: float) -> Gradient | None:
        """The gradient of factor * J, passed backwards as such: it differs from factor times the gradient by rounding
        alone.
        """
        return None

    @property
    def jvp_names(self) -> tuple[str, ...]:
        """The tensors along which `jvp` can move."""
        return self._subject.layout.names

    def jvp(self, theta: Vector, u: Vector) -> float:
        """The slope of J along u by forward-mode differentiation."""
        raise NotImplementedError

    def unreached(self) -> tuple[str, ...]:
        """What the loss depends on and would be trained, but is not part of theta, in words."""
        return ()

    def untrained(self) -> dict[str, Array]:
        """Boolean masks of entries that have no gradient on purpose, by parameter; no direction touches them."""
        return {}

    def parts(self, theta: Theta) -> list[Part]:
        """The custom backward passes that a run at theta goes through, in the order of the forward pass."""
        return []

    def forward_again(self, theta: Theta, names: Collection[str]) -> Gradient | None:
        """The gradient where the backward passes of these names (of `parts`) are replaced by what the framework makes
        of their forward passes; None where it does not know or cannot differentiate them.
        """
        return None

    def held(self, theta: Theta) -> Held | None:
        """With what passes a detach, stop_gradient, no_grad or a Python number held as it is at theta; None where
        nothing does.
        """
        return None

    def uncut(self, theta: Theta) -> Uncut | None:
        """The gradient where every detach, stop_gradient or no_grad on the way lets it through; None where there is
        none.
        """
        return None

    def first_not_finite(self, theta: Theta) -> NotFinite | None:
        """Which operation made the loss or a gradient NaN or infinite; None where all is finite or operations cannot be
        watched.
        """
        return None

    def taped(self, theta: Theta, tape: Tape) -> float | None:
        """J(theta) with its operations noted on the tape, and changed as it says; None where they cannot be seen."""
        return None

    def pointwise(self) -> tuple[Callable[[Vector], Vector], Vector] | None:
        """Where J is <w, f(x)> for one tensor x and an f of its shape: f on float64 arrays of x's shape, and w."""
        return None


class Network(Structured, Capability):
    """The network within the loss: one pass with its operations, what depends on what, the data that goes in."""

    channel_axis: int | None = None  # of what a convolution reads; None for the last

    def run(self, theta: Theta | None = None) -> Run | None:
        """One pass with every operation recorded, at theta or at the parameters as they are; None where the framework
        shows none.
        """
        return None

    def weights(self, theta: Theta) -> Mapping[str, Weight]:
        """Each parameter at theta, to be asked of its numbers."""
        return {name: Weight(array) for name, array in self._subject.layout.named(theta).items()}

    def data(self) -> dict[str, Array]:
        """The arrays that the loss is computed from and that are no parameters, by the names their owner knows them
        by.
        """
        return dict(self._subject.differentiation.context)

    def loss_arguments(self) -> list[LossArguments]:
        """What each loss function is called on at the parameters as they are, also where the call raises; empty where
        none is known.
        """
        return []

    def dependence(self, theta: Theta) -> Dependence | None:
        """How outputs depend on inputs; None where the batch's examples cannot be told apart."""
        return None

    def reinitialized(self) -> Initializable | None:
        """Its model, to be given new weights in place."""
        return None

    def input_map(self) -> InputMap | None:
        """The network as a function of its inputs; None where the problem does not show it, or its inputs are no real
        numbers.
        """
        return None

    def called(self) -> str:
        """How model and loss are called on the batch, in words; "" where that is the user's own affair."""
        return ""

    def named_inputs(self) -> dict[str, Array]:
        """Every real array among the batch's inputs, by the name that its owner knows it by; constant zeros beside
        others, as a first state is, are no data."""
        data = self.inputs()
        return {} if data is None else {"inputs": data}

    def inputs(self) -> Array | None:
        """The batch's inputs, shape [N, ...]; None where the problem does not show them."""
        return None


class Training(Capability):
    """The optimizer that will train the problem: its steps, its rate, what it leaves out."""

    @property
    def decays(self) -> bool:
        """Whether the optimizer shrinks weights on its own, by more than is usual."""
        return False

    def trained(self, theta: Theta, steps: int, factor: float = 1.0, *, decayed: bool = True) -> Theta:
        """theta after that many steps of the optimizer that will train the problem; of Adam where none is known.

        `factor` multiplies the optimizer's learning rate, a schedule's where one has set it.
        """
        (after,) = self.trained_at(theta, (steps,), factor, decayed=decayed)
        return after

    def trained_at(
        self, theta: Theta, steps: Sequence[int], factor: float = 1.0, *, decayed: bool = True
    ) -> Iterator[Theta]:
        """As `trained`, after each of these numbers of steps, in ascending order; steps are taken as they are asked
        for.
        """
        layout, start = self._subject.layout, self._subject.layout.pack(self._subject.layout.unpack(theta))
        return (
            adam(lambda at: layout.pack_known(self._subject.gradient(self._subject.stored(at))), start, number)
            for number in steps
        )

    @property
    def optimized(self) -> bool:
        """Whether the optimizer that will train the problem is known."""
        return False

    @property
    def rate(self) -> float:
        """The optimizer's learning rate, that of its schedule where one has set it; NaN where there is none."""
        return float("nan")

    @property
    def descends(self) -> bool:
        """Whether the optimizer is gradient descent, whose steps are stable below two over the largest curvature."""
        return False

    def left_out(self) -> tuple[str, ...]:
        """The parameters that have a gradient and that the optimizer does not know."""
        return ()

    def unregistered(self) -> tuple[str, ...]:
        """What the model holds and the loss depends on, but is no parameter of the model, and not known to the
        optimizer.
        """
        return ()


class Variants(Capability):
    """The same problem otherwise: in float64, on fewer rows or other data, with other random numbers, rate or loss."""

    rows: int = 0  # of the batch, where the problem is a part of another one
    coarse: str = ""  # why `precise` found no float64 copy, where it looked for one
    trained_in: str = ""  # the dtype of the problem that this is a float64 copy of

    @property
    def size(self) -> int:
        """How many parameters the problem has, in whatever coordinates it is given."""
        return self._subject.layout.size

    def here(self) -> Theta:
        """As `theta`, where the parameters lie and without a copy where they are many."""
        return self._subject.theta()

    def reduced(self, theta: Theta) -> Problem | None:
        """The problem about theta as a function of a few coordinates for each tensor; None where its parameters are so
        few that a vector of them is nothing, or where it offers none.
        """
        return None

    def within(self, name: str, theta: Theta) -> Problem | None:
        """The problem about theta as a function of this tensor alone, entry by entry, the others held; None where it
        does not offer that, or the tensor is too large.
        """
        return None

    def precise(self) -> Problem:
        """The same problem in float64 where that is possible, else itself."""
        return self._subject

    def of_rows(self, rows: int) -> Problem:
        """This problem on the first rows of its batch, at most half of them, and their number in `rows`; itself where
        that are fewer than two, where the batch does not come apart, or where a backward pass is the user's own."""
        return self._subject

    @property
    def draws(self) -> tuple[str, ...]:
        """The random generators that evaluations so far have drawn from, in words; each was held fixed."""
        random = self._subject._random
        return () if random is None else random.drawn

    def redrawn(self, theta: Theta, times: int = 4) -> Iterator[Gradient]:
        """The gradient for as many other random numbers; none where evaluations so far have drawn nothing."""
        random = self._subject._random
        if random is None or not self.draws:
            return
        with random.let_run():
            for _ in range(times):
                yield self._subject.gradient(theta)

    def copied(self) -> Problem | None:
        """The same problem with objects of its own, which may be changed; None where they cannot be copied."""
        return None

    def with_data(
        self, inputs: Callable[[Array], Array] | None = None, targets: Callable[[Array], Array] | None = None
    ) -> Problem | None:
        """This problem on changed inputs or targets; None where it does not show them as one real array."""
        return None

    def rerouted(self, route: str) -> Problem | None:
        """This problem with its loss function called on other arguments: "scores", "logits" or "shape"; None where that
        cannot be done.
        """
        return None

    def with_rate(self, factor: float) -> Problem | None:
        """This problem with `factor` times the learning rate; None where the optimizer is not known."""
        return None

    def ways(self) -> Ways | None:
        """This problem beside itself with nothing fused, cast or recomputed; None where it cannot be run so."""
        return None

    def all_trained(self) -> Problem | None:
        """This problem with every parameter known to the optimizer; None where it is not known, or knows them all."""
        return None


CAPABILITIES = (Differentiation, Network, Training, Variants)
