"""The steps of a training loop, one after the other, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan, sqrt
from typing import Any

import torch
from torch import nn

from wellposed.backends.torch.groups import groups_of, parameters_of
from wellposed.backends.torch.watching.captured import Captured
from wellposed.backends.torch.watching.ledger import Ledger
from wellposed.backends.torch.watching.loaders import Loaders
from wellposed.backends.torch.watching.movement import Sample, below_eps, eps_of
from wellposed.backends.torch.watching.names import Names
from wellposed.backends.torch.watching.nodes import Place, find_place
from wellposed.backends.torch.watching.schedules import length_of, schedules_of, stepped
from wellposed.backends.torch.watching.seeds import Seeds
from wellposed.backends.torch.watching.together import opposed_of, orphans_of, outside_of, shared_of
from wellposed.backends.watched import SeenBackward, SeenOptimizer, SeenSchedule, SeenStep, Watched
from wellposed.numerics.arrays import Array

_SCALE_FREE = ("Adam", "NAdam", "RAdam", "Adafactor", "RMSprop", "Rprop", "Adagrad", "Adadelta", "Lion", "Lamb")


@dataclass
class _Since:
    """What happened since an optimizer's last step."""

    clips: list[tuple[str, float]] = field(default_factory=list)
    early: str = ""  # the line of a clip of what was still scaled
    late: str = ""  # the line of a clip after the last step, before another backward pass


class Steps:
    """What is measured around each backward pass and each step; `watched` has it."""

    def __init__(self) -> None:
        self.watched = Watched()
        self.optimizers: list[Any] = []
        self.loaders, self.seeds = Loaders(), Seeds()
        self.modules: dict[int, nn.Module] = {}  # that were run, called by no other one
        self.known: set[int] = set()  # the parameters that any optimizer has
        self._ledger = Ledger()
        self._counts: list[int] = []
        self._since: list[_Since] = []
        self._last: list[int] = []  # the number of backward passes at the last step
        self._followed: dict[int, tuple[int, int]] = {}  # of a backward pass: the optimizer that stepped next, and when
        self._reached: dict[int, set[int]] = {}
        self._raw: dict[int, float] = {}
        self._scale: dict[int, float] = {}
        self._cleared: list[str] = []
        self._pending: dict[int, tuple[SeenStep, Sample]] = {}
        self._batch: int | None = None
        self._reads: int | None = 0  # how often gradients were looked at when the last backward pass was done
        self._used: set[int] = set()  # backward passes whose gradients were looked at before they were cleared
        self._open: set[int] = set()  # those that were neither looked at nor cleared so far
        self.lead: int | None = None  # the optimizer that stepped first
        self.pairs: tuple[Array, Array] | None = None  # rows of inputs with their targets
        self._schedules: list[tuple[Any, int]] | None = None

    def index(self, optimizer: Any) -> int:
        for index, known in enumerate(self.optimizers):
            if known is optimizer:
                return index
        parameters = parameters_of(optimizer)
        self.optimizers.append(optimizer)
        self._counts.append(0)
        self._since.append(_Since())
        self._last.append(0)
        self._ledger.know(parameters)
        self.known |= set(map(id, parameters))
        kind = type(optimizer).__name__
        groups = groups_of(optimizer)
        coarse = {str(p.dtype).removeprefix("torch.") for p in parameters if p.dtype in (torch.bfloat16, torch.float16)}
        self.watched.optimizers.append(
            SeenOptimizer(
                Names().of(optimizer) or kind,
                kind,
                sum(p.numel() for p in parameters),
                len(parameters),
                tuple(float(group.get("lr", nan)) for group in groups),
                scale_free=kind.startswith(_SCALE_FREE),
                coarse="+".join(sorted(coarse)),
                eps=max((eps_of(group) for group in groups), default=nan),
            )
        )
        return len(self.optimizers) - 1

    def called(self, module: nn.Module, batch: int | None) -> None:
        self.modules[id(module)] = module
        if self._batch is None:
            self.loaders.trained()
        self._batch = hash((self._batch, batch))

    def about_to_pass(self, reads: int | None) -> None:
        """`reads` counts how often gradients were looked at so far; None where that is not known any more."""
        self._look(reads)

    def _look(self, reads: int | None) -> None:
        """Gradients that were looked at since they were passed have been used, and may be cleared."""
        if reads is None or reads != self._reads:
            self._used |= self._open
            self._open.clear()
        self._ledger.look()
        self._open &= self._ledger.held()

    def passed(self, root: torch.Tensor, place: Place, site: int, reads: int | None) -> SeenBackward:
        self._reads = reads
        number = len(self.watched.backwards)
        seen = SeenBackward(number, place.shown, float(root.detach().abs().sum()), site)
        self.watched.backwards.append(seen)
        self._reached[number] = set(map(id, self._ledger.passed(number)))
        self._open.add(number)
        self._raw = {index: _norm(optimizer)[0] for index, optimizer in enumerate(self.optimizers)}
        return seen

    def about_to_step(self, index: int, reads: int | None) -> None:
        """The gradient is there, and the weights are where it was taken."""
        self._look(reads)
        self.lead = index if self.lead is None else self.lead
        if self._schedules is None:
            self._schedules = schedules_of(self.optimizers)
            self._note_schedules()
        self._pending[index] = (self._seen(index), Sample(parameters_of(self.optimizers[index])))

    def _note_schedules(self) -> None:
        for schedule, number in self._schedules or ():
            optimizer = self.optimizers[number]
            fresh = not any(optimizer.state.get(p) for p in parameters_of(optimizer)) and not self._counts[number]
            self.watched.schedules.append(
                SeenSchedule(
                    type(schedule).__name__,
                    number,
                    before=stepped(schedule) if fresh else 0,
                    length=length_of(schedule),
                )
            )

    def _seen(self, index: int) -> SeenStep:
        optimizer, since, last = self.optimizers[index], self._since[index], self._last[index]
        parameters = parameters_of(optimizer)
        sources = [self._ledger.sources(p) for p in parameters]
        numbers = sorted({number for source in sources for number in source})
        lost = self._lost(parameters, sources, last)
        norm, largest = _norm(optimizer)
        scale = self._scale.pop(index, 1.0)
        return SeenStep(
            index,
            find_place().shown,
            own=tuple(number for number in numbers if number >= last),
            stale=tuple(number for number in numbers if number < last),
            foreign=self._foreign(index, numbers),
            lost=len(lost) / max(len(parameters), 1),
            lost_from=tuple(sorted(set().union(*lost))) if lost else (),
            stale_share=sum(any(n < last for n in source) for source in sources) / max(len(sources), 1),
            cleared=tuple(dict.fromkeys(self._cleared)),
            raw=self._raw.get(index, nan) / scale,
            norm=norm,
            largest=largest,
            scale=scale,
            clipped_scaled=since.early,
            clipped_late=since.late,
            clip_limit=since.clips[-1][1] if since.clips else nan,
            rates=tuple(float(group.get("lr", nan)) for group in groups_of(optimizer)),
            schedules=tuple(stepped(schedule) for schedule, _ in self._schedules or ()),
            batch=self._batch,
        )

    def _foreign(self, index: int, numbers: Sequence[int]) -> tuple[int, ...]:
        """Backward passes that another optimizer's step came right after, where others of its own came after that."""
        found = []
        for number in numbers:
            follower, at = self._followed.get(number, (index, 0))
            if follower != index and number >= self._last[index] and any(other >= at for other in numbers):
                found.append(number)
        return tuple(found)

    def _lost(self, parameters: list[torch.Tensor], sources: list[list[int]], last: int) -> list[set[int]]:
        """For each tensor that lost some, the backward passes whose gradient was cleared, but for those that were
        another optimizer's."""
        passes = range(last, len(self.watched.backwards))
        meant = [number for number in passes if number not in self._followed and number not in self._used]
        gone = [
            {number for number in meant if id(p) in self._reached[number]} - set(source)
            for p, source in zip(parameters, sources, strict=True)
        ]
        return [numbers for numbers in gone if numbers]

    def stepped(self, index: int) -> int:
        """How many steps the optimizer has taken that stepped first."""
        optimizer = self.optimizers[index]
        step, sample = self._pending.pop(index, (None, None))
        if step is not None and sample is not None:
            step.moved, step.unmoved = sample.after()
            step.below_eps = below_eps(optimizer)
            self.watched.steps.append(step)
        count = len(self.watched.backwards)
        for number in range(count):
            self._followed.setdefault(number, (index, count))
        self._last[index] = count
        self._counts[index] += 1
        self._since[index] = _Since()
        self._cleared, self._batch = [], None
        self.seeds.stepped()
        self._ledger.look()
        return self._counts[self.lead or 0]

    def skipped(self) -> None:
        """A scaler left a step out: what its losses gave is done with."""
        self.watched.skipped += 1
        self.watched.skipped_at = find_place().shown
        self._last = [len(self.watched.backwards)] * len(self._last)
        self._since = [_Since() for _ in self._since]
        self._batch = None

    def cleared(self, thing: Any) -> None:
        self._cleared.append(Names().of(thing) or type(thing).__name__)

    def clipped(self, parameters: list[torch.Tensor], limit: float) -> None:
        place, own = find_place().shown, set(map(id, parameters))
        for index, optimizer in enumerate(self.optimizers):
            if not own & set(map(id, parameters_of(optimizer))):
                continue
            if self._counts[index] and self._last[index] == len(self.watched.backwards):
                self._since[index].late = place
            else:
                self._since[index].clips.append((place, limit))

    def unscaled(self, index: int, scale: float) -> None:
        self._scale[index] = scale
        if scale != 1 and self._since[index].clips:
            self._since[index].early = self._since[index].clips[0][0]

    def judge_average(self, captured: Captured) -> None:
        """Of a loss whose gradients are accumulated, whether it is a mean over its rows."""
        if self.repeated(captured.number) > 1:
            self.watched.backwards[captured.number].average = captured.average()

    def repeated(self, number: int) -> int:
        """How many backward passes there were from there on of the same call, for the same parameters."""
        site, reached = self.watched.backwards[number].site, self._reached[number]
        later = self.watched.backwards[number:]
        return sum(other.site == site and self._reached[other.number] == reached for other in later)

    def settle(self, looked_at: list[tuple[Captured, int]], *, untouched: bool) -> None:
        """What can be said of all steps together."""
        watched = self.watched
        parameters = [parameters_of(optimizer) for optimizer in self.optimizers]
        reached = set().union(*self._reached.values()) if self._reached else set()
        watched.outside = outside_of(looked_at, self.known) if watched.steps else {}
        watched.shared = shared_of(looked_at, parameters)
        watched.opposed = opposed_of(looked_at, parameters)
        for seen, own in zip(watched.optimizers, parameters, strict=True):
            seen.orphans = orphans_of(own, reached, self.modules.values())
        watched.held_out, self.pairs = self.loaders.settle(untouched=untouched)
        watched.batches = self.loaders.batches
        for schedule in watched.schedules:
            schedule.batches = watched.batches
        watched.reseeded = self.seeds.repeated
        if self.pairs is None:
            self.pairs = next((pair for captured, _ in looked_at if (pair := captured.pairs) is not None), None)


def _norm(optimizer: Any) -> tuple[float, float]:
    """The norm of its gradient, and the share of the largest tensor in its square."""
    squares = [
        float(torch.linalg.vector_norm((p.grad.coalesce().values() if p.grad.is_sparse else p.grad).detach().float()))
        ** 2
        for p in parameters_of(optimizer)
        if p.grad is not None
    ]
    whole = sum(squares)
    return sqrt(whole), max(squares) / whole if whole > 0 else nan
