"""What a problem's structure shows: what is asked for and what is seen, padding, order, terms, modes, ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_STACKED = 3  # axes of what is stacked: heads and channels have more
MATCHES = 0.9
"""Share of positions from which on an offset between targets and inputs counts."""
LEAKS = 1e-5
"""Of the largest output: a change that no rounding makes, where a mask leaves exactly nothing."""


@dataclass(frozen=True, slots=True)
class Succession:
    """What a model that gives outputs along a sequence is asked for, and what it sees, of one of its inputs.

    `matches`: by offset k, the share of positions t whose target in the loss is the input at t + k (NaN where too few
    can tell). `leak`: the largest change of outputs before a position, where something is asked for, when the input
    from there on is another example's, `own` that of the outputs from there on, in evaluation mode and over the largest
    output; `past` the change of outputs from a position on when the input before it is. `lag`: how many positions later
    an element first shows. `enters` names the first module whose outputs change so. `documents` is the input that tells
    documents in one row apart, and `from_before` how much outputs in later ones change when the first one does.
    `horizon`: whether outputs belong to the last positions alone, the others being what is known of the past. `moved`:
    for some positions the change of outputs at each when the input there alone is another example's, over the largest
    output. `tokens`: whether it is made of whole numbers; `hidden`: whether random numbers in use, or a bottleneck,
    keep the model from copying what it sees. NaN for what was not measured.
    """

    name: str
    matches: Mapping[int, float]
    leak: float = float("nan")
    own: float = float("nan")
    past: float = float("nan")
    lag: int = 0
    enters: str = ""
    documents: str = ""
    from_before: float = float("nan")
    horizon: bool = False
    moved: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    hidden: bool = False
    tokens: bool = True

    @property
    def offset(self) -> int | None:
        """The one at which the targets are the input; None where none or several match."""
        matching = [k for k, share in self.matches.items() if share >= MATCHES]
        return matching[0] if len(matching) == 1 else None

    @property
    def ahead(self) -> int | None:
        """How many positions after the last element that it sees the model is asked for, if it sees nothing later."""
        return None if self.offset is None else self.offset + self.lag

    @property
    def sees_ahead(self) -> bool:
        return self.leak > LEAKS

    @property
    def one_way(self) -> bool:
        """Whether outputs depend on what was, and on nothing that is to come."""
        return self.own > LEAKS and self.past > LEAKS and not self.sees_ahead


@dataclass(frozen=True, slots=True)
class Padding:
    """What the padded positions of a batch of sequences do.

    `known_by`: the mask or the lengths among the inputs that tell of them, "" where only the data shows them. `share`:
    of all positions; `in_loss`: what they have of the gradient that the loss sends to the outputs. `moves`: how much
    outputs elsewhere change when what is padded does; `real_moves` when what is not does, both over the largest output.
    `cut`: how much an example's outputs change when its padding is cut off, over how far examples are apart. NaN for
    what could not be measured. `recurrent`: whether a recurrent layer reads it; `empty` counts examples that are all
    padding; `pooled` says whether outputs are of each example as a whole; `unread` is the share of the padded examples
    whose last real element has no influence on their outputs. `inverted`: whether padding has none where the mask is
    turned round.
    """

    name: str
    known_by: str
    share: float
    in_loss: float = float("nan")
    moves: float = float("nan")
    real_moves: float = float("nan")
    cut: float = float("nan")
    recurrent: bool = False
    empty: int = 0
    pooled: bool = False
    unread: float = float("nan")
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """What is asked for is given: each of an example's `count` targets equals a number of the input of that name.
    `free` is the share of these numbers that reach the outputs independently of each other; NaN where it is not known.
    """

    name: str
    count: int
    free: float


@dataclass(frozen=True, slots=True)
class Order:
    """Whether a model's outputs know the order of its inputs. `apart`: how far outputs are from those at permuted
    positions, over the largest output; `conflicts`: the share of positions at which another target is asked for than at
    another place of the same example with the same input.
    """

    name: str
    apart: float
    conflicts: float


@dataclass(frozen=True, slots=True)
class Structure:
    """All that is measured on the program alone. `by_place`: how far an example's outputs are from those that it has at
    another place in the batch, over the largest output; NaN where that is not known. `unused`: whether the loss leaves
    the "targets", or these and the "inputs", that it is given.
    """

    successions: tuple[Succession, ...] = ()
    paddings: tuple[Padding, ...] = ()
    order: Order | None = None
    copied: Copied | None = None
    by_place: float = float("nan")
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reshape:
    """A view or reshape that gives a tensor the shape that a permutation of its axes would have given it."""

    line: str
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def may_stack(self) -> bool:
        """Whether neighbours that are stacked, as patches are, would have the same shape: two axes have changed places,
        of which one has a multiple of the other's places.
        """
        places = [k for k, (one, other) in enumerate(zip(self.before, self.after, strict=False)) if one != other]
        if len(self.before) != len(self.after) or len(places) != 2 or len(self.before) > _STACKED:
            return False
        one, other = (self.before[k] for k in places)
        return max(one, other) % min(one, other) == 0


@dataclass(frozen=True, slots=True)
class Term:
    """One of the numbers that a loss is the sum of.

    `where` is the line that computed it (or cut it), `function` what did. `value` is what it adds to the loss, `factor`
    what it is multiplied by. `gradient` is the norm of what it adds to the gradient, None where no gradient passes.
    `moves` is how much it changes where the parameters are moved, in the same unit as its value. `mean_of` counts the
    numbers that it is a mean of, `sum_of` those that it is a sum of; 0 where neither is seen. `by_gradient`: whether it
    was computed from a gradient taken without a graph; `of_loss`: whether a known loss function computed it. `along` is
    the cosine between its gradient and that of the whole loss, NaN where nobody looked; `meant`: whether a term that
    has a gradient uses what lost its own here in the same way, as the entropy of a target that is held.
    """

    where: str
    function: str
    value: float
    factor: float
    gradient: float | None
    moves: float = 0.0
    mean_of: int = 0
    sum_of: int = 0
    by_gradient: bool = False
    of_loss: bool = False
    along: float = float("nan")
    meant: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """What operations leave fixed, or bound. `over_one` are the lines where a softmax runs over an axis of one number.
    Of the last operation, where outputs and real targets of one shape are seen: `by` is the operation, `fixed` what it
    fixes of each example ("mean and spread"; "" where nothing), `low` and `high` the bounds of the outputs, `missed`
    the share of the targets' variance that cannot be reached so.
    """

    over_one: tuple[str, ...] = ()
    by: str = ""
    fixed: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    missed: float = 0.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """One batch normalisation on the problem's batch.

    `uses_batch`: whether it normalises by the batch (and not by its running statistics), `untouched` whether running
    statistics are as they were made, `trains` whether anything in the model is trained. `offset` is the largest |mean|
    of a channel on the batch over its deviation, as the running statistics see it, `ratio` the variance that is
    furthest from the running one, over it or under it. `numbers` are averaged for a channel, of `rows` examples;
    `momentum` is None for a plain average.
    """

    name: str
    uses_batch: bool
    untouched: bool
    offset: float
    ratio: float
    numbers: int
    rows: int
    momentum: float | None


@dataclass(frozen=True, slots=True)
class Modes:
    """What depends on the model's mode: each batch normalisation, and where dropout is called with a mode of its own,
    by the line: active in evaluation mode, passive in training mode.
    """

    training: bool
    statistics: tuple[Statistics, ...]
    active_in_use: tuple[str, ...]
    passive_in_training: tuple[str, ...]


class AcrossRanks(NamedTuple):
    """What the ranks of a model arrive at in one step, each on its own part of the batch: the tensors whose values, and
    whose gradients, differ between them, or whose gradients each keeps for itself. Else the slope of the mean of their
    losses along that gradient, as it claims it and as differences show it, and what rounding makes of the latter.
    """

    world: int
    values_apart: tuple[str, ...]
    gradients_apart: tuple[str, ...]
    withheld: tuple[str, ...] = ()
    claimed: float = 0.0
    measured: float = 0.0
    rounding: float = 0.0
