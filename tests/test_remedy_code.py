"""Every line of code that a rule tells a person to write runs as it is given, in the names that people use."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import wellposed as wp
from wellposed.catalogue import CATALOGUE

CODES = sorted(
    {
        (rule.id, remedy.code)
        for rule in CATALOGUE.values()
        for remedy in [*rule.remedies, *(remedy for cause in rule.causes for remedy in cause.remedies)]
        if remedy.code
    }
)


def anyones():
    """What a program that trains has, whatever its arrays are."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    inputs, targets = torch.randn(6, 4), torch.randint(3, (6,))
    scores = model(inputs)
    loss = F.cross_entropy(scores, targets)
    return {
        "wp": wp, "np": np, "math": math, "torch": torch, "nn": nn, "F": F, "checkpoint": checkpoint,
        "pack_padded_sequence": pack_padded_sequence, "cross_entropy": F.cross_entropy, "softmax": F.softmax,
        "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits, "kl_div": F.kl_div,
        "scaled_dot_product_attention": F.scaled_dot_product_attention,
        "model": model, "optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "scaler": torch.amp.GradScaler("cpu"), "params": model.parameters(), "criterion": nn.CrossEntropyLoss(),
        "problem": wp.TorchProblem(model, nn.CrossEntropyLoss(), (inputs, targets)), "batch": (inputs, targets),
        "loss": loss, "layer": nn.Linear(4, 4), "head": nn.Linear(8, 3), "layers": [nn.Linear(4, 4)],
        "self": SimpleNamespace(training=True), "dataset": TensorDataset(inputs, targets), "ema": model, "sampler": model,
        "loader": DataLoader(TensorDataset(inputs, targets), 3), "accumulation_steps": 4, "targets_in_batch": 6, "steps": 20,
        "classes": 3, "pad": -1, "eps": 1e-6, "tiny": 1e-12, "n": 6, "length": 5, "p": 0.1, "coefficient": 0.01, "name": "w",
        "k": torch.randn(2, 5, 4), "v": torch.randn(2, 5, 4), "q": torch.randn(2, 5, 4), "mean": torch.zeros(3), "std": torch.ones(3),
        "discriminator": model, "loss_d": F.cross_entropy(model(inputs), targets), "f": torch.tanh,
        "causal": torch.ones(5, 5, dtype=torch.bool).tril(), "document": torch.zeros(2, 5), "lengths": torch.tensor([2, 5, 1]),
        "logits": scores.detach(), "scores": scores.detach(), "targets": targets, "inputs": inputs.requires_grad_(),
        "outputs": model(inputs).sum(), "probabilities": scores.detach().softmax(1),
    }  # fmt: skip


def of_torch():
    gated = nn.LSTM(4, 8)
    return anyones() | {
        "x": torch.rand(5, 3, 4), "y": torch.rand(5, 3), "z": torch.randn(4, 3), "mask": torch.ones(5, 3, 4, dtype=torch.bool),
        "p": torch.rand(5, 3, 4), "rnn": gated, "grad": torch.randn(3, 4).T, "positions": torch.randn(1, 9, 4),
        "encoding": torch.randn(9, 4), "x_train": torch.randn(9, 4), "y_train": torch.randn(9, 1), "n": torch.ones(5, 3, 4),
    }  # fmt: skip


def of_numpy():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 5.0]})
    return anyones() | {
        "x": np.array([[1.0, 2.0], [np.inf, 3.0]]), "y": np.ones((2, 3)), "var": np.ones(3), "frame": frame, "d": np.ones((2, 3)),
        "standardizer": wp.Standardizer().fit(frame), "x_train": np.random.default_rng(0).random((9, 2)), "db": 0,
        "y_train": np.random.default_rng(0).random((9, 1)), "dE": np.zeros((4, 3)), "index": np.array([0, 0]), "g": np.ones((2, 3)),
        "axis": 0, "std": np.ones(3), "mask": np.ones((2, 3)), "params": {"w": np.ones(3), "W": np.ones(2), "b": np.ones(2)},
        "grad": {"w": np.ones(3)}, "loss": lambda W, b: float((W + b).sum()),
    }  # fmt: skip


def special(rule, code):
    """Where a name is one thing here and another there."""
    found = of_torch()
    if rule == "WP208" and "_l0" in code and "bias_hh_l0[" not in code:
        found["rnn"] = nn.RNN(4, 8)
    if code.startswith("loss(outputs"):
        found |= {"loss": F.mse_loss, "outputs": torch.randn(6, 1), "targets": torch.randn(6)}
    if "targets.argmax" in code:
        found["targets"] = F.one_hot(found["targets"], 3)
    if "squeeze(1)" in code:
        found |= {"scores": torch.randn(6, 1)}
    if code.startswith("loss = binary_cross_entropy_with_logits(scores, targets)"):
        found["targets"] = torch.rand(6, 3)
    if "scores[:, :-1]" in code:
        found |= {"scores": torch.randn(2, 5, 3), "x": torch.randint(3, (2, 5))}
    if code == "pack_padded_sequence(x, lengths)":
        found |= {"x": torch.randn(5, 3, 4), "lengths": torch.tensor([5, 4, 1])}
    if "transpose(1, 2).reshape(n" in code:
        found |= {"x": torch.randn(6, 4, 5), "n": 6}
    if code.startswith("x = x + "):
        found["x"] = torch.randn(2, 5, 4)
    if "t.transform(y)" in code:
        found["y"] = torch.randn(9, 1)
    if "F.dropout" in code:
        found["p"] = 0.1
    if "order = " in code:
        found["y"] = torch.randn(5)
    if "BatchNorm1d" in code:
        found["n"] = 6
    return found


def runs(code, names):
    try:
        exec(compile(code, "remedy", "exec"), names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("rule", "code"), CODES, ids=lambda given: given.splitlines()[0][:40])
def test_it_runs_as_given(rule, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        said = [runs(code, names) for names in (special(rule, code), of_numpy())]
    finally:
        torch.use_deterministic_algorithms(deterministic)
    assert "" in said, said
