"""What a framework must offer to be checked: about six methods.

J(theta) is the problem: a loss as a function of all parameters. theta is one float64 vector of
length P in the order of `layout`, which keeps the parameters' names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from wellposed.backends.randomness import Randomness
from wellposed.backends.tape import Tape
from wellposed.numerics.activations import Activation, flat_beyond, saturates
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.fans import Fan
from wellposed.numerics.theta import Layout, adam

Gradient = Mapping[str, Vector | None]
"""One array per parameter, by name; None where the framework gives no gradient at all."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The size of one tensor of shape [N, ...] on its way through the network.

    `mean_square` over all entries; `batch_variance`: the variance over N, averaged over the other
    entries (NaN for N < 2); `norm`: the root mean square over the batch of an example's norm;
    `zeros`: the share of entries that are exactly 0; `rows` = N.
    """

    mean_square: float
    batch_variance: float
    norm: float
    finite: bool
    zeros: float = 0.0
    rows: int = 0

    @property
    def rms(self) -> float:
        return float(np.sqrt(self.mean_square))

    @property
    def spread(self) -> float:
        """Standard deviation over the batch: what tells one example from another."""
        return float(np.sqrt(self.batch_variance))

    @property
    def similarity(self) -> float:
        """The mean of <a, b> over pairs of examples, over the mean of <a, a>: 1 where all are equal; NaN for N < 2 or all zeros."""
        if self.rows < 2 or not self.mean_square > 0:
            return float("nan")
        return 1 - self.rows / (self.rows - 1) * self.batch_variance / self.mean_square


@dataclass(frozen=True, slots=True)
class WeightUse:
    """How an operation uses its weight: the names of weight and bias, and what the weight's axes mean.

    `fan_in` counts the inputs that are summed into one output, `fan_out` the outputs that one input reaches. `out_axes` count the
    outputs, `in_axes` the inputs; along any other axis lie maps beside each other, as of experts.
    """

    name: str
    bias: str
    fan_in: float
    fan_out: float
    out_axes: tuple[int, ...]
    in_axes: tuple[int, ...]
    interior: float | None = None  # fan_in away from the edges, where padding takes taps away from it

    @property
    def nominal(self) -> float:
        """fan_in as rules count it: without regard to edges."""
        return self.fan_in if self.interior is None else self.interior

    @property
    def unit_axis(self) -> int:
        return self.out_axes[0]


Role = Literal["weight", "bias", "scale", "shift", "embedding", "gates", "recurrent gates", "gate bias", "other"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a parameter is in the layer that owns it, as far as the layer's kind tells.

    `layer` is the layer's name, `kind` its class; `groups` those of a convolution, `gates` how many maps lie one after the
    other along the first axis (of an LSTM 4), `padding` the row of an embedding that stays zero. `dtype` is the parameter's own.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: str
    kind: str
    trainable: bool
    fan: Fan | None = None
    groups: int = 1
    gates: int = 1
    padding: int | None = None
    tied: tuple[str, ...] = ()  # other names of the same parameter


class Initializable(Protocol):
    """A model that can be shown at work and given new weights."""

    @property
    def shown(self) -> bool:
        """Whether a batch shows the model at work."""
        return True

    def materialize(self) -> set[str]:
        """Gives memory to parameters that have none yet; the names of those that therefore have no values."""
        return set()

    def run(self) -> Run:
        """One pass over the batch, or the layers in their order where there is none."""

    def parameters(self) -> tuple[Parameter, ...]:
        """All of them, in order; a parameter with several names once."""

    def weights(self) -> dict[str, Vector]:
        """Their values, in float64."""

    def assign(self, values: Mapping[str, Vector]) -> None:
        """Sets the parameters of these names."""

    def params(self) -> Any:
        """The parameters in the form in which they were given."""

    def calibrate(self, targets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """One forward pass in which each weight's first output is given the root mean square asked for.

        `targets` maps weights to root mean squares; returned are the factor and the root mean square reached. What a weight
        makes is scaled on the way, so that the layers behind see what they will see. Empty where no batch is known.
        """


@dataclass(frozen=True, slots=True)
class Flatness:
    """Where an activation hardly has a slope (below a hundredth of its steepest): what arrives there passes no gradient.

    `entries`: the share of entries, `units`: the share of units (features or channels) flat at every entry of the batch, `count`: the
    number of units. `bounded`: flat on both sides of 0, so that it saturates; else a flat unit is dead.
    """

    entries: float
    units: float
    count: int
    bounded: bool


@dataclass(frozen=True, slots=True)
class ParameterSize:
    """Root mean squares of a parameter, of its deviation from its mean, and of its gradient (None where there is none)."""

    rms: float
    deviation: float
    gradient: float | None


@dataclass(frozen=True)
class Recurrence:
    """A recurrent layer as it ran: `exponents` are its largest Lyapunov exponents per step, `steps` its length.

    `last_only`: whether a gradient arrives at its last output alone; `error`: the standard error of the largest exponent.
    """

    name: str
    function: str
    steps: int
    exponents: Vector
    error: float
    last_only: bool


OperationKind = Literal["linear", "conv", "norm", "activation", "add", "attention", "recurrent", "other"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of the forward pass, in execution order.

    `inputs` are the indices of the operations that its inputs came from; an operation that reads
    the batch alone has none. `reads_batch`: whether it reads the batch otherwise than through these.
    `gradient` belongs to the output; None where none can arrive (it depends on no trainable parameter).
    """

    name: str
    kind: OperationKind
    function: str
    inputs: tuple[int, ...]
    output: Signal
    gradient: Signal | None = None
    weight: WeightUse | None = None
    activation: Activation | None = None
    source: Signal | None = None  # the tensor that came in; of an activation only where it is not what an operation made
    flat: Flatness | None = None  # of an activation
    reads_batch: bool = False
    entropy: float | None = None  # of attention: the mean entropy of its rows over that of the uniform distribution


@dataclass(frozen=True, slots=True)
class Operand:
    """What went into an operation: its smallest and largest finite number (NaN where there is none), how many zeros, its dtype ("" for a
    Python number) and size; `masked` where a whole row is minus infinity."""

    low: float
    high: float
    zeros: int
    dtype: str
    size: int
    masked: bool = False


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The operation that made the NaN or infinity ("made") which reached the loss or a gradient.

    `operation` is the framework's name for it (that of the autograd node in the backward pass), `where` the module and `line` the user's
    line it ran in, as far as known.
    """

    operation: str
    where: str
    line: str
    backward: bool
    made: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class LossCall:
    """The loss function at the end of the network as the framework saw it called.

    `per_example` are the losses of the batch's examples, `targets` the targets as numbers or class
    indices, `classes` the number of classes (0 for squared error), `outputs` the root mean square of what is held against the targets
    (NaN where it is not known).
    """

    kind: Literal["cross_entropy", "squared_error"]
    per_example: Vector
    targets: Array
    classes: int = 0
    outputs: float = float("nan")


@dataclass(frozen=True)
class LossArguments:
    """What a loss function was called on: `outputs` [N, ...] of the network and `targets`, the first examples of a large batch.

    `function` is the framework's name for it, "a difference" where the user subtracts by hand. `endings` are the activations and softmaxes
    that nothing but reshaping separates from the loss, last first; `ignored` the class index that is left out, `weighted` whether
    the user weighs or sums the terms, so that some may count for nothing, `weights` those of the classes, `raised` what the call raised.
    """

    function: str
    outputs: Array
    targets: Array
    endings: tuple[str, ...] = ()
    ignored: int | None = None
    dtype: str = ""  # of the targets
    weighted: bool = False
    raised: str = ""
    weights: Vector | None = None


@dataclass(frozen=True, slots=True)
class Dependence:
    """How the network's outputs depend on its inputs.

    `own`: the largest change of an example's outputs when it is given another example's inputs, `others`: the largest change of another
    example's outputs then, in evaluation mode; both over the largest output. `mixer` is the operation that runs over the batch's axis,
    where one is known.
    """

    own: float
    others: float
    mixer: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One forward and backward pass: its operations in order, the loss call if it was recognised, and the sizes of the parameters.

    `gradient` is left empty by a run at the parameters as they are.
    """

    operations: tuple[Operation, ...]
    loss_call: LossCall | None = None
    gradient: Gradient = field(default_factory=dict)
    parameters: Mapping[str, ParameterSize] = field(default_factory=dict)
    recurrences: tuple[Recurrence, ...] = ()


class Uncut(NamedTuple):
    """A gradient with nothing on its way cut; `cuts` are those found, in words.

    `meant`: whether they look deliberate, as a straight-through estimator x + (q(x) - x).detach() does, or a detach() in the loss.
    """

    gradient: Gradient
    cuts: str
    meant: bool = False


class InputMap(Protocol):
    """A network as a function of its inputs, at the batch: `inputs` [N, in] and `outputs` [N, out], flattened.

    J is d output / d input of one row alone, the other rows held.
    """

    inputs: Vector
    outputs: Vector

    def pushed(self, row: int, v: Vector) -> Vector:
        """J v, of shape [out], for v of shape [in]."""

    def pulled(self, row: int, u: Vector) -> Vector:
        """J^T u, of shape [in], for u of shape [out]."""


@dataclass(frozen=True)
class Part:
    """A backward pass written by the user within a problem, with what came in during the real run.

    `problem` is its own: the function it belongs to, of the inputs it had, with the cotangents that arrived.
    """

    name: str
    where: str
    problem: Problem


class Problem(ABC):
    """J(theta), as a framework's adapter presents it. Nothing here changes the user's objects for good."""

    backend: str
    dtype: str
    evaluations: int = 0
    _random: Randomness  # what evaluations may draw from
    context: Mapping[str, Array] = {}  # the data of the problem that this is a part of
    is_part: bool = False
    handwritten: bool = False  # whether the gradient is the user's own code, called as such
    rows: int = 0  # of the batch, where the problem is a part of another one
    first: tuple[float, Gradient] | None = None  # the loss and its gradient at theta(), where making the problem took them
    trained_in: str = ""  # the dtype of the problem that this is a float64 copy of

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """The parameters' names and shapes, in the order of theta."""

    @abstractmethod
    def theta(self) -> Vector:
        """The parameters as they are now, shape [P]."""

    @abstractmethod
    def value(self, theta: Vector) -> float:
        """J(theta), with the same randomness and the same buffers at every call."""

    @abstractmethod
    def gradient(self, theta: Vector) -> Gradient:
        """The gradient that training would use at theta."""

    @abstractmethod
    def preserved(self) -> AbstractContextManager[None]:
        """Within it theta may be moved; on leaving, the user's objects are bit for bit as before."""

    def stored(self, theta: Vector) -> Vector:
        """theta as the problem can store it: rounded to its parameters' dtypes."""
        return theta

    def value_along(self, theta: Vector, u: Vector, t: float) -> float:
        """J(theta + t u), at that point as the problem stores it."""
        return self.value(self.stored(theta + t * u))

    def precise(self) -> Problem:
        """The same problem in float64 where that is possible, else itself."""
        return self

    def of_rows(self, rows: int) -> Problem:
        """This problem on the first rows of its batch, at most half of them, and their number in `rows`; itself where that are fewer than
        two, where the batch does not come apart, or where a backward pass is the user's own."""
        return self

    def run(self, theta: Vector | None = None) -> Run | None:
        """One pass with every operation recorded, at theta or at the parameters as they are; None where the framework shows none."""
        return None

    @property
    def draws(self) -> tuple[str, ...]:
        """The random generators that evaluations so far have drawn from, in words; each was held fixed."""
        return self._random.drawn

    @property
    def decays(self) -> bool:
        """Whether the optimizer shrinks weights on its own, by more than is usual."""
        return False

    def trained(self, theta: Vector, steps: int, factor: float = 1.0, *, decayed: bool = True) -> Vector:
        """theta after that many steps of the optimizer that will train the problem; of Adam where none is known.

        `factor` multiplies the optimizer's learning rate, a schedule's where one has set it.
        """
        (after,) = self.trained_at(theta, (steps,), factor, decayed=decayed)
        return after

    def trained_at(self, theta: Vector, steps: Sequence[int], factor: float = 1.0, *, decayed: bool = True) -> Iterator[Vector]:
        """As `trained`, after each of these numbers of steps, in ascending order; steps are taken as they are asked for."""
        return (adam(lambda at: self.layout.pack_known(self.gradient(self.stored(at))), theta, number) for number in steps)

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

    def gradient_of_multiple(self, theta: Vector, factor: float) -> Gradient | None:
        """The gradient of factor * J, passed backwards as such: it differs from factor times the gradient by rounding alone."""
        return None

    @property
    def pushable(self) -> tuple[str, ...]:
        """The tensors along which `pushed` can move."""
        return self.layout.names

    def pushed(self, theta: Vector, u: Vector) -> float:
        """The slope of J along u by forward-mode differentiation."""
        raise NotImplementedError

    def unreached(self) -> tuple[str, ...]:
        """What the loss depends on and would be trained, but is not part of theta, in words."""
        return ()

    def untrained(self) -> dict[str, Array]:
        """Boolean masks of entries that have no gradient on purpose, by parameter; no direction touches them."""
        return {}

    def parts(self, theta: Vector) -> list[Part]:
        """The custom backward passes that a run at theta goes through, in the order of the forward pass."""
        return []

    def uncut(self, theta: Vector) -> Uncut | None:
        """The gradient where every detach, stop_gradient or no_grad on the way lets it through; None where there is none."""
        return None

    def first_not_finite(self, theta: Vector) -> NotFinite | None:
        """Which operation made the loss or a gradient NaN or infinite; None where all is finite or operations cannot be watched."""
        return None

    def taped(self, theta: Vector, tape: Tape) -> float | None:
        """J(theta) with its operations noted on the tape, and changed as it says; None where they cannot be seen."""
        return None

    def pointwise(self) -> tuple[Callable[[Vector], Vector], Vector] | None:
        """Where J is <w, f(x)> for one tensor x and an f of its shape: f on float64 arrays of x's shape, and w."""
        return None

    def data(self) -> dict[str, Array]:
        """The arrays that the loss is computed from and that are no parameters, by the names their owner knows them by."""
        return dict(self.context)

    def loss_arguments(self) -> list[LossArguments]:
        """What each loss function is called on at the parameters as they are, also where the call raises; empty where none is known."""
        return []

    def dependence(self, theta: Vector) -> Dependence | None:
        """How outputs depend on inputs; None where the batch's examples cannot be told apart."""
        return None

    def copied(self) -> Problem | None:
        """The same problem with objects of its own, which may be changed; None where they cannot be copied."""
        return None

    def with_data(self, inputs: Callable[[Array], Array] | None = None, targets: Callable[[Array], Array] | None = None) -> Problem | None:
        """This problem on changed inputs or targets; None where it does not show them as one real array."""
        return None

    def rerouted(self, route: str) -> Problem | None:
        """This problem with its loss function called on other arguments: "scores", "logits" or "shape"; None where that cannot be done."""
        return None

    def with_rate(self, factor: float) -> Problem | None:
        """This problem with `factor` times the learning rate; None where the optimizer is not known."""
        return None

    def all_trained(self) -> Problem | None:
        """This problem with every parameter known to the optimizer; None where it is not known, or knows them all."""
        return None

    def reinitialized(self) -> Initializable | None:
        """Its model, to be given new weights in place."""
        return None

    def left_out(self) -> tuple[str, ...]:
        """The parameters that have a gradient and that the optimizer does not know."""
        return ()

    def unregistered(self) -> tuple[str, ...]:
        """What the model holds and the loss depends on, but is no parameter of the model, and not known to the optimizer."""
        return ()

    def input_map(self) -> InputMap | None:
        """The network as a function of its inputs; None where the problem does not show it, or its inputs are no real numbers."""
        return None

    def inputs(self) -> Array | None:
        """The batch's inputs, shape [N, ...]; None where the problem does not show them."""
        return None


def signal_of(values: Array) -> Signal:
    """The `Signal` of an array of shape [N, ...]; computed in float64, scaled against underflow."""
    if not values.size:
        return Signal(0.0, np.nan, 0.0, True, rows=values.shape[0] if values.ndim else 1)
    flat = np.asarray(values, dtype=np.float64).reshape(values.shape[0] if values.ndim else 1, -1)
    rows = flat.shape[0]
    if not np.isfinite(flat).all():
        return Signal(np.nan, np.nan, np.nan, False, rows=rows)
    scale = float(np.abs(flat).max(initial=0.0)) or 1.0
    flat = flat / scale
    mean_square = float(np.mean(flat**2)) if flat.size else 0.0
    variance = float(np.mean(np.var(flat, axis=0))) if rows > 1 else np.nan
    return Signal(
        mean_square=mean_square * (scale * scale),
        batch_variance=variance * (scale * scale),
        norm=float(np.sqrt(mean_square * flat.shape[1])) * scale,
        finite=True,
        zeros=float(np.mean(flat == 0)) if flat.size else 0.0,
        rows=rows,
    )


def parameter_size(values: Vector, gradient: Vector | None) -> ParameterSize:
    """The `ParameterSize` of an array and its gradient."""
    rms = float(np.sqrt(np.mean(values**2))) if values.size else 0.0
    slope = float(np.sqrt(np.mean(gradient**2))) if gradient is not None and gradient.size else None
    return ParameterSize(rms, float(np.std(values)) if values.size else 0.0, slope)


def flatness_of(values: Array, phi: Activation, axis: int = -1) -> Flatness | None:
    """Where phi is flat, of what goes into it; units lie along `axis`. None where phi has a slope everywhere."""
    low, high = flat_beyond(phi)
    if low == -np.inf and high == np.inf:
        return None
    flat = (values <= low) | (values >= high)
    units = np.moveaxis(flat, axis, 0).reshape(flat.shape[axis], -1).all(axis=1) if flat.ndim > 1 else flat
    return Flatness(float(flat.mean()), float(units.mean()), units.size, saturates(low, high))
