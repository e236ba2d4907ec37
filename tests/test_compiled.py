"""A model that torch.compile has made is measured through its original: nothing is compiled anew, nothing warns."""

import warnings

import pytest
import torch
from torch import nn

import wellposed as wp


class Counted:
    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, _inputs):
        self.graphs += 1
        return graph.forward


class Inside(nn.Module):
    def __init__(self, backend):
        super().__init__()
        self.first = nn.Linear(8, 32)
        self.rest = torch.compile(nn.Sequential(nn.ReLU(), nn.Linear(32, 3)), backend=backend)

    def forward(self, x):
        return self.rest(self.first(x))


def plain():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def in_place(backend):
    model = plain()
    model.compile(backend=backend)
    return model


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "made",
    [lambda backend: torch.compile(plain(), backend=backend), Inside, in_place],
    ids=["whole", "inside", "in place"],
)
def test_nothing_is_compiled_by_a_check(made):
    torch.compiler.reset()
    backend = Counted()
    model, batch = made(backend), (torch.randn(64, 8), torch.randint(3, (64,)))
    model(batch[0])
    before = backend.graphs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch, optimizer=optimizer))
    assert report.ok
    assert backend.graphs == before
    model(batch[0])
    assert backend.graphs == before  # and what was compiled is still used
