"""What a program of the corpus is: a model, its loss, its data, its optimizer, and how well it does.

Each program was asked about in public because it did not train.
It is written anew here, with a twin in which only the fault is mended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class Program:
    """A program as its author would run it."""

    model: nn.Module
    loss: Callable[[Any, torch.Tensor], torch.Tensor]
    """``loss(model(inputs), targets)``, a scalar."""
    inputs: torch.Tensor
    targets: torch.Tensor
    optimizer: torch.optim.Optimizer
    score: Callable[[Any, torch.Tensor], float]
    """How well the outputs fit, higher is better: accuracy, or the share of the variance explained."""
    batch: int = 64
    whole: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """The loss from the model, inputs and targets, where it is not simply that of the outputs."""

    def value(self, rows: torch.Tensor) -> torch.Tensor:
        """The loss on these rows."""
        if self.whole is not None:
            return self.whole(self.model, self.inputs[rows], self.targets[rows])
        return self.loss(self.model(self.inputs[rows]), self.targets[rows])


@dataclass(frozen=True)
class Asked:
    """Where the program comes from, and what training must show."""

    name: str
    source: str
    """The public address of the question."""
    category: str
    """normalisation, initialisation, vanishing, exploding, loss, gradient or numerical"""
    fault: str
    """In one line, in the words of the answer that was given."""
    goal: float
    """The score that the twin reaches and the faulty program does not."""
    epochs: int
    named_by: tuple[str, ...]
    """The rules that name this fault. They were written down before the check-up had been run on any of the programs."""
    build: Callable[[bool], Program]
    """``build(fixed)``"""


PROGRAMS: list[Asked] = []


def program(source: str, category: str, fault: str, *, goal: float, epochs: int, named_by: str) -> Callable[[Any], Any]:
    def register(build: Callable[[bool], Program]) -> Callable[[bool], Program]:
        PROGRAMS.append(Asked(build.__name__, source, category, fault, goal, epochs, tuple(named_by.split()), build))
        return build

    return register


def train(one: Program, epochs: int, seed: int = 0) -> float:
    """The score on the training data after `epochs` over them (nan and errors count as minus infinity)."""
    order = torch.Generator().manual_seed(seed)
    one.model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(one.inputs), generator=order).split(one.batch):
            if len(rows) < 2:
                continue
            one.optimizer.zero_grad()
            try:
                loss = one.value(rows)
                loss.backward()
            except (RuntimeError, IndexError, ValueError):
                return float("-inf")
            one.optimizer.step()
    one.model.eval()
    with torch.no_grad():
        score = one.score(one.model(one.inputs), one.targets)
    return score if score == score else float("-inf")


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of rows whose largest output is at the target (indices or one-hot rows)."""
    wanted = targets if targets.dim() == 1 else targets.argmax(1)
    return float((outputs.argmax(1) == wanted).double().mean())


def explained(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """R^2: the share of the targets' variance that the outputs explain."""
    outputs, targets = outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)
    return float(1 - ((outputs - targets) ** 2).mean() / targets.var(unbiased=False))
