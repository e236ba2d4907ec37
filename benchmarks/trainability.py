"""How small may a signal become before a network no longer trains? The figures behind WP201 to WP203.

Plain networks of several depths, activations and initialisations are measured by `wp.check_signals` and
then trained, with SGD and with Adam at several learning rates. The table says, for each decade of the
measured sizes, how many reached 0.9 test accuracy. And what it costs that layers start as copies of one (WP302).
Usage: python benchmarks/trainability.py [growth copies]
"""

import itertools
import sys
from collections import Counter
from math import floor, log10

import torch
from sklearn.datasets import load_digits
from torch import nn

import wellposed as wp

WIDTH, STEPS, BATCH, ENOUGH = 64, 300, 128, 0.9
DEPTHS = (2, 4, 8, 13, 20)
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)
# Name -> variance of the weights times fan_in; None is torch's default, with its random biases.
SCHEMES = {"default": None, "0.08": 1 / 12, "1": 1.0, "2 (He)": 2.0, "4": 4.0}
OPTIMIZERS = {
    "SGD": (torch.optim.SGD, (0.003, 0.03, 0.3), {"momentum": 0.9}),
    "Adam": (torch.optim.Adam, (0.001, 0.01), {}),
}


def network(depth: int, activation: type[nn.Module], variance: float | None) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    if variance is not None:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=(variance / WIDTH) ** 0.5)
                nn.init.zeros_(layer.bias)
    return model


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1350], order[1350:]
    standardizer = wp.Standardizer().fit(pixels[train])
    x, y = torch.tensor(standardizer.transform(pixels), dtype=torch.float32), torch.tensor(labels)
    return x[train], y[train], x[test], y[test]


def trains(model: nn.Sequential, kind: str, data: tuple[torch.Tensor, ...]) -> bool:
    x, y, x_test, y_test = data
    make, rates, options = OPTIMIZERS[kind]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for rate in rates:
        model.load_state_dict(start)
        optimizer = make(model.parameters(), lr=rate, **options)
        draw = torch.Generator().manual_seed(1)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (BATCH,), generator=draw)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            if float((model(x_test).argmax(1) == y_test).float().mean()) >= ENOUGH:
                model.load_state_dict(start)
                return True
    model.load_state_dict(start)
    return False


def sizes(model: nn.Sequential, data: tuple[torch.Tensor, ...]) -> dict[str, float]:
    report = wp.check_signals(wp.TorchProblem(model, nn.CrossEntropyLoss(), (data[0][:256], data[1][:256])))
    found = {finding.rule: finding.evidence[0].value if finding.evidence else 0.0 for finding in report.findings}
    return {"gradient, first layer over last": found["WP201"], "signal, last hidden layer over first": found["WP203"]}


def decade(size: float) -> int:
    return max(-9, min(4, floor(log10(size)))) if 0 < size < float("inf") else (-9 if size == 0 else 4)


class Stack(nn.Module):
    """Hidden layers one after another, or each added to what it reads; `copies` start with the weights of the first."""

    def __init__(self, depth: int, *, residual: bool, copies: bool, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.head, self.scale = nn.Linear(WIDTH, 10), depth**-0.5 if residual else 0.0
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            if copies:
                layer.load_state_dict(self.layers[0].state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + self.scale * torch.relu(layer(x)) if self.scale else torch.relu(layer(x))
        return self.head(x)


def copies(seeds: int = 8) -> None:
    """Test accuracy after 200 steps of Adam at 1e-3 of stacks whose layers were drawn one by one, and copied from one."""
    x, y, x_test, y_test = digits()
    print("| stack | layers | drawn one by one | copies of one | difference, standard errors |\n|---|---|---|---|---|")
    for residual, depth in itertools.product((False, True), (4, 8, 12, 16, 24, 32)):
        reached: dict[bool, list[float]] = {False: [], True: []}
        for copied, seed in itertools.product(reached, range(seeds)):
            model = Stack(depth, residual=residual, copies=copied, seed=seed)
            optimizer, draw = torch.optim.Adam(model.parameters(), 1e-3), torch.Generator().manual_seed(seed)
            for _ in range(200):
                rows = torch.randint(len(x), (BATCH // 2,), generator=draw)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                reached[copied].append(float((model(x_test).argmax(1) == y_test).float().mean()))
        drawn, same = (torch.tensor(reached[copied]) for copied in (False, True))
        apart = float((same.mean() - drawn.mean()) / ((same.var() + drawn.var()) / seeds).sqrt())
        words = "residual" if residual else "plain"
        print(
            f"| {words} | {depth} | {drawn.mean():.3f} | {same.mean():.3f} | {same.mean() - drawn.mean():.3f}, {apart:.1f} |",
            flush=True,
        )


def growth() -> None:
    data = digits()
    tables: dict[str, Counter[tuple[int, str]]] = {}
    for depth, activation, (_, variance) in itertools.product(DEPTHS, ACTIVATIONS, SCHEMES.items()):
        model = network(depth, activation, variance)
        measured = sizes(model, data)
        reached = [kind for kind in OPTIMIZERS if trains(model, kind, data)]
        for quantity, size in measured.items():
            tables.setdefault(quantity, Counter())[decade(size), " and ".join(reached) or "neither"] += 1
    columns = ("SGD and Adam", "SGD", "Adam", "neither")
    print(
        f"torch {torch.__version__}, wellposed {wp.__version__}; {STEPS} steps on scikit-learn's digits; trained = {ENOUGH} test accuracy"
    )
    for quantity, table in tables.items():
        print(f"\n| {quantity} | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
        for exponent in sorted({key[0] for key in table}):
            low = (
                "below 1e-8"
                if exponent == -9
                else "above 1e4"
                if exponent == 4
                else f"1e{exponent} to 1e{exponent + 1}"
            )
            print(f"| {low} | " + " | ".join(str(table[exponent, column]) for column in columns) + " |")


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    parts = {"growth": growth, "copies": copies}
    for part in [word for word in words if word in parts] or list(parts):
        parts[part]()
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
