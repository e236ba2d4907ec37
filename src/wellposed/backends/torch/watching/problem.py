"""A loss of a script as a problem."""

from __future__ import annotations

from typing import Any

import torch

from wellposed.backends.structure.shown import Modes
from wellposed.backends.torch.problem import TorchProblem
from wellposed.backends.torch.watching.plan import Given
from wellposed.backends.torch.watching.replay import Replay


class CapturedProblem(TorchProblem):
    """One of several of a script, which may have an optimizer for each of its networks."""

    trained_elsewhere: frozenset[int] = frozenset()

    def named(self) -> dict[str, torch.Tensor]:
        """Its parameters by name."""
        return dict(self._parameters)

    def modes(self) -> Modes | None:
        """None for a Keras model, whose calls are told the mode: it has none of its own."""
        keras = any(type(module).__module__.startswith("keras.") for module in self.model.modules())
        return None if keras else super().modes()

    def left_out(self) -> tuple[str, ...]:
        return self._nobodys(super().left_out())

    def unregistered(self) -> tuple[str, ...]:
        return self._nobodys(super().unregistered())

    def _nobodys(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if id(self._parameters[name]) not in self.trained_elsewhere)


class Tail:
    """The loss of what the model returned and of the targets."""

    def __init__(self, replay: Replay, root: int, targets: list[Given]) -> None:
        self.replay, self.root, self.targets = replay, root, targets

    def __call__(self, outputs: Any, targets: Any) -> Any:
        given = targets if isinstance(targets, tuple) else (targets,)
        put = {one.key: tensor for one, tensor in zip(self.targets, given, strict=True)}
        return self.replay.run({self.root: outputs}, put)
