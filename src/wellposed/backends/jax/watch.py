"""A JAX training step as it runs: the loss that is differentiated in it is checked where it stands."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import jax

from wellposed.backends.closures import reachable
from wellposed.backends.jax.problem import JaxProblem
from wellposed.backends.lines import place_of
from wellposed.backends.watched import SeenBackward, Watched
from wellposed.numerics.arrays import Array

_INSIDE = ("jax", "optax", "flax", "equinox", "wellposed")


@dataclass
class Differentiated:
    """A loss with the arguments that it was differentiated at."""

    fun: Callable[..., Any]
    argnum: int
    has_aux: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shown: str
    optimizer: Any = None
    unlike: str = ""

    def problem(self, _optimizer: Any, _trained: set[int]) -> JaxProblem:
        """In the argument that is differentiated; the others are its data."""
        others = [arg for place, arg in enumerate(self.args) if place != self.argnum]

        def loss(params: Any, *data: Any) -> Any:
            args = [*data[: self.argnum], params, *data[self.argnum :]]
            made = self.fun(*args, **self.kwargs)
            return made[0] if self.has_aux else made

        return JaxProblem(loss, self.args[self.argnum], *others, optimizer=self.optimizer)

    def differs(self, _problem: JaxProblem) -> str:
        """It is the user's own function."""
        return ""

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Nothing of it has moved: arrays do not."""
        yield


class _Found(Exception):
    """Ends a run that was only made to see what is differentiated."""


class JaxWatch:
    """As `TorchWatch`. `jax.value_and_grad`, `jax.grad` and `jax.jit` are replaced as long as it is entered: a jitted
    step is run once more without compilation, as far as to the loss that it differentiates, before its first call.
    """

    backend = "jax"
    failed: Exception | None = None

    def __init__(self, look: Any, done: Callable[[], None], *, step: int, steps: int, **_: Any) -> None:
        self.watched = Watched()
        self._look, self._done, self._left = look, done, step
        self._own: dict[str, Any] = {}
        self._traced = self._probes = False
        self.finished = False
        self._plain: set[Any] = set()
        self._optimizer: Any = None

    @property
    def seen(self) -> bool:
        return bool(self.watched.backwards)

    @property
    def pairs(self) -> tuple[Array, Array] | None:
        return None

    def __enter__(self) -> JaxWatch:
        self._own = {name: getattr(jax, name) for name in ("value_and_grad", "grad", "jit")}
        jax.value_and_grad = functools.partial(self._differentiating, self._own["value_and_grad"])
        jax.grad = functools.partial(self._differentiating, self._own["grad"])
        jax.jit = self._jitting
        return self

    def __exit__(self, *_: Any) -> None:
        self.finished = True
        for name, own in self._own.items():
            setattr(jax, name, own)

    def _differentiating(self, own: Any, fun: Any, argnums: Any = 0, *rest: Any, **options: Any) -> Any:
        transformed = own(fun, argnums, *rest, **options)

        @functools.wraps(transformed)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if not self.finished and isinstance(argnums, int):
                if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs))):
                    self._traced = True
                else:
                    has_aux = bool(options.get("has_aux", rest[0] if rest else False))
                    shown = place_of(_INSIDE)
                    self._seen(Differentiated(fun, argnums, has_aux, args, kwargs, shown, self._optimizer))
            return transformed(*args, **kwargs)

        return watched

    def _seen(self, loss: Differentiated) -> None:
        self._left -= 1
        if self._left == 0:
            self.finished = True  # what the check differentiates is nothing of the user's
            loss.optimizer = loss.optimizer or _optimizer_in(loss.fun)
            self.watched.backwards.append(SeenBackward(0, loss.shown, float("nan")))
            with self._unwatched():
                self._look(loss, None, set())
        if self._probes:
            raise _Found
        if self.finished:
            self._done()

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        ours = {name: getattr(jax, name) for name in self._own}
        for name, own in self._own.items():
            setattr(jax, name, own)
        try:
            with jax.disable_jit(False):
                yield
        finally:
            for name, one in ours.items():
                setattr(jax, name, one)

    def _jitting(self, fun: Any = None, **options: Any) -> Any:
        if fun is None:
            return functools.partial(self._jitting, **options)
        return _Jitted(self._own["jit"](fun, **options), fun, self)

    def called(self, fun: Any, jitted: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A jitted function is about to be called from outside of any other."""
        if (
            self.finished
            or fun in self._plain
            or any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        ):
            return
        self._traced = False
        with suppress(Exception):  # what is wrong with it, the call itself will say
            jitted.lower(*args, **kwargs)
        if not self._traced:
            self._plain.add(fun)  # which is not asked again
            return
        self._optimizer = _optimizer_in(fun, *args)
        self._probes = True
        try:
            with jax.disable_jit():
                fun(*args, **kwargs)
        except _Found:
            pass
        finally:
            self._probes, self._optimizer = False, None
        if self.finished:
            self._done()


class _Jitted:
    """What `jax.jit` made, and who hears of its calls."""

    def __init__(self, jitted: Any, fun: Any, watch: JaxWatch) -> None:
        self._jitted, self._fun, self._watch = jitted, fun, watch
        functools.update_wrapper(self, fun, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._watch.called(self._fun, self._jitted, args, kwargs)
        return self._jitted(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jitted, name)


def _optimizer_in(*roots: Any) -> Any:
    """The optax transformation that a step closes over, or that its state has."""
    for root in roots:
        for _, thing in [("", root), *reachable(root)]:
            if isinstance(thing, tuple) and hasattr(thing, "init") and hasattr(thing, "update"):
                return thing
    return None
