"""What a backend may show of a problem's structure; where it shows none the rules do not apply."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from wellposed.backends.structure.copied import copied_of
from wellposed.backends.structure.order import order_of
from wellposed.backends.structure.padding import paddings_of
from wellposed.backends.structure.placed import by_place_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.shown import Modes, Reach, Reshape, Structure, Term
from wellposed.backends.structure.succession import successions_of
from wellposed.backends.structure.unused import unused_in
from wellposed.numerics.theta import Theta
from wellposed.users_code import ask


class Structured:
    """A part of what a network shows."""

    def program(self) -> AbstractContextManager[Program | None]:
        """Within it the model and the loss on the batch, as functions of arrays, at the parameters as they are; None
        where they do not come apart.
        """
        return nullcontext()

    def structure(self) -> Structure:
        """What is asked for and what is seen, padding and order, as far as they can be told."""
        with self.program() as program:
            if program is None:
                return Structure()
            # On inputs, and in a mode, that the model may not be made for.
            return Structure(
                tuple(ask(lambda: successions_of(program), [])),
                tuple(ask(lambda: paddings_of(program), [])),
                ask(lambda: order_of(program), None),
                ask(lambda: copied_of(program), None),
                ask(lambda: by_place_of(program), float("nan")),
                ask(lambda: unused_in(program), ()),
            )

    def terms(self, theta: Theta, moved: Theta) -> list[Term]:
        """The terms that the loss at theta is the sum of, and how they change on the way to another point; empty where
        they are not seen, or there is one alone.
        """
        return []

    def reshapes(self) -> tuple[Reshape, ...]:
        """Views and reshapes in the forward pass that stand where axes should have been permuted."""
        return ()

    def reach(self) -> Reach | None:
        """What the model's last operation lets the outputs reach of real targets; None where that is not seen."""
        return None

    def modes(self) -> Modes | None:
        """What depends on the mode that the model is in; None where it has none."""
        return None

    def modes_apart(self, steps: int) -> float:
        """After that many steps of the optimizer, with the statistics that they leave: how far outputs in evaluation
        mode are from those by the batch's own statistics, over how far examples are apart; NaN where that is not known.
        """
        return float("nan")
