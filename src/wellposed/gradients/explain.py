"""Why a tensor's gradient is wrong, in words and numbers; nothing where no cause fits what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wellposed.gradients.causes import local, multiples, normalised, rearranged
from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.wrong_tensor import Suspect

_WHOLE: Sequence[Callable[[Suspect], Explanation | None]] = (
    local.ignored_cotangent,
    multiples.scaled,
    multiples.decayed,
    multiples.scaled_beside_decay,
    rearranged.exchanged,
    rearranged.transposed,
    rearranged.untransposed,
    rearranged.permuted,
    normalised.batch_statistics,
    local.softmax_derivative,
    local.activation_derivative,
    rearranged.wrong_axis,
)


def explained_whole(suspect: Suspect) -> Explanation | None:
    """The cause that turns the whole claim into what was measured; None where none of them does."""
    if not suspect.seen:
        return None
    return next((found for cause in _WHOLE if (found := cause(suspect)) is not None), None)
