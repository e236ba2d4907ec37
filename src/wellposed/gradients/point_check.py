"""One point: what was measured there of a gradient, and what follows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients import tensor
from wellposed.gradients.blame import Proof, find_guilty, fold_inherited, order_of_use, prove, tell_proven
from wellposed.gradients.diagnosis import SLIGHT, one_note, relative_difference
from wellposed.gradients.effort import USUAL, Effort
from wellposed.gradients.frame import Frames
from wellposed.gradients.idle import find_idle, find_out_of_reach
from wellposed.gradients.nearest_wrong import find_nearest_wrong
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.quick_check import VISIBLE, Glances, chance, look_quickly
from wellposed.gradients.repeatability import random_backward, randomness_held
from wellposed.gradients.rules.noise_floor import NOISE_FLOOR
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.together import RULES
from wellposed.gradients.rules.uninformative import find_uninformative
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.rules.zero import ZERO
from wellposed.gradients.screen import screen
from wellposed.gradients.tensor import carries
from wellposed.gradients.unseen import (
    CHANCE,
    UNSEEN,
    no_part_of,
    tell_before,
    tell_buried,
    tell_left_out,
    tell_not_seen,
    tell_nowhere,
    unexplained,
)
from wellposed.gradients.wiggle import compare_scales
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient

SAME_LOSS_ULPS = 64.0
"""Units in the last place: one loss, summed up in another order."""
_HARDLY, _BLIND = 1e-4, 0.05  # chances
_MOST_DIRECTIONS_WITHIN = 4  # directions within a tensor at most, where one tells too little
_MOST_LOOKED_CLOSER = 30  # tensors, of those in which nothing could be seen
_FIGURE_PRECISION = 1e-6  # relative: how closely a tensor is looked at for a figure


class PointCheck:
    """One point: what was measured there, and what follows."""

    def __init__(
        self,
        problem: Problem,
        prober: Prober,
        gradient: Gradient,
        alone: bool,
        effort: Effort = USUAL,
        compared: list[tuple[str, Probe]] | None = None,
        uncut: Prober | None = None,
        *,
        check_part: Callable[[Problem], list[Finding]],
    ) -> None:
        """`uncut` measures along tensors without a gradient, where `prober` holds what passes cuts; `check_part` judges
        a custom backward pass by itself.
        """
        self._problem, self._prober, self._gradient = problem, prober, gradient
        self._alone, self._effort = alone, effort
        self._uncut = prober if uncut is None else uncut
        self._check_part = check_part
        self._compared = [] if compared is None else compared
        self._seen: tuple[list[Probe], list[str]] | None = None
        self._names = [name for name in problem.layout.names if prober.problem.layout.slices[name] != slice(0, 0)]
        self.carrying = [name for name in self._names if carries(gradient, name)]
        self._silent = [name for name in self._names if not carries(gradient, name)]
        self._floors: dict[str, float] = {}  # the smallest relative error of each tensor's gradient that could be seen
        self._misses: dict[str, float] = {}  # the chance that an error of 1 % in a random direction went unseen
        self._wrong: list[str] = []  # tensors that a quick look at each shows to be wrong
        self._told_of: list[str] = []  # of the wrong ones those that are told of one by one, where not all are
        self._left_out = 0  # doubtful tensors for which the budget did not do
        self._nearest = ""  # of the wrong ones, the tensor nearest to the loss
        self._alarmed = False  # whether a direction through all tensors disagrees
        self._proof: Proof | None = None  # that these explain all
        self._frames = Frames(prober, self._uncut, gradient, self._silent)
        self._kink: Probe | None = None  # met by a quick look at all tensors

    def with_cuts_held(self, problem: Problem, prober: Prober) -> PointCheck:
        """The same look at a problem in which what passes cuts is held."""
        return PointCheck(
            problem,
            prober,
            self._gradient,
            self._alone,
            self._effort,
            self._compared,
            self._prober,
            check_part=self._check_part,
        )

    def look(self) -> tuple[list[Probe], list[str]]:
        """`_all_at_once`, once."""
        if self._seen is None:
            self._seen = self._all_at_once()
        return self._seen

    @property
    def settled(self) -> bool:
        """Whether a look through all tensors at once shows the gradient to agree, to differ by next to nothing, or to
        be wrong through backward passes of the user's own alone. A quick look that shows nothing settles nothing.
        """
        seen = self._glances
        if seen is not None:
            agrees = not seen.contradicted or self._explained_by_functions
            return agrees or relative_difference(seen.probes).value < SLIGHT
        if self._effort.brief:
            return False
        joint = self.look()[0]
        agrees = all(map(_agrees, joint)) or (self._alarmed and self._explained_by_functions)
        return agrees or relative_difference(joint).value < SLIGHT

    @functools.cached_property
    def _glances(self) -> Glances | None:
        """A quick look, where the effort asks for one."""
        return look_quickly(self._prober, self._uncut) if self._effort.brief else None

    def changed_by(self, other: Prober) -> bool:
        """Whether the loss of `other` is another one where every parameter has moved by its own size."""
        u = self._prober.directions.jointly(self._names)
        mine, its = self._prober.along(u, 1.0), other.along(u, 1.0)
        return not abs(mine - its) <= SAME_LOSS_ULPS * self._prober.eps * abs(mine)

    def findings(self) -> list[Finding]:
        joint, closer = self.look()
        if self._proof is not None and self._proof.seen is not None:
            seen = self._proof.seen
            self._compared += [("all tensors", probe) for probe in [*joint, *seen.probes]]
            self._misses, self._floors = seen.misses, seen.floors
            return self._with_those_that_hold(tell_proven(self._guilty, self._proof), joint)
        if self._alarmed and not self._alone and self._ignored():
            text = (
                "The loss does not change with the parameters at all, and the gradient says that it does: are they used"
                " in it?"
            )
            where = self.carrying[0]
            return self._with_those_that_hold(
                [WRONG.found(Verdict.FAILS, text, where=where, cause="ignored-parameters")], joint
            )
        scales = compare_scales(self._prober, self.carrying) if self._alarmed and not self._alone else None
        if scales is not None:
            return self._with_those_that_hold([scales], joint)
        room = len(self._wrong) if self._nearest else self._room()
        if len(self._wrong) > room or (self._effort.brief and self._wrong and not self._nearest):
            silent = [name for name in closer if name in self._silent]
            self._told_of = sorted(self._wrong, key=self._order.index)[-room:]  # nearest to the loss
            closer = silent + self._told_of
        elif all(map(_agrees, joint)):  # what cannot be seen well is no sign of an error
            closer = closer[: self._effort.closer]
        probes = self._one_by_one(closer)
        self._compared += [("all tensors", probe) for probe in joint]
        self._compared += [(name, probe) for name, some in probes.items() for probe in some]
        left = [name for name in self.carrying if name not in probes][: self._effort.within]
        self._compared += [(name, self._by_itself(name)) for name in left]
        found = self._of_tensors(probes)
        if self._nearest:
            if not any(finding.rule == WRONG.id and finding.found for finding in found):
                self._nearest, self._seen = "", self._closely(self._glances)  # it was none
                return self.findings()
            found = tell_before(found, self._nearest, len(self.carrying) - 1)
        left = [name for name in self._wrong if self._told_of and name not in self._told_of]
        found = tell_left_out(found, left, brief=self._effort.brief)
        found += self._undecided(found, joint, closer)
        if self._prober.backward_spread:
            found.append(random_backward(self._prober))
            if not any(finding.rule == WRONG.id for finding in found):
                found.append(WRONG.undecided("The gradient is random: see WP504."))
        if not any(finding.rule == RANDOM.id for finding in found):
            found += randomness_held(self._problem)
        found += find_uninformative(self._problem, self._prober, self._gradient)
        return self._with_those_that_hold(found, [*joint, *(probe for some in probes.values() for probe in some)])

    @functools.cached_property
    def _guilty(self) -> list[Finding]:
        """Custom backward passes that are wrong by themselves."""
        return find_guilty(self._problem, self._prober, self._check_part)

    @functools.cached_property
    def _explained_by_functions(self) -> bool:
        """Whether backward passes of the user's own, wrong by themselves, are all that is wrong."""
        if not self._alone and self._guilty:
            there = self._beside(self._glances)
            uncut = there if self._uncut is self._prober else self._uncut
            self._proof = prove(self._problem, there, uncut, self._guilty)
        return self._proof is not None and self._proof.seen is not None

    def _of_tensors(self, probes: dict[str, list[Probe]]) -> list[Finding]:
        """What is found within each tensor that was looked at, and of those that have no influence."""
        found: list[Finding] = []
        idle = dict.fromkeys(name for name in self._silent if name not in probes)
        for name, tensor_probes in probes.items():
            frame = self._frames.of(self._problem, name)
            findings = tensor.judge(frame.problem, frame.prober, frame.nearby, name, frame.gradient, tensor_probes)
            found += findings
            if not findings and name in self._silent:
                idle[name] = None
        self._problem.evaluations += self._frames.evaluations
        found = one_note(found)
        if not self._alone and _failing(found):
            found = fold_inherited(self._problem, self._prober, found, self._guilty, self._proof, lambda: self._order)
        if self._kink is not None:
            found.append(tensor.kink("all tensors", self._kink))
        return (
            found
            + find_idle(self._problem, self._prober, self._gradient, list(idle), self.carrying, len(self._names))
            + find_out_of_reach(self._problem)
        )

    def _room(self) -> int:
        """For how many wrong tensors a closer look is taken."""
        if self._effort.brief:
            return self._effort.told
        return self._prober.budget.fits(len(self._names), self._problem.variants.size)

    def _undecided(self, found: list[Finding], joint: list[Probe], closer: list[str]) -> list[Finding]:
        """What could not be seen, where nothing wrong was."""
        told = {finding.where for finding in found}
        told |= no_part_of(self._gradient, self._floors)
        buried = {name: floor for name, floor in self._floors.items() if floor > VISIBLE and name not in told}
        blind = {name: miss for name, miss in self._misses.items() if miss > UNSEEN and name not in told}
        unseen = [tell_buried(self._problem, self._prober, buried, len(self._names))] if buried else []
        if any(finding.rule == WRONG.id for finding in found):
            return unseen
        if self._alarmed and self._left_out:
            text = (
                "Along a direction through all tensors the gradient disagrees or the loss has a kink, and"
                f" {self._left_out} tensors were not looked at one by one: `wellposed check --full --select WP501` does"
                " that."
            )
            return [*unseen, WRONG.undecided(text, where="all tensors")]
        if self.carrying and buried.keys() >= set(self.carrying):
            return [*unseen, WRONG.undecided("No tensor's slope stands out of the noise of the loss: see WP503.")]
        if unexplained(joint, closer):
            return [*unseen, tell_nowhere(joint)]
        return [*unseen, tell_not_seen(blind, len(self._names))] if blind else unseen

    def _all_at_once(self) -> tuple[list[Probe], list[str]]:
        """Probes through all tensors with a gradient, and the names of those tensors, or of the others, that need a
        closer look.

        One random direction does where it would hardly miss an error of 1 %; else a second one goes along the claim,
        which shows an error of a factor best.
        """
        seen = self._glances
        if seen is not None and not seen.contradicted:
            self._misses, self._floors, self._kink = seen.misses, seen.floors, seen.kink
            return seen.probes, []
        if seen is not None:
            self._alarmed = True
            if self._explained_by_functions:
                return seen.probes, []
            self._nearest = self._find_nearest(seen) if self._prober.budget.tight else ""
            if self._nearest:
                (silent,) = self._uncut.confirmed([self._prober.directions.jointly(self._silent)])
                return seen.probes, [*([] if _agrees(silent) else self._silent), self._nearest]
        return self._closely(seen)

    def _find_nearest(self, seen: Glances) -> str:
        """The wrong tensor nearest to the loss."""
        return find_nearest_wrong(self._beside(seen), [name for name in self._order if name in set(self.carrying)])

    @functools.cached_property
    def _order(self) -> list[str]:
        """Tensors in the order of their last use: an error is inherited by those before it."""
        return self._names if self._alone else order_of_use(self._problem, self._prober)

    def _beside(self, seen: Glances | None) -> Prober:
        """The point itself, or one nearby where it stands at a kink."""
        return self._prober if seen is None or seen.kink is None else self._prober.nearby()

    def _closely(self, seen: Glances | None) -> tuple[list[Probe], list[str]]:
        """As `_all_at_once`, whatever it takes."""
        prober = self._prober
        directions = [prober.directions.jointly(group) for group in (self.carrying, self._silent)]
        (random,), (silent,) = prober.confirmed(directions[:1]), self._uncut.confirmed(directions[1:])
        shares = {name: prober.directions.share(name) for name in self.carrying}
        self._misses = {name: chance(random.allowed, VISIBLE * share) for name, share in shares.items()}
        joint = [random]
        if not _agrees(random) or max(self._misses.values(), default=0.0) > _HARDLY:
            joint += prober.confirmed([prober.directions.jointly(self.carrying, along_claim=True)])
        for name, share in shares.items():
            place = self._problem.layout.slices[name]
            factor = joint[-1].allowed / np.sqrt(place.stop - place.start) if len(joint) > 1 else np.inf
            self._floors[name] = min(random.allowed, factor) / share if share else np.inf
        if (
            not self._effort.brief
            and prober.exact
            and all(map(_agrees, joint))
            and max(self._misses.values(), default=0.0) > _BLIND
        ):
            seen = look_quickly(prober, self._uncut)  # its own steps fit a loss with corners close by
            if seen is not None and seen.kink is None:
                joint += seen.probes
                self._misses |= {name: self._misses[name] * miss for name, miss in seen.misses.items()}
        doubtful = set(self._silent if not _agrees(silent) else ())
        self._alarmed = not all(map(_agrees, joint)) or (seen is not None and seen.contradicted)
        if self._alarmed and self._explained_by_functions:
            return joint, []
        if self._alarmed:
            doubtful |= self._not_clearly_right(directions[0], random)
        doubtful |= {name for name, floor in self._floors.items() if floor > VISIBLE}
        blind = {name for name, miss in self._misses.items() if miss > UNSEEN}
        doubtful |= blind if len(blind) <= _MOST_LOOKED_CLOSER else set()
        return joint, [name for name in self._names if name in doubtful]

    def _not_clearly_right(self, u: Vector, random: Probe) -> set[str]:
        """All tensors with a gradient but those that a quick look finds right, where it is sure."""
        if not random.smooth or len(self.carrying) < 2:
            return set(self.carrying)
        seen = screen(self._prober, self.carrying, u, random, VISIBLE)
        self._wrong = [name for name, wrong in seen.items() if wrong]
        # An error too small for a quick look was seen jointly: then each is looked at closely.
        return {name for name, wrong in seen.items() if wrong is not False or True not in seen.values()}

    def _one_by_one(self, names: Sequence[str]) -> dict[str, list[Probe]]:
        found: dict[str, list[Probe]] = {}
        for name in names:
            if self._effort.brief and self._prober.budget.spent and name != self._nearest:
                self._left_out = len(names) - len(found)
                break
            prober = self._frames.of(self._problem, name).prober
            place = prober.problem.layout.slices[name]
            along = prober.directions.along_claim(place)
            directions = ([] if along is None else [along]) + [prober.directions.random_direction(place)]
            directions = directions[-1:] if name == self._nearest else directions
            prober.raised = None
            sure = (
                name == self._nearest and prober.exact
            )  # halving has shown it twice, and what is wrong is measured next
            probes = found[name] = prober.probes(directions) if sure else prober.confirmed(directions)
            if along is not None:
                length = abs(probes[0].claimed)
                visible = VISIBLE * length / np.sqrt(place.stop - place.start)
                while (
                    self._alarmed
                    and len(probes) < _MOST_DIRECTIONS_WITHIN
                    and probes[-1].agrees
                    and chance(probes[-1].allowed, visible) > _BLIND
                ):
                    probes += prober.confirmed(
                        [prober.directions.random_direction(place)]
                    )  # the last was blurred by corners close by
                self._floors[name] = min(probe.allowed for probe in probes) / length if length else np.inf
                self._misses[name] = min(chance(probe.allowed, visible) for probe in probes[1:] or probes)
        return found

    def _by_itself(self, name: str) -> Probe:
        u = self._prober.directions.random_direction(self._problem.layout.slices[name])
        return self._prober.glanced(u, _FIGURE_PRECISION * self._prober.directions.spread(u))

    def _ignored(self) -> bool:
        """Whether the loss is the same to the last digit when every parameter moves by its own size, and by less."""
        u = self._prober.directions.jointly(self._names)
        return all(self._prober.along(u, t) == self._prober.value for t in (1.0, 0.3, -0.1))

    def _with_those_that_hold(self, found: list[Finding], probes: list[Probe]) -> list[Finding]:
        missed = max(self._misses, key=lambda name: self._misses[name], default="")
        compared = (
            relative_difference(probes),
            Evidence("tensors compared", len(self._names), how=f"differences in {self._problem.dtype}"),
            Evidence(
                "smallest relative error that every check could see",
                max(self._floors.values(), default=np.inf),
                reference="below 0.01",
            ),
            Evidence(
                CHANCE,
                self._misses.get(missed, 1.0),
                missed,
                how="one random direction: sqrt(2 / pi) times what the bar allows over the error's size",
            ),
        )
        known = {finding.rule for finding in found}
        holding = [
            rule.holds(compared if rule in (WRONG, NOISE_FLOOR) else ()) for rule in RULES if rule.id not in known
        ]
        return sorted(found + holding, key=lambda finding: finding.rule)


def _agrees(probe: Probe) -> bool:
    return probe.smooth and probe.agrees


def _failing(found: Sequence[Finding]) -> bool:
    return any(finding.verdict is Verdict.FAILS and finding.rule in (WRONG.id, ZERO.id) for finding in found)
