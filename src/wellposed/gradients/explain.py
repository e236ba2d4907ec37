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


_LINEAR = (local.ignored_cotangent, multiples.scaled)
"""Those that are the same in any coordinates."""


def explained_whole(suspect: Suspect, *, by_entry: bool = True) -> Explanation | None:
    """The cause that turns the whole claim into what was measured; None where none of them does. Not every cause can be
    told where the tensor is not known entry by entry.
    """
    if not suspect.seen:
        return None
    return next((found for cause in (_WHOLE if by_entry else _LINEAR) if (found := cause(suspect)) is not None), None)
