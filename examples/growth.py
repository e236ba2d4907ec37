"""The lecture's demonstration: a linear network whose every weight matrix is 1.5 I, or 0.5 I.

wellposed check examples/growth.py               1.5^L: signal and gradient explode
wellposed check examples/growth.py:shrinking     0.5^L: they vanish
python examples/growth.py                        both, layer by layer
"""

import torch
from torch import nn

import wellposed as wp

DEPTH, WIDTH = 30, 16


def network(weight: float) -> nn.Sequential:
    model = nn.Sequential(*[nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(DEPTH)])
    for layer in model:
        nn.init.eye_(layer.weight).data.mul_(weight)
    return model


def problem(weight: float = 1.5) -> wp.TorchProblem:
    x = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(0))
    return wp.TorchProblem(network(weight), nn.MSELoss(), (x, x))


def shrinking() -> wp.TorchProblem:
    return problem(0.5)


if __name__ == "__main__":
    for weight in (1.5, 0.5):
        print(f"weights {weight} I\n{wp.trace(problem(weight))}\n")
        print(f"{wp.spectrum(problem(weight))}\n")
