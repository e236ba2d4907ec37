"""What a backend may show of a problem's structure; where it shows none the rules do not apply."""

from __future__ import annotations

from wellposed.backends.structure import Modes, Order, Padding, Reach, Reshape, Succession, Term
from wellposed.numerics.theta import Theta


class Structured:
    """A part of what a network shows."""

    def successions(self) -> list[Succession]:
        """What is asked for along each input that is a sequence, at the parameters as they are; empty where none is
        seen to be.
        """
        return []

    def terms(self, theta: Theta, moved: Theta) -> list[Term]:
        """The terms that the loss at theta is the sum of, and how they change on the way to another point; empty where
        they are not seen, or there is one alone.
        """
        return []

    def padding(self) -> Padding | None:
        """What padded positions do; None where there are none, or they are not seen."""
        return None

    def order(self) -> Order | None:
        """Whether outputs along a sequence know its order; None where they are not along one."""
        return None

    def reshapes(self) -> tuple[Reshape, ...]:
        """Views and reshapes in the forward pass that stand where axes should have been permuted."""
        return ()

    def reach(self) -> Reach | None:
        """What the model's last operation lets the outputs reach of real targets; None where that is not seen."""
        return None

    def modes(self) -> Modes | None:
        """What depends on the mode that the model is in; None where it has none."""
        return None
