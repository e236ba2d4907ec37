"""The same loss with scores in place of what an activation or a softmax made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from wellposed.backends.jax.objective import calls_of, place_before_ending
from wellposed.backends.jax.program import JaxProgram


def on_scores(program: JaxProgram) -> Callable[..., Any] | None:
    """A loss of the same arguments; None where nothing stands between the outputs and the loss function."""
    for call in calls_of(program):
        before = place_before_ending(call)
        if before is not None:
            return partial(_loss, program, before, call.places[-1])
    return None


def _loss(program: JaxProgram, before: int, after: int, params: Any, *args: Any) -> Any:
    flat = program.flat
    known = dict(zip(flat.inputs, program.leaves_of(params, args), strict=True))
    (scores,) = flat.evaluate(known, [before])
    return jnp.reshape(flat.evaluate({**known, after: scores}, [flat.output])[0], ())
