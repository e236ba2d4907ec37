"""What one run of a problem shows: its operations, its loss call, its parameters' sizes; and how these are computed
from arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np

from wellposed.numerics.activations import Activation, flat_beyond, saturates
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient


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
        """The mean of <a, b> over pairs of examples, over the mean of <a, a>: 1 where all are equal; NaN for N < 2 or
        all zeros.
        """
        if self.rows < 2 or not self.mean_square > 0:
            return float("nan")
        return 1 - self.rows / (self.rows - 1) * self.batch_variance / self.mean_square


@dataclass(frozen=True, slots=True)
class WeightUse:
    """How an operation uses its weight: the names of weight and bias, and what the weight's axes mean.

    `fan_in` counts the inputs that are summed into one output, `fan_out` the outputs that one input reaches. `out_axes`
    count the outputs, `in_axes` the inputs; along any other axis lie maps beside each other, as of experts.
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


@dataclass(frozen=True, slots=True)
class Flatness:
    """Where an activation hardly has a slope (below a hundredth of its steepest): what arrives there passes no
    gradient.

    `entries`: the share of entries, `units`: the share of units (features or channels) flat at every entry of the
    batch, `count`: the number of units. `bounded`: flat on both sides of 0, so that it saturates; else a flat unit is
    dead.
    """

    entries: float
    units: float
    count: int
    bounded: bool


@dataclass(frozen=True, slots=True)
class ParameterSize:
    """Root mean squares of a parameter, of its deviation from its mean, and of its gradient (None where there is
    none).
    """

    rms: float
    deviation: float
    gradient: float | None


@dataclass(frozen=True)
class Recurrence:
    """A recurrent layer as it ran: `exponents` are its largest Lyapunov exponents per step, `steps` its length.

    `last_only`: whether a gradient arrives at its last output alone; `error`: the standard error of the largest
    exponent.
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
    source: Signal | None = (
        None  # the tensor that came in; of an activation only where it is not what an operation made
    )
    flat: Flatness | None = None  # of an activation
    reads_batch: bool = False
    entropy: float | None = None  # of attention: the mean entropy of its rows over that of the uniform distribution


@dataclass(frozen=True, slots=True)
class Operand:
    """What went into an operation: its smallest and largest finite number (NaN where there is none), how many zeros,
    its dtype ("" for a Python number) and size; `masked` where a whole row is minus infinity."""

    low: float
    high: float
    zeros: int
    dtype: str
    size: int
    masked: bool = False


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The operation that made the NaN or infinity ("made") which reached the loss or a gradient.

    `operation` is the framework's name for it (that of the autograd node in the backward pass), `where` the module and
    `line` the user's line it ran in, as far as known.
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

    `per_example` are the losses of the batch's examples, `targets` the targets as numbers or class indices, `classes`
    the number of classes (0 for squared error), `outputs` the root mean square of what is held against the targets (NaN
    where it is not known).
    """

    kind: Literal["cross_entropy", "squared_error"]
    per_example: Vector
    targets: Array
    classes: int = 0
    outputs: float = float("nan")


@dataclass(frozen=True)
class LossArguments:
    """What a loss function was called on: `outputs` [N, ...] of the network and `targets`, the first examples of a
    large batch.

    `function` is the framework's name for it, "a difference" where the user subtracts by hand. `endings` are the
    activations and softmaxes that nothing but reshaping separates from the loss, last first; `ignored` the class index
    that is left out, `weighted` whether the user weighs or sums the terms, so that some may count for nothing,
    `weights` those of the classes, `raised` what the call raised, `line` where two tensors of the user's were combined
    that are not known to be outputs and targets ("a product" and the like).
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
    line: str = ""


@dataclass(frozen=True, slots=True)
class Dependence:
    """How the network's outputs depend on its inputs.

    `own`: the largest change of an example's outputs when it is given another example's inputs, `others`: the largest
    change of another example's outputs then, in evaluation mode; both over the largest output. `mixer` is the operation
    that runs over the batch's axis, where one is known.
    """

    own: float
    others: float
    mixer: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One forward and backward pass: its operations in order, the loss call if it was recognised, and the sizes of the
    parameters.

    `gradient` is left empty by a run at the parameters as they are.
    """

    operations: tuple[Operation, ...]
    loss_call: LossCall | None = None
    gradient: Gradient = field(default_factory=dict)
    parameters: Mapping[str, ParameterSize] = field(default_factory=dict)
    recurrences: tuple[Recurrence, ...] = ()


class Cut(NamedTuple):
    """One place where a value passes without its gradient: `what` cuts it, at `where` (file and line), in the module
    `within`.

    `number`: it becomes a number of Python or an array of NumPy. `sampled`: it is drawn by a distribution, and `scored`
    where it goes back into one, as an action does whose log-probability is taken.
    """

    what: str
    where: str = ""
    within: str = ""
    number: bool = False
    sampled: bool = False
    scored: bool = False

    def __str__(self) -> str:
        inside = f" in `{self.within}`" if self.within else ""
        return f"{self.what}{f' at {self.where}' if self.where else inside}"


class Uncut(NamedTuple):
    """A gradient with nothing on its way cut; `cuts` are those found, in words.

    `meant`: whether they look deliberate, as a straight-through estimator x + (q(x) - x).detach() does, or a detach()
    in the loss.
    """

    gradient: Gradient
    cuts: str
    meant: bool = False
    raised: str = ""  # what the backward pass raises then; the gradient is missing in every tensor


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


class InputMap(Protocol):
    """A network as a function of its inputs, at the batch: `inputs` [N, in] and `outputs` [N, out], flattened.

    J is d output / d input of one row alone, the other rows held.
    """

    inputs: Vector
    outputs: Vector

    def jvp(self, row: int, v: Vector) -> Vector:
        """J v, of shape [out], for v of shape [in]."""

    def vjp(self, row: int, u: Vector) -> Vector:
        """J^T u, of shape [in], for u of shape [out]."""
