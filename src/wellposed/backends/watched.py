"""What was seen of a training script's steps, in numbers: what the rules of the step judge from."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan


@dataclass
class SeenBackward:
    """One backward pass. `number` counts them; `factor` is what the loss was multiplied by before, as far as is known;
    `average` whether the loss is a mean over its rows: None where that was not seen.
    """

    number: int
    place: str
    loss: float
    site: int = 0  # a hash of the whole call stack: a helper that is called at two lines has two
    factor: float = nan
    average: bool | None = None
    trains: bool = False  # whether all that it gives a gradient is some optimizer's


@dataclass
class SeenStep:
    """One step of an optimizer.

    `own` are the backward passes since its last step whose gradient it has, `stale` those before that, `foreign` those
    that another optimizer's step followed while this one had more to come; each by number. `lost_from` are those whose
    gradient was cleared before the step, in the share `lost` of its tensors; `stale_share` is the share of its tensors
    that have a stale one.
    """

    optimizer: int
    place: str
    own: tuple[int, ...] = ()
    stale: tuple[int, ...] = ()
    foreign: tuple[int, ...] = ()
    lost: float = 0.0
    lost_from: tuple[int, ...] = ()
    stale_share: float = 0.0
    cleared: tuple[str, ...] = ()  # what was told to clear its gradients since the last step, in words
    raw: float = nan  # norm of the gradient after the last backward pass, as a true loss has it
    norm: float = nan  # norm of the gradient that the step gets
    largest: float = nan  # share of the squared norm in one tensor
    scale: float = 1.0  # what the loss was scaled by
    clipped_scaled: str = ""  # the line that clipped a gradient that was still scaled
    clipped_late: str = ""  # the line that clipped after the last step
    clip_limit: float = nan
    rates: tuple[float, ...] = ()
    moved: float = nan  # norm of the update over that of the weights
    unmoved: float = nan  # share of entries with a gradient whose stored number stayed the same
    below_eps: float = nan  # share of entries with a gradient whose root mean square is below Adam's eps
    schedules: tuple[int, ...] = ()  # how often each schedule was stepped so far
    batch: int | None = None  # a hash of what the model was called on


@dataclass
class SeenOptimizer:
    """`tensors` it has, `parameters` in them."""

    name: str
    kind: str
    parameters: int
    tensors: int
    rates: tuple[float, ...] = ()
    scale_free: bool = False  # whether its steps do not depend on the gradient's scale
    coarse: str = ""  # the dtype of its weights, where that is coarser than float32
    eps: float = nan
    orphans: tuple[str, ...] = ()  # tensors that it has, without a gradient, and that no model has that was run


@dataclass
class SeenSchedule:
    """A learning-rate schedule of an optimizer."""

    kind: str
    optimizer: int
    place: str = ""
    before: int = 0  # how often it was stepped before the optimizer's first step
    length: int = 0  # of the whole schedule, in its own unit; 0 where it does not say
    batches: int = 0  # of an epoch

    @property
    def counts_steps(self) -> bool:
        """Whether it is made for as many steps as some epochs have batches."""
        return self.batches > 1 and self.length > self.batches and self.length % self.batches == 0


@dataclass(frozen=True)
class Opposed:
    """Tensors that the losses at two places move in different steps, and the cosine of the two gradients."""

    names: tuple[str, ...]
    one: str
    other: str
    cosine: float


@dataclass(frozen=True)
class HeldOut:
    """A data set that is not trained on: the share of its rows that are in the one that is, and the share of that one's
    own rows that repeat within it.
    """

    name: str
    looked_at: int
    shared: float
    repeated: float


@dataclass(frozen=True)
class Learnable:
    """How much better the nearest neighbours of inputs agree in their targets than for shuffled targets, in standard
    deviations of those."""

    rows: int
    deviations: float


@dataclass
class Watched:
    """The steps in their order, and whose they are."""

    steps: list[SeenStep] = field(default_factory=list)
    backwards: list[SeenBackward] = field(default_factory=list)
    optimizers: list[SeenOptimizer] = field(default_factory=list)
    schedules: list[SeenSchedule] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)  # tensors with a gradient that no optimizer has: entries
    shared: dict[str, tuple[int, int]] = field(default_factory=dict)  # tensors that two optimizers have
    opposed: list[Opposed] = field(default_factory=list)
    skipped: int = 0  # steps that a scaler left out
    skipped_at: str = ""
    batches: int = 0  # of the loader that the batches come from
    reseeded: dict[str, list[str]] = field(default_factory=dict)  # generators and where they were seeded, for each step
    redrawn: list[str] = field(default_factory=list)  # lines that drew the same random numbers in two steps in a row
    apart: list[str] = field(default_factory=list)  # losses whose inputs and targets are of other rows of their data
    held_out: list[HeldOut] = field(default_factory=list)
    learnable: Learnable | None = None
    resumed: bool = False  # whether a checkpoint was saved, loaded and trained on from
    unsaved: dict[str, str] = field(
        default_factory=dict
    )  # parts that a resumed run did not get back, and where it is saved
