"""A broken problem, and its remedy: 20 sigmoid layers on raw pixels.

wellposed check examples/broken_deep.py            the problem as people write it: it fails
wellposed check examples/broken_deep.py:remedied   inputs standardised, weights initialised: nothing fails
python examples/broken_deep.py                     trains both: about 10 % against more than 90 %
"""

from collections import OrderedDict

import torch
from sklearn.datasets import load_digits
from torch import nn

import wellposed as wp

DEPTH, WIDTH = 20, 64
pixels, labels = load_digits(return_X_y=True)
pixels = pixels * (255 / 16)  # grey levels from 0 to 255, as cameras give them
order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
train, test = order[:1400], order[1400:]
standardizer = wp.Standardizer().fit(pixels[train])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for depth in range(DEPTH):
        layers += [nn.Linear(WIDTH if depth else 64, WIDTH), nn.Sigmoid()]
    return nn.Sequential(OrderedDict(layers=nn.Sequential(*layers), head=nn.Linear(WIDTH, 10)))


def data(rows: torch.Tensor, standardise: bool) -> tuple[torch.Tensor, torch.Tensor]:
    x = standardizer.transform(pixels[rows]) if standardise else pixels[rows]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(labels[rows])


def problem() -> wp.TorchProblem:
    return wp.TorchProblem(network(), nn.CrossEntropyLoss(), data(train[:256], standardise=False))


def remedied() -> wp.TorchProblem:
    model, batch = network(), data(train[:256], standardise=True)
    wp.initialize(model, batch)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch)


def accuracy_after_training(model: nn.Module, standardise: bool, steps: int = 300) -> float:
    inputs, targets = data(train, standardise)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (128,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    x, y = data(test, standardise)
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


if __name__ == "__main__":
    print(f"as written: {accuracy_after_training(problem().model, standardise=False):.1%} of the test digits")
    print(f"remedied:   {accuracy_after_training(remedied().model, standardise=True):.1%}")
