"""The data of the corpus: small, real where the question had real data, the same at every call."""

from __future__ import annotations

import torch
from sklearn import datasets


def digits(scaled: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 handwritten digits, (n, 64) in [0, 1] (or 0 to 16), and their class."""
    x, y = datasets.load_digits(return_X_y=True)
    return torch.tensor(x / 16 if scaled else x, dtype=torch.float32), torch.tensor(y)


def wine() -> tuple[torch.Tensor, torch.Tensor]:
    """178 wines, 13 features from 0.1 to 1,700, and their class."""
    x, y = datasets.load_wine(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def cancer() -> tuple[torch.Tensor, torch.Tensor]:
    """569 biopsies, 30 features from 0.001 to 4,000, and 0 or 1."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def diabetes() -> tuple[torch.Tensor, torch.Tensor]:
    """442 patients, 10 standardised features, and a measure of 25 to 346."""
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def standardized(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(0)) / x.std(0)


def moons(n: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    """Two interleaved half circles, and 0 or 1."""
    x, y = datasets.make_moons(n, noise=0.1, random_state=0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)
