"""Hand-written backward passes in NumPy."""

from __future__ import annotations

import numpy as np

import wellposed as wp
from corpus.case import Case, cases

N, D, H, C = 24, 7, 10, 4


def softmax_loss(z, y, n):
    """Mean cross-entropy and its gradient by z."""
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    d = p.copy()
    d[np.arange(n), y] -= 1
    return -np.log(p[np.arange(n), y]).mean(), d / n


def normal(random, *shape, scale=0.5):
    return scale * random.standard_normal(shape)


def classifier(fault, seed):
    """Two hidden layers (tanh, sigmoid), L2 on the weights."""
    random = np.random.default_rng(seed)
    X, y, reg = random.standard_normal((N, D)), random.integers(0, C, N), 0.05
    params = {
        "W1": normal(random, D, H), "b1": normal(random, H), "W2": normal(random, H, H), "b2": normal(random, H),
        "W3": normal(random, H, C), "b3": normal(random, C),
    }  # fmt: skip

    def forward(p):
        h1 = np.tanh(X @ p["W1"] + p["b1"])
        z2 = h1 @ p["W2"] + p["b2"]
        h2 = 1 / (1 + np.exp(-z2))
        return h1, z2, h2, h2 @ p["W3"] + p["b3"]

    def value(p):
        loss, _ = softmax_loss(forward(p)[-1], y, N)
        return loss + 0.5 * reg * sum((p[w] ** 2).sum() for w in ("W1", "W2", "W3"))

    def gradient(p):
        h1, z2, h2, z3 = forward(p)
        _, d3 = softmax_loss(z3, y, N)
        if fault == "not divided by the batch size":
            d3 = d3 * N
        if fault == "sign of the softmax gradient":
            d3 = -d3
        if fault == "last example left out":
            d3[-1] = 0
        dh2 = d3 @ p["W3"].T
        slope = {"sigmoid' of the activation's input": z2 * (1 - z2), "sigmoid' left out": 1.0}.get(
            fault, h2 * (1 - h2)
        )
        d2 = dh2 * slope
        dh1 = d2 @ (p["W2"] if fault == "W where W.T belongs" else p["W2"].T)
        d1 = dh1 * (1 - h1 if fault == "tanh' without the square" else 1 - h1**2)
        g = {
            "W1": X.T @ d1 + reg * p["W1"], "b1": d1.sum(axis=0), "W2": h1.T @ d2 + reg * p["W2"], "b2": d2.sum(axis=0),
            "W3": h2.T @ d3 + reg * p["W3"], "b3": d3.sum(axis=0),
        }  # fmt: skip
        if fault == "weight gradient transposed":
            g["W2"] = (h1.T @ d2).T + reg * p["W2"]
        if fault == "L2 left out":
            g["W1"] = X.T @ d1
        if fault == "L2 twice":
            g["W3"] = g["W3"] + reg * p["W3"]
        if fault == "L2 on a bias":
            g["b2"] = g["b2"] + reg * p["b2"]
        if fault == "bias gradient averaged":
            g["b1"] = d1.mean(axis=0)
        if fault == "bias gradient summed over everything":
            g["b3"] = np.full(C, d3.sum() + d3[0, 0])
        if fault == "bias gradient forgotten":
            g["b2"] = np.zeros(H)
        if fault == "only the first half of the inputs":
            g["W1"][D // 2 :] = reg * p["W1"][D // 2 :]
        if fault == "last unit left out":
            g["W2"][:, -1] = 0
        if fault == "reshaped instead of transposed":
            g["W3"] = (d3.T @ h2).reshape(H, C) + reg * p["W3"]
        return g

    return wp.FunctionProblem(value, gradient, params)


def square(fault, seed):
    """As many examples as units: a sum over the wrong axis has the right shape."""
    random = np.random.default_rng(seed)
    X, Y = random.standard_normal((H, D)), random.standard_normal((H, H))
    params = {"W": normal(random, D, H), "b": normal(random, H)}

    def error(p):
        return np.tanh(X @ p["W"] + p["b"]) - Y

    def value(p):
        return (error(p) ** 2).mean()

    def gradient(p):
        e = error(p)
        d = 2 * e / e.size * (1 - (e + Y) ** 2)
        if fault == "factor 2 of the square left out":
            d = d / 2
        if fault == "mean over examples, not elements":
            d = d * H
        db = d.sum(axis=1 if fault == "bias summed over the wrong axis" else 0)
        return {"W": X.T @ d, "b": db}

    return wp.FunctionProblem(value, gradient, params)


def relu_net(fault, seed):
    """ReLU, leaky ReLU and dropout with a fixed mask."""
    random = np.random.default_rng(seed)
    X, Y = random.standard_normal((N, D)), random.standard_normal((N, 3))
    keep = 0.8
    mask = (random.random((N, H)) < keep) / keep
    params = {
        "W1": normal(random, D, H),
        "b1": normal(random, H),
        "W2": normal(random, H, 6),
        "W3": normal(random, 6, 3),
    }

    def forward(p):
        z1 = X @ p["W1"] + p["b1"]
        h1 = np.maximum(z1, 0) * mask
        z2 = h1 @ p["W2"]
        h2 = np.where(z2 > 0, z2, 0.01 * z2)
        return z1, h1, z2, h2, h2 @ p["W3"]

    def value(p):
        return 0.5 * ((forward(p)[-1] - Y) ** 2).sum() / N

    def gradient(p):
        z1, h1, z2, h2, out = forward(p)
        d3 = (out - Y) / N
        d2 = d3 @ p["W3"].T
        d2 = d2 * {
            "leaky slope left out": (z2 > 0) * 1.0,
            "leaky slope of the wrong sign": np.where(z2 > 0, 1, -0.01),
        }.get(fault, np.where(z2 > 0, 1, 0.01))
        dh1 = d2 @ p["W2"].T
        masked = {"dropout mask left out": dh1, "dropout not rescaled": dh1 * (mask > 0)}.get(fault, dh1 * mask)
        d1 = masked * {"relu' of the gradient": dh1 > 0, "relu' left out": 1.0}.get(fault, z1 > 0)
        return {"W1": X.T @ d1, "b1": d1.sum(axis=0), "W2": h1.T @ d2, "W3": h2.T @ d3}

    return wp.FunctionProblem(value, gradient, params)


def normalised(fault, seed):
    """Batch normalisation between two layers."""
    random = np.random.default_rng(seed)
    X, y = random.standard_normal((N, D)), random.integers(0, C, N)
    params = {
        "W1": normal(random, D, H),
        "b1": normal(random, H),
        "gamma": 1 + normal(random, H),
        "beta": normal(random, H),
        "W2": normal(random, H, C),
    }

    def forward(p):
        z = X @ p["W1"] + p["b1"]
        std = np.sqrt(z.var(axis=0) + 1e-5)
        x = (z - z.mean(axis=0)) / std
        h = np.tanh(p["gamma"] * x + p["beta"])
        return std, x, h, h @ p["W2"]

    def value(p):
        return softmax_loss(forward(p)[-1], y, N)[0]

    def gradient(p):
        std, x, h, z = forward(p)
        _, d = softmax_loss(z, y, N)
        dn = (d @ p["W2"].T) * (1 - h**2)
        g = dn * p["gamma"]
        mean, along = g.mean(axis=0), x * (g * x).mean(axis=0)
        if fault == "statistics taken as constants":
            mean, along = 0, 0
        if fault == "variance taken as a constant":
            along = 0
        if fault == "mean taken as a constant":
            mean = 0
        dz = (g - mean - along) / std
        dgamma = dn.sum(axis=0) if fault == "gamma's gradient is beta's" else (dn * x).sum(axis=0)
        return {"W1": X.T @ dz, "b1": dz.sum(axis=0), "gamma": dgamma, "beta": dn.sum(axis=0), "W2": h.T @ d}

    return wp.FunctionProblem(value, gradient, params)


def embedding(fault, seed):
    """A bag of embedded words."""
    random = np.random.default_rng(seed)
    vocabulary, words = 30, random.integers(0, 24, (N, 3))
    y = random.integers(0, C, N)
    params = {"E": normal(random, vocabulary, 6), "W": normal(random, 6, C)}

    def value(p):
        return softmax_loss(p["E"][words].mean(axis=1) @ p["W"], y, N)[0]

    def gradient(p):
        h = p["E"][words].mean(axis=1)
        _, d = softmax_loss(h @ p["W"], y, N)
        dh = np.repeat((d @ p["W"].T / 3)[:, None], 3, axis=1)
        dE = np.zeros_like(p["E"])
        if fault == "repeated words overwritten":
            dE[words] = dh
        elif fault == "repeated words added once":
            dE[words] += dh
        else:
            np.add.at(dE, words, dh)
        if fault == "first word taken for padding":
            dE[0] = 0
        if fault == "not averaged over the words":
            dE *= 3
        return {"E": dE, "W": h.T @ d}

    return wp.FunctionProblem(value, gradient, params)


def recurrent(fault, seed):
    """An LSTM over five steps; gates in the order i, f, o, g."""
    random = np.random.default_rng(seed)
    T, U, batch = 5, 4, 8
    X, Y = random.standard_normal((T, batch, 3)), random.standard_normal((batch, U))
    params = {"Wx": normal(random, 3, 4 * U), "Wh": normal(random, U, 4 * U), "b": normal(random, 4 * U)}

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def forward(p):
        h, c, kept = np.zeros((batch, U)), np.zeros((batch, U)), []
        for x in X:
            a = x @ p["Wx"] + h @ p["Wh"] + p["b"]
            i, f, o, g = (
                sigmoid(a[:, :U]),
                sigmoid(a[:, U : 2 * U]),
                sigmoid(a[:, 2 * U : 3 * U]),
                np.tanh(a[:, 3 * U :]),
            )
            before = (h, c)
            c = f * c + i * g
            h = o * np.tanh(c)
            kept.append((x, *before, i, f, o, g, c))
        return h, kept

    def value(p):
        return 0.5 * ((forward(p)[0] - Y) ** 2).sum() / batch

    def gradient(p):
        h, kept = forward(p)
        out = {name: np.zeros_like(a) for name, a in p.items()}
        dh, dc = (h - Y) / batch, np.zeros((batch, U))
        for x, h_before, c_before, i, f, o, g, c in reversed(kept):
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            gates = [
                dc * g * i * (1 - i),
                dc * c_before * f * (1 - f),
                dh * np.tanh(c) * o * (1 - o),
                dc * i * (1 - g**2),
            ]
            da = np.concatenate(gates, axis=1)
            out["Wx"] += x.T @ da
            out["Wh"] += h_before.T @ da
            out["b"] += da.sum(axis=0)
            dh, dc = da @ p["Wh"].T, dc * f
        if fault == "gates in another order":
            order = np.concatenate([np.arange(U) + k * U for k in (0, 1, 3, 2)])
            out = {name: a[..., order] for name, a in out.items()}
        if fault == "two gates share a gradient":
            out["b"][U : 2 * U] = out["b"][:U]
        return out

    return wp.FunctionProblem(value, gradient, params)


def convolution(fault, seed):
    """One-dimensional, valid, loops over taps."""
    random = np.random.default_rng(seed)
    length, taps, channels = 12, 5, 6
    X, Y = random.standard_normal((8, length, 3)), random.standard_normal((8, length - taps + 1, channels))
    params = {"K": normal(random, taps, 3, channels), "b": normal(random, channels)}

    def windows():
        return np.stack([X[:, t : t + length - taps + 1] for t in range(taps)])

    def forward(p):
        return np.einsum("tnlc,tcd->nld", windows(), p["K"]) + p["b"]

    def value(p):
        return 0.5 * ((np.tanh(forward(p)) - Y) ** 2).mean()

    def gradient(p):
        h = np.tanh(forward(p))
        d = (h - Y) * (1 - h**2) / h.size
        dK, db = np.einsum("tnlc,nld->tcd", windows(), d), d.sum(axis=(0, 1))
        if fault == "kernel flipped":
            dK = dK[::-1].copy()
        if fault == "last tap left out":
            dK[-1] = 0
        if fault == "last channel left out":
            dK[:, :, -1] = 0
        if fault == "bias averaged over positions":
            db = d.mean(axis=1).sum(axis=0)
        if fault == "last position left out":
            dK = np.einsum("tnlc,nld->tcd", windows()[:, :, :-1], d[:, :-1])
        return {"K": dK, "b": db}

    return wp.FunctionProblem(value, gradient, params)


def stateful(fault, seed):
    """A gradient that remembers."""
    random = np.random.default_rng(seed)
    X, y = random.standard_normal((N, D)), random.standard_normal(N)
    params = {"W": normal(random, D, H), "v": normal(random, H)}
    sums = {name: np.zeros_like(array) for name, array in params.items()}

    def value(p):
        return 0.5 * ((np.tanh(X @ p["W"]) @ p["v"] - y) ** 2).mean()

    def right(p, rows=slice(None)):
        h = np.tanh(X[rows] @ p["W"])
        d = (h @ p["v"] - y[rows]) / len(h)
        return {"W": X[rows].T @ (d[:, None] * p["v"] * (1 - h**2)), "v": h.T @ d}

    earlier = right({name: array + 0.1 for name, array in params.items()})

    def gradient(p):
        if fault == "not zeroed":
            for name, part in right(p).items():
                sums[name] += part
            return {name: part.copy() for name, part in sums.items()}
        if fault == "computed once and cached":
            return earlier
        if fault == "one call late":
            late = dict(earlier)
            earlier.update(right(p))
            return late
        return right(p)

    return wp.FunctionProblem(value, gradient, params)


CASES: list[Case] = [
    *cases("numpy", classifier, """
        not divided by the batch size | W3 b3 W2 b2 W1 b1 | mean-or-sum | hunkim/DeepLearningZeroToAll#173
        sign of the softmax gradient | W3 b3 W2 b2 W1 b1 | sign | dennybritz/nn-from-scratch#11
        sigmoid' of the activation's input | W2 b2 W1 b1 | activation-derivative | benoitfragit/libBrain#78
        sigmoid' left out | W2 b2 W1 b1 | activation-derivative | CS231n notes, backpropagation
        tanh' without the square | W1 b1 | activation-derivative | microsoft/knossos-ksc!505
        W where W.T belongs | W1 b1 | transposed | pulp-platform/pulp-trainlib#3
        weight gradient transposed | W2 | transposed | iamtrask/Grokking-Deep-Learning!22
        L2 left out | W1 | missing-weight-decay | Artelnics/opennn#241
        L2 twice | W3 | extra-weight-decay | jingtinghuang/CS231n-Spring-2017#3
        L2 on a bias | b2 | extra-weight-decay | JWarmenhoven/Coursera-Machine-Learning#3
        bias gradient averaged | b1 | mean-or-sum | hunkim/DeepLearningZeroToAll#173
        bias gradient forgotten | b2 | zero | CS231n assignment 2
        only the first half of the inputs | W1 | wrong-rows | worldcoin/open-iris!225
        last unit left out | W2 | wrong-rows | worldcoin/open-iris!225
        reshaped instead of transposed | W3 | transposed | iamtrask/Grokking-Deep-Learning!22
        """),
    *cases("numpy", square, """
        factor 2 of the square left out | W b | scale | jingtinghuang/CS231n-Spring-2017#3
        mean over examples, not elements | W b | mean-or-sum | pytorch#16045
        bias summed over the wrong axis | b | wrong-axis | deeplearning4j#8280
        """),
    *cases("numpy", relu_net, """
        leaky slope left out | W2 W1 b1 | activation-derivative | SilasMarvin/dnns-from-scratch-in-zig#5
        leaky slope of the wrong sign | W2 W1 b1 | activation-derivative | SilasMarvin/dnns-from-scratch-in-zig#5
        relu' left out | W1 b1 | activation-derivative | iamtrask/Grokking-Deep-Learning!13
        dropout mask left out | W1 b1 | missing-factor | ddbourgin/numpy-ml#94
        dropout not rescaled | W1 b1 | scale | ddbourgin/numpy-ml#94
        """),
    *cases("numpy", normalised, """
        statistics taken as constants | W1 b1 | batch-statistics | KonduitAI/deeplearning4j!41
        variance taken as a constant | W1 | batch-statistics | KonduitAI/deeplearning4j!41
        mean taken as a constant | W1 b1 | batch-statistics | KonduitAI/deeplearning4j!41
        """),
    *cases("numpy", embedding, """
        repeated words overwritten | E | overwritten | HIPS/autograd#39
        repeated words added once | E | overwritten | HIPS/autograd#39
        first word taken for padding | E | wrong-rows | pytorch#26302
        not averaged over the words | E | scale | hunkim/DeepLearningZeroToAll#173
        """),
    *cases("numpy", recurrent, """
        gates in another order | Wx Wh b | permuted | hanbt/learn_dl#53
        two gates share a gradient | b | wrong-rows | hanbt/learn_dl#53
        """),
    *cases("numpy", convolution, """
        kernel flipped | K | permuted | FluxML/NNlib.jl#518
        last tap left out | K | wrong-rows | worldcoin/open-iris!225
        last channel left out | K | wrong-rows | worldcoin/open-iris!225
        bias averaged over positions | b | mean-or-sum | deeplearning4j#8280
        """),
    *cases("numpy", stateful, """
        not zeroed | gradient | doubled | karpathy/llm.c!548
        computed once and cached | W v | stale | bshillingford/autobw.torch#3
        one call late | gradient | stale | bshillingford/autobw.torch#3
        """),
]  # fmt: skip
