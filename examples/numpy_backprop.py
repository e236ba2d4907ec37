"""Backpropagation by hand, correct: a two-layer NumPy network with an L2 term.

wellposed check examples/numpy_backprop.py
"""

import numpy as np

import wellposed as wp

L2 = 1e-2
random = np.random.default_rng(0)
X = random.standard_normal((50, 8))
labels = random.integers(0, 3, 50)
params = {
    "W1": random.standard_normal((8, 16)) / np.sqrt(8),
    "b1": 0.1 * random.standard_normal(16),
    "W2": random.standard_normal((16, 3)) / np.sqrt(16),
    "b2": 0.1 * random.standard_normal(3),
}


def forward(p):
    hidden = np.tanh(X @ p["W1"] + p["b1"])
    logits = hidden @ p["W2"] + p["b2"]
    logits = logits - logits.max(axis=1, keepdims=True)
    return hidden, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def value(p):
    _, share = forward(p)
    data_loss = -np.log(share[np.arange(len(X)), labels]).mean()
    return data_loss + 0.5 * L2 * ((p["W1"] ** 2).sum() + (p["W2"] ** 2).sum())


def gradient(p):
    hidden, share = forward(p)
    d_logits = share.copy()
    d_logits[np.arange(len(X)), labels] -= 1
    d_logits /= len(X)
    d_hidden = (d_logits @ p["W2"].T) * (1 - hidden**2)
    return {
        "W1": X.T @ d_hidden + L2 * p["W1"],
        "b1": d_hidden.sum(axis=0),
        "W2": hidden.T @ d_logits + L2 * p["W2"],
        "b2": d_logits.sum(axis=0),
    }


problem = wp.FunctionProblem(value, gradient, params)
