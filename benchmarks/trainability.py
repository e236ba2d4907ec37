"""How small may a signal become before a network no longer trains? The figures behind WP201 to WP203.

Plain networks of several depths, activations and initialisations are measured by `wp.check_signals` and
then trained, with SGD and with Adam at several learning rates. The table says, for each decade of the
measured sizes, how many reached 0.9 test accuracy. Usage: python benchmarks/trainability.py
"""

import itertools
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
OPTIMIZERS = {"SGD": (torch.optim.SGD, (0.003, 0.03, 0.3), {"momentum": 0.9}), "Adam": (torch.optim.Adam, (0.001, 0.01), {})}


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


def main() -> None:
    torch.set_num_threads(1)
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
            low = "below 1e-8" if exponent == -9 else "above 1e4" if exponent == 4 else f"1e{exponent} to 1e{exponent + 1}"
            print(f"| {low} | " + " | ".join(str(table[exponent, column]) for column in columns) + " |")


if __name__ == "__main__":
    main()
