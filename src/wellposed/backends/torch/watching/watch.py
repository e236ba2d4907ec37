"""A training loop as it runs: its losses are captured at one step, and its steps are watched."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from wellposed.backends.torch.groups import groups_of, parameters_of
from wellposed.backends.torch.leaves import leaves
from wellposed.backends.torch.watching.alive import alive
from wellposed.backends.torch.watching.captured import Captured, capture
from wellposed.backends.torch.watching.hooks import Passed, heard_by
from wellposed.backends.torch.watching.movement import digest
from wellposed.backends.torch.watching.names import Names
from wellposed.backends.torch.watching.nodes import Place, find_place, find_site
from wellposed.backends.torch.watching.passed_on import passed_on
from wellposed.backends.torch.watching.record import Record
from wellposed.backends.torch.watching.resumed import Resumed
from wellposed.backends.torch.watching.steps import Steps
from wellposed.backends.torch.watching.trees import tensors_in
from wellposed.backends.torch.watching.whole import calls_taken_whole
from wellposed.backends.watched import SeenBackward, Watched
from wellposed.errors import CheckFailed
from wellposed.numerics.arrays import Array
from wellposed.users_code import Raised, attempt

Look = Callable[[Captured, Any, "set[int]"], None]
_OTHERS = 5  # steps of all optimizers for each of the first one's, beyond which that one is not waited for
_ROUNDS = 10  # of the first optimizer's steps: as long is waited for another one's first


def _beside(method: Callable[..., Any]) -> Callable[..., Any]:
    """Of what is heard: nothing while a check runs or when all is done; and what goes wrong in here ends the watch, and
    not the user's script.
    """

    @functools.wraps(method)
    def heard(self: TorchWatch, *args: Any) -> Any:
        if self._busy or self.finished:
            return None
        if not self._during():
            self._end_quietly()
            return None
        try:
            return method(self, *args)
        except CheckFailed:  # whoever looks wants training to end
            raise
        except Exception as error:  # ours, or of objects of the user's that will not be looked at
            self._give_up(error)
            return None

    return heard


class TorchWatch:
    """Enter it around training. `look` is called once for each loss of the step of this number, before weights move,
    with its optimizer and the parameters that any optimizer has; `done` when as many steps as were asked for have been
    taken. `untouched`: training goes on afterwards.
    """

    def __init__(
        self,
        look: Look,
        done: Callable[[], None],
        *,
        step: int,
        steps: int,
        untouched: bool,
        during: Callable[[], bool] = lambda: True,
    ) -> None:
        self._look, self._done, self._step, self._count = look, done, step, max(steps, step)
        self._untouched, self._during = untouched, during
        self._record = Record()
        self._steps, self._resumed = Steps(), Resumed()
        self._stack = ExitStack()
        self._waiting: list[Captured] = []
        self._looked_at: list[tuple[Captured, int]] = []  # with its optimizer
        self._places: set[int] = set()  # call stacks of backward passes whose losses are captured
        self._run: set[int] = set()  # parameters of modules that were run before the first backward pass
        self._looked: set[int] = set()  # optimizers whose losses were looked at
        self._drawn: dict[Place, list[int]] = {}  # of the step before
        self._new: set[Place] = set()  # lines of losses that this round has brought
        self._lines: set[Place] = set()  # those of the rounds before
        self._busy = self.finished = False
        self._failed: Exception | None = None

    backend = "torch"

    @property
    def watched(self) -> Watched:
        return self._steps.watched

    @property
    def pairs(self) -> tuple[Array, Array] | None:
        """Rows of inputs with their targets, where there are some."""
        return self._steps.pairs

    @property
    def seen(self) -> bool:
        """Whether a loss was found at all."""
        return bool(self.watched.backwards)

    def __enter__(self) -> TorchWatch:
        patches = self._stack.enter_context(heard_by(self))
        self._steps.seeds.watch(patches)
        if self._untouched:  # else it ends before anything is saved
            self._resumed.watch(patches)
        self._stack.enter_context(calls_taken_whole(self._record, self))
        if self._step == 1:
            self._record.begin()
        return self

    def __exit__(self, *_: Any) -> None:
        self._finish()
        with self._record.off():  # where it ended within a call that it was handed, it is there still
            self.watched.resumed, self.watched.unsaved = self._resumed.done, self._resumed.lost
        self._stack.close()

    def _finish(self) -> None:
        if not self.finished:
            self.finished = True
            if self._record.on:
                self._record.end()
            with self._record.off():
                settled = attempt(lambda: self._steps.settle(self._looked_at, untouched=self._untouched), ours=True)
            if isinstance(settled, Raised):
                self._failed = settled.error

    @property
    def failed(self) -> Exception | None:
        """What went wrong in here, so that no more was seen."""
        return self._failed or self._record.failed

    def _give_up(self, error: Exception) -> None:
        self._failed = error
        self._end_quietly()

    def _end_quietly(self) -> None:
        self.finished = True
        if self._record.on:
            self._record.end()

    # What is heard

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._busy:
            return
        try:
            if not self._steps.optimizers:
                self._run |= set(map(id, module.parameters()))
            if not torch.is_grad_enabled() or (self.finished and not self._resumed.asks):
                return
            with self._record.off():
                tensors = [tensor for _, tensor in tensors_in((args, kwargs))]
                batch = hash(tuple(map(digest, tensors))) if tensors else None
                self._resumed.called(batch)
                if not self.finished:
                    self._steps.called(module, batch)
        except Exception as error:  # as in `_beside`
            self._give_up(error)

    def fetched(self, iterator: Any) -> None:
        self._steps.loaders.fetched(iterator)

    def backward(self, passed: Passed, run: Callable[[], None]) -> None:
        if self._busy or self.finished:
            run()
            return
        with self._record.off():
            fresh = self._about_to_pass(passed)
            self._busy = True
            try:
                run()
            finally:
                self._busy = False
            if fresh is not None:
                self._passed(passed, *fresh)

    @_beside
    def _about_to_pass(self, passed: Passed) -> tuple[list[torch.Tensor], set[int]]:
        """The leaves that the pass will reach, and which of them have no gradient yet."""
        graph = leaves(*passed.roots) if self._record.on else []
        if passed.inputs is not None:
            graph = [leaf for leaf in graph if any(leaf is one for one in passed.inputs)]
        self._know(graph)
        self._steps.about_to_pass(self._reads)
        return graph, {id(leaf) for leaf in graph if leaf.grad is None and leaf not in self._record.made}

    def _know(self, graph: Sequence[torch.Tensor]) -> None:
        """The loop's own optimizers: those that its frames name, and those of what is trained and of what was run."""
        if self._steps.optimizers:
            return
        run = self._run | {id(leaf) for leaf in graph}
        found = _optimizers(run)
        if len(found) > 1:
            found.clear()
            gc.collect()  # those of a loop before this one may be there still
            found = _optimizers(run)
        for optimizer in found:
            self._steps.index(optimizer)

    @property
    def _reads(self) -> int | None:
        """How often gradients were looked at; None where nobody counts."""
        return self._record.reads if self._record.on else None

    @_beside
    def _passed(self, passed: Passed, graph: list[torch.Tensor], fresh: set[int]) -> None:
        place, root = find_place(), passed.roots[0]
        site = find_site()
        seen = self._steps.passed(root, place, site, self._reads)
        if not self._record.on:
            return
        self._record.passed(p for optimizer in self._steps.optimizers for p in parameters_of(optimizer))
        known = site in self._places or place in self._lines  # in a round before, by whatever way it was come to
        if known or len(passed.roots) > 1 or root not in self._record.made:
            return
        self._places.add(site)
        self._new.add(place)
        captured = capture(self._record.made[root], root, passed.weights[0], graph, fresh, place, Names())
        self._note(captured, seen, root)
        if not any(id(leaf) in self._steps.known for leaf in captured.leaves):
            self._look_at(None)
            if not self._steps.optimizers:  # steps are taken by hand: more is not known of them
                self._finish()
                self._done()

    def _note(self, captured: Captured, seen: SeenBackward, root: torch.Tensor) -> None:
        captured.number, captured.step = seen.number, len(self.watched.steps)
        seen.factor = captured.factor
        seen.trains = all(id(leaf) in self._steps.known for leaf in captured.leaves)
        captured.sample()
        captured.verify(root)
        if captured.rows_apart(self._record.origins):
            self.watched.apart.append(captured.shown)
        self._waiting.append(captured)

    def _differentiated(self) -> None:
        """A loss that `torch.autograd.grad` was called on, where a step has no backward pass."""
        known, self._record.differentiated = self._record.differentiated, None
        if self._waiting or known is None or self._looked_at or self.watched.backwards:
            return
        root = known[0] if isinstance(known[0], torch.Tensor) else next(iter(known[0]), None)
        if root is None or root not in self._record.made:
            return
        captured = capture(self._record.made[root], root, None, leaves(root), set(), known[1], Names())
        self._note(captured, self._steps.passed(root, known[1], find_site(), self._reads), root)

    def in_step(self, begins: bool) -> None:
        self._record.paused += 1 if begins else -1

    @_beside
    def about_to_step(self, optimizer: Any) -> None:
        index = self._steps.index(optimizer)
        with self._record.off():
            self._steps.about_to_step(index, self._reads)
            if self._record.on:
                self._differentiated()
                self._look_at(index)

    def _look_at(self, index: int | None) -> None:
        optimizer = None if index is None else self._steps.optimizers[index]
        self._busy, was = True, self._busy
        try:
            if index is not None and len(self._waiting) == 1:
                (captured,) = self._waiting
                multiple = captured.factor * self._steps.repeated(captured.number)
                captured.passed_on = passed_on(self._record, parameters_of(optimizer), multiple)
            for captured in self._waiting:
                self._steps.judge_average(captured)
                self._look(captured, optimizer, self._steps.known)
                self._looked_at.append((captured, -1 if index is None else index))
        finally:
            self._busy = was
        self._waiting = []
        if index is not None:
            self._looked.add(index)

    @_beside
    def stepped(self, optimizer: Any) -> None:
        index = self._steps.index(optimizer)
        with self._record.off():
            lead = self._steps.stepped(index)
            if self._record.on:
                self._record.moved(parameters_of(optimizer))
                late = len(self.watched.steps) >= (self._step - 1 + _ROUNDS) * _OTHERS
                if late or (index == self._steps.lead and self._complete(lead)):
                    self._record.end()
        if not self._record.on and not self._looked and lead == self._step - 1:
            self._places.clear()
            self._record.begin()
        elif not self._record.on and (lead >= self._count or len(self.watched.steps) >= _OTHERS * self._count):
            self._finish()
            self._done()

    def _complete(self, lead: int) -> bool:
        """Whether the record has all losses: every optimizer has stepped, and a round has brought no other place. What
        was drawn as data for a step is held against the step before.
        """
        drawn, self._record.draws = self._record.draws, {}
        again = [place.shown for place, numbers in drawn.items() if self._drawn.get(place) == numbers]
        self.watched.redrawn += again
        self._drawn = drawn
        new, self._new = self._new, set()
        self._lines |= new
        everybody = all(index in self._looked for index in range(len(self._steps.optimizers)))
        return (everybody and not new) or lead >= self._step - 1 + _ROUNDS

    @_beside
    def cleared(self, thing: Any) -> None:
        self._steps.cleared(thing)

    @_beside
    def clipped(self, parameters: list[torch.Tensor], limit: float) -> None:
        self._steps.clipped(parameters, limit)

    @_beside
    def unscaled(self, optimizer: Any, scale: float) -> None:
        self._steps.unscaled(self._steps.index(getattr(optimizer, "optimizer", optimizer)), scale)

    @_beside
    def skipped(self) -> None:
        self._waiting = []
        self._places.clear()
        if self._record.on:
            self._record.moved([p for optimizer in self._steps.optimizers for p in parameters_of(optimizer)])
        self._steps.skipped()


def _optimizers(run: set[int]) -> list[Any]:
    """Those that the script's frames name, and those of these parameters."""
    names, found = Names(), []
    for thing in alive(torch.optim.Optimizer):
        if not _wraps(thing):
            own = parameters_of(thing)
            if own and (names.of(thing) or any(id(p) in run for p in own)):
                found.append(thing)
    return found


def _wraps(optimizer: Any) -> bool:
    """Whether it hands its steps on to another one."""
    parts = list(vars(optimizer).values()) if groups_of(optimizer) else []
    return any(issubclass(type(part), torch.optim.Optimizer) for part in parts)
