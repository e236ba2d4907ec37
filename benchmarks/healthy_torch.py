"""Healthy training set-ups. make() -> (model, loss, batch, optimizer). python healthy_torch.py --train verifies that each one trains."""

import copy
import itertools
import math
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore", category=DeprecationWarning)
CONTROLS = []


def control(name, kind, steps=200, ratio=0.5, drop=None, after=None):
    """ratio: loss after / loss before must be below it; drop: instead, before - after must exceed it. after(model): each step (EMA)."""

    def wrap(f):
        def make():
            torch.manual_seed(0)
            np.random.seed(0)
            return f()

        make.name, make.kind, make.steps, make.ratio, make.drop, make.after = name, kind, steps, ratio, drop, after
        CONTROLS.append(make)
        return make

    return wrap


# ----------------------------------------------------------------------------------------------- data
_cache = {}


def digits():
    if "d" not in _cache:
        from sklearn.datasets import load_digits

        d = load_digits()
        order = np.random.RandomState(0).permutation(len(d.target))
        _cache["d"] = (torch.tensor(d.data[order], dtype=torch.float32), torch.tensor(d.target[order]))
    return _cache["d"]


def digit_images(n=64):
    x, y = digits()
    x = (x - x.mean()) / x.std()
    return x[:n].reshape(n, 1, 8, 8), y[:n]


def housing(n=128, d=10, seed=1):
    """Mixed-scale table, standardised; a nonlinear target, standardised."""
    from sklearn.preprocessing import StandardScaler

    r = np.random.RandomState(seed)
    x = np.c_[r.lognormal(3, 1, (1000, 3)), r.normal(300, 20, (1000, 3)), r.poisson(4, (1000, d - 6))].astype(float)
    z = StandardScaler().fit_transform(x)
    y = np.sin(z[:, 0]) + z[:, 3] * z[:, 6] + 0.5 * z[:, 4] + 0.1 * r.randn(1000)
    y = (y - y.mean()) / y.std()
    return torch.tensor(z[:n], dtype=torch.float32), torch.tensor(y[:n], dtype=torch.float32)[:, None]


def tabular_classes(n=128, k=3, seed=2):
    from sklearn.datasets import make_classification
    from sklearn.preprocessing import StandardScaler

    x, y = make_classification(1000, 16, n_informative=10, n_classes=k, random_state=seed)
    x = StandardScaler().fit_transform(x)
    return torch.tensor(x[:n], dtype=torch.float32), torch.tensor(y[:n])


def documents(n=128, vocab=200, k=4, length=30, seed=3):
    r = np.random.RandomState(seed)
    base = 1.0 / np.arange(1, vocab + 1)  # Zipf
    topics = np.stack([base * np.where(r.rand(vocab) < 0.15, 8, 1) for _ in range(k)])
    topics /= topics.sum(1, keepdims=True)
    y = r.randint(k, size=n)
    counts = np.stack([r.multinomial(r.randint(length // 2, 2 * length), topics[c]) for c in y])
    return counts, torch.tensor(y)


def sequences(n=64, vocab=50, k=3, longest=20, seed=4):
    """Padded token sequences (0 is padding), classes by which words are frequent."""
    r = np.random.RandomState(seed)
    y = r.randint(k, size=n)
    lengths = r.randint(6, longest + 1, size=n)
    x = np.zeros((n, longest), int)
    for i in range(n):
        p = np.ones(vocab - 1)
        p[y[i] * 10 : (y[i] + 1) * 10] = 6
        x[i, : lengths[i]] = 1 + r.choice(vocab - 1, lengths[i], p=p / p.sum())
    return torch.tensor(x), torch.tensor(lengths), torch.tensor(y)


def markov(n=16, t=24, vocab=30, seed=5):
    r = np.random.RandomState(seed)
    P = r.dirichlet(np.full(vocab, 0.1), size=vocab)
    out = np.zeros((n, t + 1), int)
    out[:, 0] = r.randint(vocab, size=n)
    for j in range(t):
        for i in range(n):
            out[i, j + 1] = r.choice(vocab, p=P[out[i, j]])
    return torch.tensor(out)


def moons(n=128):
    from sklearn.datasets import make_moons

    x, y = make_moons(n, noise=0.08, random_state=0)
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def mlp(*sizes, act=nn.ReLU):
    layers = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            layers.append(act())
    return nn.Sequential(*layers)


def adam(m, lr=1e-3):
    return torch.optim.Adam([p for p in m.parameters() if p.requires_grad], lr)


def adamw(m, lr=1e-3, wd=0.01):
    return torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr, weight_decay=wd)


def sgd(m, lr=0.05, mom=0.9):
    return torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr, momentum=mom)


# ------------------------------------------------------------------------------------- image classification
@control("digits_standardized_mlp", "digits")
def _():
    from sklearn.preprocessing import StandardScaler

    x, y = digits()
    z = torch.tensor(StandardScaler().fit_transform(x.numpy()), dtype=torch.float32)  # constant border pixels stay 0
    m = mlp(64, 64, 64, 10)
    return m, nn.CrossEntropyLoss(), (z[:128], y[:128]), adam(m)


@control("digits_div16_mlp", "digits")
def _():
    x, y = digits()
    m = mlp(64, 128, 10)
    return m, nn.CrossEntropyLoss(), (x[:128] / 16, y[:128]), sgd(m, 0.1)


@control("digits_wholemean_deep_gelu", "digits")
def _():
    x, y = digit_images(128)
    m = nn.Sequential(nn.Flatten(), mlp(64, 96, 96, 96, 10, act=nn.GELU))
    return m, nn.CrossEntropyLoss(), (x, y), adamw(m)


@control("digits_logreg", "digits", ratio=0.5)
def _():
    x, y = digits()
    m = nn.Linear(64, 10)
    nn.init.zeros_(m.weight)
    nn.init.zeros_(m.bias)  # convex: zero is the usual start
    return m, nn.CrossEntropyLoss(), (x[:256] / 16, y[:256]), sgd(m, 0.1)


@control("digits_log_softmax_nll", "digits")
def _():
    x, y = digits()
    m = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10), nn.LogSoftmax(dim=1))
    return m, nn.NLLLoss(), (x[:128] / 8 - 1, y[:128]), adam(m, 3e-3)


@control("cnn_maxpool", "cnn")
def _():
    x, y = digit_images()
    m = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    return m, nn.CrossEntropyLoss(), (x, y), adam(m)


@control("cnn_bn_dropout", "cnn")
def _():
    x, y = digit_images()
    m = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32, 10),
    )
    return m, nn.CrossEntropyLoss(), (x, y), sgd(m, 0.05)


@control("cnn_depthwise_groupnorm", "cnn")
def _():
    class Block(nn.Module):
        def __init__(s, c):
            super().__init__()
            s.dw, s.norm, s.up, s.down = (
                nn.Conv2d(c, c, 3, padding=1, groups=c),
                nn.GroupNorm(1, c),
                nn.Conv2d(c, 2 * c, 1),
                nn.Conv2d(2 * c, c, 1),
            )

        def forward(s, x):
            return x + s.down(F.gelu(s.up(s.norm(s.dw(x)))))

    x, y = digit_images()
    m = nn.Sequential(
        nn.Conv2d(1, 24, 2, stride=2),
        Block(24),
        Block(24),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(24),
        nn.Linear(24, 10),
    )
    return m, nn.CrossEntropyLoss(label_smoothing=0.1), (x, y), adamw(m, 3e-3)


class Basic(nn.Module):
    def __init__(s, i, o, stride=1, zero=False):
        super().__init__()
        s.c1, s.b1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        s.c2, s.b2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        s.skip = (
            nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
            if i != o or stride > 1
            else nn.Identity()
        )
        if zero:
            nn.init.zeros_(s.b2.weight)

    def forward(s, x):
        return F.relu(s.b2(s.c2(F.relu(s.b1(s.c1(x))))) + s.skip(x))


def resnet(zero=False):
    m = nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Basic(16, 16, zero=zero),
        Basic(16, 32, 2, zero),
        Basic(32, 32, zero=zero),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    for c in m.modules():
        if isinstance(c, nn.Conv2d):
            nn.init.kaiming_normal_(c.weight, mode="fan_out", nonlinearity="relu")
    return m


@control("resnet_bn", "resnet", steps=100)
def _():
    m = resnet()
    return (
        m,
        nn.CrossEntropyLoss(),
        digit_images(32),
        torch.optim.SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
    )


@control("resnet_bn_zero_gamma", "resnet", steps=100)
def _():
    m = resnet(True)
    return m, nn.CrossEntropyLoss(), digit_images(32), sgd(m, 0.05)


class EncoderBlock(nn.Module):
    def __init__(s, d, h, causal=False, p=0.0):
        super().__init__()
        s.n1, s.n2, s.h, s.causal = nn.LayerNorm(d), nn.LayerNorm(d), h, causal
        s.qkv, s.proj, s.up, s.down, s.drop = (
            nn.Linear(d, 3 * d),
            nn.Linear(d, d),
            nn.Linear(d, 4 * d),
            nn.Linear(4 * d, d),
            nn.Dropout(p),
        )

    def forward(s, x):
        b, t, d = x.shape
        q, k, v = s.qkv(s.n1(x)).reshape(b, t, 3, s.h, d // s.h).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=s.causal).transpose(1, 2).reshape(b, t, d)
        x = x + s.drop(s.proj(a))
        return x + s.drop(s.down(F.gelu(s.up(s.n2(x)))))


class ViT(nn.Module):
    def __init__(s, d=32, depth=3, classes=10):
        super().__init__()
        s.patch = nn.Conv2d(1, d, 2, 2)
        s.cls = nn.Parameter(torch.zeros(1, 1, d))
        s.pos = nn.Parameter(torch.randn(1, 17, d) * 0.02)
        s.blocks = nn.Sequential(*[EncoderBlock(d, 4) for _ in range(depth)])
        s.norm, s.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(s, x):
        x = s.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([s.cls.expand(len(x), -1, -1), x], 1) + s.pos
        return s.head(s.norm(s.blocks(x))[:, 0])


@control("vit_cls_token", "vit")
def _():
    m = ViT()
    return m, nn.CrossEntropyLoss(), digit_images(32), adamw(m)


@control("vit_zero_head_trunc_normal", "vit")
def _():
    m = ViT()
    for l in m.modules():
        if isinstance(l, nn.Linear):
            nn.init.trunc_normal_(l.weight, std=0.02)
            nn.init.zeros_(l.bias)
    nn.init.zeros_(m.head.weight)
    return m, nn.CrossEntropyLoss(), digit_images(32), adamw(m, 1e-3, 0.05)


@control("mlp_mixer", "vit")
def _():
    class Mix(nn.Module):
        def __init__(s, t, d):
            super().__init__()
            s.n1, s.n2, s.tok, s.ch = (
                nn.LayerNorm(d),
                nn.LayerNorm(d),
                mlp(t, 32, t, act=nn.GELU),
                mlp(d, 64, d, act=nn.GELU),
            )

        def forward(s, x):
            x = x + s.tok(s.n1(x).transpose(1, 2)).transpose(1, 2)
            return x + s.ch(s.n2(x))

    class Mixer(nn.Module):
        def __init__(s):
            super().__init__()
            s.p, s.b, s.n, s.h = (
                nn.Conv2d(1, 32, 2, 2),
                nn.Sequential(Mix(16, 32), Mix(16, 32)),
                nn.LayerNorm(32),
                nn.Linear(32, 10),
            )

        def forward(s, x):
            return s.h(s.n(s.b(s.p(x).flatten(2).transpose(1, 2))).mean(1))

    m = Mixer()
    return m, nn.CrossEntropyLoss(), digit_images(32), adam(m)


# ------------------------------------------------------------------------------------------------- tabular
@control("tabular_regression_mse", "tabular")
def _():
    m = mlp(10, 64, 64, 1)
    return m, nn.MSELoss(), housing(), adam(m, 3e-3)


@control("tabular_regression_squeeze_l1", "tabular")
def _():
    x, y = housing()
    net = mlp(10, 64, 64, 1, act=nn.SiLU)

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.net = net

        def forward(s, x):
            return s.net(x).squeeze(-1)

    m = Net()
    return m, nn.L1Loss(), (x, y[:, 0]), adam(m, 3e-3)


@control("tabular_huber_selu", "tabular")
def _():
    x, y = housing()
    m = mlp(10, 64, 64, 64, 1, act=nn.SELU)
    for l in m:
        if isinstance(l, nn.Linear):
            nn.init.normal_(l.weight, std=l.in_features**-0.5)
            nn.init.zeros_(l.bias)
    return m, nn.HuberLoss(delta=1.0), (x, y), adam(m)


@control("tabular_smooth_l1_outliers", "tabular")
def _():
    x, y = housing()
    y = y.clone()
    y[::40] += 8
    m = mlp(10, 64, 64, 1)
    return m, nn.SmoothL1Loss(), (x, y), adam(m, 3e-3)


@control("tabular_classification", "tabular")
def _():
    m = mlp(16, 64, 64, 3)
    return m, nn.CrossEntropyLoss(), tabular_classes(), adamw(m, 3e-3)


@control("tabular_binary_bce_logits", "tabular")
def _():
    x, y = tabular_classes(k=2)
    m = mlp(16, 64, 64, 1, act=nn.LeakyReLU)
    return m, nn.BCEWithLogitsLoss(), (x, y[:, None].float()), adam(m, 3e-3)


@control("tabular_binary_sigmoid_bce", "tabular")
def _():
    x, y = tabular_classes(k=2)
    m = nn.Sequential(mlp(16, 64, 1), nn.Sigmoid())
    return m, nn.BCELoss(), (x, y[:, None].float()), adam(m, 1e-2)


@control("tabular_imbalanced_pos_weight", "tabular")
def _():
    from sklearn.datasets import make_classification

    x, y = make_classification(400, 16, n_informative=8, weights=[0.93], random_state=0, class_sep=1.5)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)[:256]
    y = torch.tensor(y).float()[:256, None]
    m = mlp(16, 32, 32, 1)
    return m, nn.BCEWithLogitsLoss(pos_weight=(1 - y).sum() / y.sum()), (x, y), adam(m, 3e-3)


@control("class_weighted_ce_imbalanced", "tabular")
def _():
    x, y = tabular_classes(600)
    keep = (y == 0) | (torch.arange(600) % 5 == 0)
    x, y = x[keep], y[keep]
    w = len(y) / (3 * torch.bincount(y, minlength=3).float())
    m = mlp(16, 64, 64, 3)
    return m, nn.CrossEntropyLoss(weight=w), (x, y), adam(m, 3e-3)


@control("focal_loss", "tabular", steps=200)
def _():
    x, y = tabular_classes()

    def focal(logits, t, gamma=2.0):
        ce = F.cross_entropy(logits, t, reduction="none")
        return ((1 - torch.exp(-ce)) ** gamma * ce).mean()

    m = mlp(16, 64, 64, 3)
    return m, focal, (x, y), adam(m, 3e-3)


@control("tabular_categorical_embeddings", "tabular")
def _():
    r = np.random.RandomState(0)
    c = torch.tensor(r.randint(0, [7, 12, 31], (128, 3)))
    z = torch.randn(128, 5)
    y = (torch.sin(c[:, 0].float()) + 0.2 * c[:, 1] / 2 + z[:, 0])[:, None]
    y = (y - y.mean()) / y.std()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.emb = nn.ModuleList([nn.Embedding(k, d) for k, d in ((7, 4), (12, 6), (31, 8))])
            s.bn, s.net = (
                nn.BatchNorm1d(5),
                nn.Sequential(nn.Linear(23, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1)),
            )

        def forward(s, c, z):
            return s.net(torch.cat([e(c[:, i]) for i, e in enumerate(s.emb)] + [s.bn(z)], 1))

    m = Net()
    return m, nn.MSELoss(), ((c, z), y), adam(m, 1e-2)


@control("onehot_mlp", "onehot")
def _():
    r = np.random.RandomState(0)
    c = torch.tensor(r.randint(0, [5, 8, 12], (256, 3)))
    x = torch.cat([F.one_hot(c[:, i], k).float() for i, k in enumerate((5, 8, 12))], 1)
    y = (c[:, 0] + c[:, 1] * 2 + (c[:, 2] > 5)) % 3
    m = mlp(25, 64, 64, 3)
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 1e-2)


@control("onehot_char_rnn", "onehot")
def _():
    s = markov(16, 16, 12)

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.rnn, s.out = nn.GRU(12, 32, batch_first=True), nn.Linear(32, 12)

        def forward(s, x):
            return s.out(s.rnn(x)[0])

    m = Net()
    return (
        m,
        lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
        (F.one_hot(s[:, :-1], 12).float(), s[:, 1:]),
        adam(m, 1e-2),
    )


@control("onehot_plus_numeric", "onehot")
def _():
    x, y = housing(256)
    c = torch.randint(6, (256,))
    y = y + 0.5 * (c[:, None] == 2)
    y = (y - y.mean()) / y.std()
    m = mlp(16, 64, 64, 1)
    return m, nn.MSELoss(), (torch.cat([x, F.one_hot(c, 6).float()], 1), y), adam(m, 3e-3)


@control("bow_tfidf_rownormalised", "sparse_text")
def _():
    from sklearn.feature_extraction.text import TfidfTransformer

    counts, y = documents()
    x = torch.tensor(TfidfTransformer().fit_transform(counts).toarray(), dtype=torch.float32)
    m = mlp(200, 64, 4)
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 5e-3)


@control("bow_counts_mlp", "sparse_text")
def _():
    counts, y = documents()
    m = mlp(200, 64, 4)
    return m, nn.CrossEntropyLoss(), (torch.tensor(counts, dtype=torch.float32), y), adam(m)


@control("bow_log1p_linear", "sparse_text", ratio=0.6)
def _():
    counts, y = documents()
    m = nn.Linear(200, 4)
    return m, nn.CrossEntropyLoss(), (torch.tensor(np.log1p(counts), dtype=torch.float32), y), adam(m, 1e-2)


@control("bow_l1_frequencies", "sparse_text", steps=300)
def _():
    counts, y = documents()
    x = torch.tensor(counts / counts.sum(1, keepdims=True), dtype=torch.float32)
    m = mlp(200, 64, 4)
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 1e-2)


@control("sparse_nonnegative_implicit_feedback", "sparse_text", steps=400, ratio=0.7)
def _():
    r = np.random.RandomState(0)
    taste = r.rand(128, 4) ** 3 @ r.rand(4, 60) ** 3
    x = torch.tensor((r.rand(128, 60) < 0.4 * taste / taste.max(1, keepdims=True)), dtype=torch.float32)
    m = mlp(60, 32, 12, 32, 60, act=nn.Tanh)  # MultDAE: row-normalised input, multinomial likelihood

    class DAE(nn.Module):
        def __init__(s):
            super().__init__()
            s.net = m

        def forward(s, x):
            return s.net(F.dropout(F.normalize(x), 0.3, s.training))

    d = DAE()
    return d, lambda o, t: -(F.log_softmax(o, 1) * t).sum(1).mean() / t.sum(1).mean(), (x, x), adam(d, 1e-2)


@control("padded_constant_columns", "padded")
def _():
    x, y = tabular_classes()
    x = torch.cat([x, torch.zeros(128, 8)], 1)  # fixed width for several sources: the last 8 columns unused here
    m = mlp(24, 64, 64, 3)
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 3e-3)


@control("padded_series_1d_cnn", "padded")
def _():
    t = torch.arange(32.0)
    y = torch.randint(3, (64,))
    length = torch.randint(18, 29, (64,))
    x = torch.sin(t * (y[:, None] + 1) * 0.3 + 6 * torch.rand(64, 1)) + 0.2 * torch.randn(64, 32)
    x = torch.where(t < length[:, None], x, 0.0)[:, None]  # zero padding on the right; last columns all zero
    m = nn.Sequential(
        nn.Conv1d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 3),
    )
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 3e-3)


@control("padded_numeric_gru_mask", "padded")
def _():
    n, T = 48, 16
    length = torch.randint(5, T + 1, (n,))
    mask = (torch.arange(T) < length[:, None]).float()
    x = torch.randn(n, T, 3) * mask[..., None]
    y = ((x[..., 0] * x[..., 1]).sum(1) / length.sqrt())[:, None]
    y = (y - y.mean()) / y.std()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.rnn, s.out = nn.GRU(3, 32, batch_first=True), nn.Linear(32, 1)

        def forward(s, x, mask):
            h = s.rnn(x)[0] * mask[..., None]
            return s.out(h.sum(1) / mask.sum(1, keepdim=True))

    m = Net()
    return m, nn.MSELoss(), ((x, mask), y), adam(m, 1e-2)


# --------------------------------------------------------------------------------------------------- text
class RNNClassifier(nn.Module):
    def __init__(s, cell, packed, vocab=50, d=24, h=32, k=3):
        super().__init__()
        s.emb, s.rnn, s.out, s.packed = (
            nn.Embedding(vocab, d, padding_idx=0),
            cell(d, h, batch_first=True),
            nn.Linear(h, k),
            packed,
        )

    def forward(s, x, lengths):
        e = s.emb(x)
        if s.packed:
            e = nn.utils.rnn.pack_padded_sequence(e, lengths, batch_first=True, enforce_sorted=False)
            h = s.rnn(e)[1]
            h = h[0] if isinstance(h, tuple) else h
            return s.out(h[-1])
        o = s.rnn(e)[0]
        return s.out(o[torch.arange(len(x)), lengths - 1])


@control("text_lstm_packed", "text", steps=100)
def _():
    x, l, y = sequences()
    m = RNNClassifier(nn.LSTM, True)
    return m, nn.CrossEntropyLoss(), ((x, l), y), adam(m, 5e-3)


@control("text_gru_last_index", "text", steps=100)
def _():
    x, l, y = sequences()
    m = RNNClassifier(nn.GRU, False)
    return m, nn.CrossEntropyLoss(), ((x, l), y), adam(m, 5e-3)


@control("text_bilstm_maxpool", "text", steps=100)
def _():
    x, _l, y = sequences()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.emb, s.rnn, s.out = (
                nn.Embedding(50, 24, padding_idx=0),
                nn.LSTM(24, 24, batch_first=True, bidirectional=True),
                nn.Linear(48, 3),
            )

        def forward(s, x):
            return s.out(s.rnn(s.emb(x))[0].masked_fill((x == 0)[..., None], -1e9).amax(1))

    m = Net()
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 5e-3)


@control("rnn_explicit_zero_state", "text", steps=200)
def _():
    T = 12
    x = torch.randn(64, T, 4)
    h0 = torch.zeros(1, 64, 32)
    y = (x[:, -4:, 0].sum(1) > 0).long()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.rnn, s.out = nn.RNN(4, 32, batch_first=True), nn.Linear(32, 2)

        def forward(s, x, h0):
            return s.out(s.rnn(x, h0)[0][:, -1])

    m = Net()
    return m, nn.CrossEntropyLoss(), ((x, h0), y), adam(m, 5e-3)


@control("rnn_cell_manual_zero_state", "text", steps=200)
def _():
    s_ = markov(24, 10, 12)

    class CharRNN(nn.Module):
        def __init__(s):
            super().__init__()
            s.i2h, s.out = nn.Linear(12 + 48, 48), nn.Linear(48, 12)

        def forward(s, x, h):
            ys = []
            for t in range(x.shape[1]):
                h = torch.tanh(s.i2h(torch.cat([x[:, t], h], 1)))
                ys.append(s.out(h))
            return torch.stack(ys, 1)

    m = CharRNN()
    return (
        m,
        lambda o, t: F.cross_entropy(o.transpose(1, 2), t),
        ((F.one_hot(s_[:, :-1], 12).float(), torch.zeros(24, 48)), s_[:, 1:]),
        adam(m, 5e-3),
    )


@control("lstm_forecast_state_tuple", "text")
def _():
    t = torch.arange(33.0) * 0.35 + 6 * torch.rand(32, 1)
    s_ = (torch.sin(t) + 0.3 * torch.sin(2.3 * t))[..., None]

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.rnn, s.out = nn.LSTM(1, 24, 2, batch_first=True), nn.Linear(24, 1)

        def forward(s, x, h, c):
            return s.out(s.rnn(x, (h, c))[0])

    m = Net()
    z = torch.zeros(2, 32, 24)
    return m, nn.MSELoss(), ((s_[:, :-1], z, z.clone()), s_[:, 1:]), adam(m, 1e-2)


class GPT(nn.Module):
    def __init__(s, vocab=30, T=24, d=32, depth=2, tied=False, gpt2=False, p=0.0):
        super().__init__()
        s.tok, s.pos = nn.Embedding(vocab, d), nn.Embedding(T, d)
        s.blocks, s.norm, s.head = (
            nn.Sequential(*[EncoderBlock(d, 4, True, p) for _ in range(depth)]),
            nn.LayerNorm(d),
            nn.Linear(d, vocab, bias=False),
        )
        if tied:
            s.head.weight = s.tok.weight
        if gpt2:
            for n, q in s.named_parameters():
                if q.dim() > 1:
                    nn.init.normal_(
                        q, std=0.02 / (math.sqrt(2 * depth) if n.endswith(("proj.weight", "down.weight")) else 1)
                    )
                elif n.endswith("bias"):
                    nn.init.zeros_(q)

    def forward(s, x):
        return s.head(s.norm(s.blocks(s.tok(x) + s.pos(torch.arange(x.shape[1])))))


def lm_loss(o, t):
    return F.cross_entropy(o.reshape(-1, o.shape[-1]), t.reshape(-1))


@control("gpt_causal_lm", "transformer")
def _():
    s = markov()
    m = GPT()
    return m, lm_loss, (s[:, :-1], s[:, 1:]), adamw(m, 2e-3)


@control("gpt2_init_tied_embeddings", "transformer")
def _():
    s = markov()
    m = GPT(tied=True, gpt2=True, p=0.1)
    return m, lm_loss, (s[:, :-1], s[:, 1:]), adamw(m, 3e-3, 0.1)


@control("gpt_rmsnorm_swiglu_rope", "transformer")
def _():
    class Block(nn.Module):
        def __init__(s, d, h):
            super().__init__()
            s.h, s.n1, s.n2 = h, nn.RMSNorm(d), nn.RMSNorm(d)
            s.q, s.k, s.v, s.o = (nn.Linear(d, d, bias=False) for _ in range(4))
            s.w1, s.w3, s.w2 = (
                nn.Linear(d, 2 * d, bias=False),
                nn.Linear(d, 2 * d, bias=False),
                nn.Linear(2 * d, d, bias=False),
            )

        def rope(s, x):
            T, d = x.shape[-2:]
            a = torch.arange(T)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)
            x1, x2 = x[..., ::2], x[..., 1::2]
            return torch.stack([x1 * a.cos() - x2 * a.sin(), x1 * a.sin() + x2 * a.cos()], -1).flatten(-2)

        def forward(s, x):
            b, t, d = x.shape
            z = s.n1(x)
            q, k, v = (f(z).reshape(b, t, s.h, -1).transpose(1, 2) for f in (s.q, s.k, s.v))
            q, k = s.rope(q), s.rope(k)
            w = (
                (q @ k.transpose(-1, -2) / math.sqrt(d // s.h))
                .masked_fill(torch.ones(t, t).triu(1).bool(), float("-inf"))
                .softmax(-1)
            )
            x = x + s.o((w @ v).transpose(1, 2).reshape(b, t, d))
            z = s.n2(x)
            return x + s.w2(F.silu(s.w1(z)) * s.w3(z))

    s_ = markov()
    m = nn.Sequential(nn.Embedding(30, 32), Block(32, 4), Block(32, 4), nn.RMSNorm(32), nn.Linear(32, 30, bias=False))
    return m, lm_loss, (s_[:, :-1], s_[:, 1:]), adamw(m, 2e-3)


@control("bert_mlm_ignore_index", "transformer")
def _():
    s = markov(16, 23)
    mask = torch.rand(s.shape) < 0.15
    x = torch.where(mask, 30, s)
    y = torch.where(mask, s, -100)

    class Bert(nn.Module):
        def __init__(s):
            super().__init__()
            s.tok, s.pos, s.n = nn.Embedding(31, 32), nn.Embedding(24, 32), nn.LayerNorm(32)
            s.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, 0.1, "gelu", batch_first=True), 2)
            s.head = nn.Linear(32, 31)

        def forward(s, x):
            return s.head(s.enc(s.n(s.tok(x) + s.pos.weight[: x.shape[1]])))

    m = Bert()
    return m, lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten(), ignore_index=-100), (x, y), adamw(m, 2e-3)


@control("transformer_encoder_padding_mask", "transformer")
def _():
    x, _l, y = sequences()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.emb, s.pos = nn.Embedding(50, 32, padding_idx=0), nn.Parameter(0.02 * torch.randn(20, 32))
            s.enc = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True),
                2,
                enable_nested_tensor=False,
            )
            s.head = nn.Linear(32, 3)

        def forward(s, x):
            pad = x == 0
            h = s.enc(s.emb(x) + s.pos, src_key_padding_mask=pad).masked_fill(pad[..., None], 0)
            return s.head(h.sum(1) / (~pad).sum(1, keepdim=True))

    m = Net()
    return m, nn.CrossEntropyLoss(), (x, y), adamw(m)


@control("seq2seq_gru_reverse", "seq2seq", steps=300)
def _():
    src = torch.randint(2, 12, (32, 6))
    tgt = src.flip(1)
    inp = torch.cat([torch.ones(32, 1).long(), tgt[:, :-1]], 1)

    class S2S(nn.Module):
        def __init__(s):
            super().__init__()
            s.es, s.et, s.enc, s.dec, s.out = (
                nn.Embedding(12, 24),
                nn.Embedding(12, 24),
                nn.GRU(24, 48, batch_first=True),
                nn.GRU(24, 48, batch_first=True),
                nn.Linear(48, 12),
            )

        def forward(s, a, b):
            return s.out(s.dec(s.et(b), s.enc(s.es(a))[1])[0])

    m = S2S()
    return m, lm_loss, ((src, inp), tgt), adam(m, 1e-2)


@control("seq2seq_transformer_pad", "seq2seq", steps=200)
def _():
    l = torch.randint(3, 8, (24,))
    keep = torch.arange(7) < l[:, None]
    src = torch.where(keep, torch.randint(2, 12, (24, 7)), 0)
    tgt = torch.where(keep, (src - 2 + 3) % 10 + 2, 0)
    inp = torch.cat([torch.ones(24, 1).long(), tgt[:, :-1]], 1)

    class S2S(nn.Module):
        def __init__(s):
            super().__init__()
            s.emb, s.pos = nn.Embedding(12, 32, padding_idx=0), nn.Parameter(0.1 * torch.randn(7, 32))
            s.t = nn.Transformer(32, 4, 1, 1, 64, 0.0, batch_first=True)
            s.out = nn.Linear(32, 12)

        def forward(s, a, b):
            causal = torch.ones(7, 7).triu(1).bool()
            return s.out(
                s.t(
                    s.emb(a) + s.pos,
                    s.emb(b) + s.pos,
                    tgt_mask=causal,
                    src_key_padding_mask=a == 0,
                    memory_key_padding_mask=a == 0,
                    tgt_key_padding_mask=b == 0,
                )
            )

    m = S2S()
    return m, nn_ce_pad, ((src, inp), tgt), adam(m, 2e-3)


def nn_ce_pad(o, t):
    return F.cross_entropy(o.flatten(0, 1), t.flatten(), ignore_index=0)


@control("seq2seq_luong_attention", "seq2seq", steps=200)
def _():
    src = torch.randint(2, 12, (24, 6))
    tgt = src.flip(1)
    inp = torch.cat([torch.ones(24, 1).long(), tgt[:, :-1]], 1)

    class S2S(nn.Module):
        def __init__(s):
            super().__init__()
            s.es, s.et, s.enc, s.dec = (
                nn.Embedding(12, 24),
                nn.Embedding(12, 24),
                nn.GRU(24, 32, batch_first=True),
                nn.GRU(24, 32, batch_first=True),
            )
            s.w, s.c, s.out = nn.Linear(32, 32, bias=False), nn.Linear(64, 32), nn.Linear(32, 12)

        def forward(s, a, b):
            e, h = s.enc(s.es(a))
            d, _ = s.dec(s.et(b), h)
            w = (s.w(d) @ e.transpose(1, 2)).softmax(-1)
            return s.out(torch.tanh(s.c(torch.cat([d, w @ e], -1))))

    m = S2S()
    return m, lm_loss, ((src, inp), tgt), adam(m, 1e-2)


# ---------------------------------------------------------------------------------- autoencoders, generative
@control("autoencoder_mse", "autoencoder", steps=300)
def _():
    x, _y = digits()
    x = x[:128] / 16
    m = nn.Sequential(mlp(64, 48, 16), nn.ReLU(), mlp(16, 48, 64), nn.Sigmoid())
    return m, nn.MSELoss(), (x, x), adam(m, 3e-3)


@control("conv_autoencoder_denoising", "autoencoder", steps=300)
def _():
    x, _y = digit_images(48)
    m = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
    )
    return m, nn.MSELoss(), (x + 0.2 * torch.randn_like(x), x), adam(m, 3e-3)


class VAE(nn.Module):
    def __init__(s, z=8):
        super().__init__()
        s.enc, s.mu, s.lv, s.dec = (
            nn.Sequential(nn.Linear(64, 48), nn.ReLU()),
            nn.Linear(48, z),
            nn.Linear(48, z),
            mlp(z, 48, 64),
        )

    def forward(s, x):
        h = s.enc(x)
        mu, lv = s.mu(h), s.lv(h)
        z = torch.distributions.Normal(mu, torch.exp(0.5 * lv)).rsample()
        return s.dec(z), mu, lv


@control("vae_bce_kl_sum", "vae", steps=300, ratio=0.65)
def _():
    x, _y = digits()
    x = x[:128] / 16

    def loss(o, t):
        r, mu, lv = o
        return (
            F.binary_cross_entropy_with_logits(r, t, reduction="sum") - 0.5 * (1 + lv - mu**2 - lv.exp()).sum()
        ) / len(t)

    m = VAE()
    return m, loss, (x, x), adam(m, 3e-3)


@control("vae_mse_beta", "vae", steps=300, ratio=0.7)
def _():
    x, _y = digits()
    x = (x[:128] - x.mean()) / x.std()

    def loss(o, t):
        r, mu, lv = o
        return F.mse_loss(r, t) + 0.01 * torch.mean(-0.5 * torch.sum(1 + lv - mu**2 - lv.exp(), 1))

    m = VAE()
    return m, loss, (x, x), adam(m, 3e-3)


@control("vae_one_argument_distributions", "vae", steps=300, ratio=0.75)
def _():
    x, _y = digits()
    x = x[:96] / 16
    D = torch.distributions
    m = VAE(6)

    def loss(model):
        r, mu, lv = model(x)
        kl = D.kl_divergence(D.Normal(mu, (0.5 * lv).exp()), D.Normal(0.0, 1.0)).sum(1)
        return (kl - D.Bernoulli(logits=r, validate_args=False).log_prob(x).sum(1)).mean()

    return m, loss, None, adam(m, 3e-3)


class VQVAE(nn.Module):
    def __init__(s, k=32, d=8):
        super().__init__()
        s.enc, s.dec, s.book = mlp(64, 64, 4 * d), mlp(4 * d, 64, 64), nn.Embedding(k, d)
        nn.init.uniform_(s.book.weight, -0.5, 0.5)

    def forward(s, x):
        z = s.enc(x).reshape(len(x), 4, -1)
        i = torch.cdist(z, s.book.weight).argmin(-1)
        q = s.book(i)
        vq = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        q = z + (q - z).detach()
        return s.dec(q.flatten(1)), vq


@control("vqvae_straight_through", "vqvae", steps=300, ratio=0.6)
def _():
    x, _y = digits()
    x = (x[:128] - x.mean()) / x.std()
    m = VQVAE()
    return m, lambda o, t: F.mse_loss(o[0], t) + o[1], (x, x), adam(m, 3e-3)


@control("vqvae_ema_codebook_buffer", "vqvae", steps=300, ratio=0.7)
def _():
    x, _y = digits()
    x = (x[:128] - x.mean()) / x.std()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.enc, s.dec = mlp(64, 64, 32), mlp(32, 64, 64)
            s.register_buffer("book", 0.3 * torch.randn(32, 8))
            s.register_buffer("n", torch.ones(32))
            s.register_buffer("sum", s.book.clone())

        def forward(s, x):
            z = s.enc(x).reshape(-1, 8)
            i = torch.cdist(z, s.book).argmin(-1)
            q = s.book[i]
            if s.training:
                with torch.no_grad():
                    o = F.one_hot(i, 32).float()
                    s.n.mul_(0.95).add_(o.sum(0), alpha=0.05)
                    s.sum.mul_(0.95).add_(o.T @ z, alpha=0.05)
                    s.book.copy_(s.sum / s.n.clamp(min=1e-2)[:, None])
            return s.dec((z + (q - z).detach()).reshape(len(x), -1)), 0.25 * F.mse_loss(z, q.detach())

    m = Net()
    return m, lambda o, t: F.mse_loss(o[0], t) + o[1], (x, x), adam(m, 3e-3)


def gan_parts():
    G = nn.Sequential(
        nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Tanh()
    )
    D = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    x, _y = digits()
    return G, D, x[:64] / 8 - 1


@control("gan_discriminator_step", "gan")
def _():
    G, D, x = gan_parts()

    def loss(D):
        fake = G(torch.randn(64, 16)).detach()
        r, f = D(x), D(fake)
        return F.binary_cross_entropy_with_logits(r, torch.ones_like(r)) + F.binary_cross_entropy_with_logits(
            f, torch.zeros_like(f)
        )

    return D, loss, None, torch.optim.Adam(D.parameters(), 2e-4, betas=(0.5, 0.999))


@control("gan_generator_step", "gan", ratio=0.6)
def _():
    G, D, x = gan_parts()
    o = torch.optim.Adam(D.parameters(), 2e-4, betas=(0.5, 0.999))
    for _ in range(30):  # the discriminator is a little ahead, as in a running game
        f = G(torch.randn(64, 16)).detach()
        l = F.softplus(-D(x)).mean() + F.softplus(D(f)).mean()
        o.zero_grad()
        l.backward()
        o.step()
    D.zero_grad()
    ones = torch.ones(64, 1)
    return (
        G,
        lambda fake, t: F.binary_cross_entropy_with_logits(D(fake), t),
        (torch.randn(64, 16), ones),
        torch.optim.Adam(G.parameters(), 2e-4, betas=(0.5, 0.999)),
    )


@control("wgan_gp_critic", "gan", drop=0.5)
def _():
    G, D, x = gan_parts()

    def loss(D):
        with torch.no_grad():
            fake = G(torch.randn(64, 16))
        e = torch.rand(64, 1)
        mix = (e * x + (1 - e) * fake).requires_grad_()
        (g,) = torch.autograd.grad(D(mix).sum(), mix, create_graph=True)
        return D(fake).mean() - D(x).mean() + 10 * ((g.norm(2, dim=1) - 1) ** 2).mean()

    return D, loss, None, torch.optim.Adam(D.parameters(), 1e-4, betas=(0.0, 0.9))


@control("wgan_spectral_norm_hinge", "gan", drop=0.5)
def _():
    G, _d, x = gan_parts()
    sn = nn.utils.parametrizations.spectral_norm
    D = nn.Sequential(
        sn(nn.Linear(64, 64)), nn.LeakyReLU(0.1), sn(nn.Linear(64, 64)), nn.LeakyReLU(0.1), sn(nn.Linear(64, 1))
    )
    fake = G(torch.randn(64, 16)).detach()

    def hinge(out, t):
        return torch.relu(1 - t * out).mean()

    return (
        D,
        hinge,
        (torch.cat([x, fake]), torch.cat([torch.ones(64, 1), -torch.ones(64, 1)])),
        torch.optim.Adam(D.parameters(), 1e-3, betas=(0.5, 0.9)),
    )


# --------------------------------------------------------------------------------------------------------- RL
def transitions(n=128, seed=0):
    """Pole-like linear system, standardised states, 3 actions."""
    r = np.random.RandomState(seed)
    s = r.randn(n, 4)
    a = r.randint(3, size=n)
    s2 = (
        s @ (np.eye(4) + 0.1 * np.diag([1, 1, 1], 1))
        + 0.2 * (a[:, None] - 1) * np.array([0, 0.3, 0, 1])
        + 0.02 * r.randn(n, 4)
    )
    rew = 1 - 0.3 * np.abs(s2[:, 0])
    done = (np.abs(s2[:, 0]) > 2).astype(float)

    def f(v):
        return torch.tensor(v, dtype=torch.float32)

    return f(s), torch.tensor(a), f(rew), f(s2), f(done)


@control("dqn_nograd_same_network", "rl", steps=500, ratio=0.2)
def _():
    r = np.random.RandomState(0)  # a 4 x 4 grid, -1 a step until the corner
    at, a = r.randint(15, size=256), r.randint(4, size=256)
    row, col = at // 4, at % 4
    row2, col2 = np.clip(row + np.array([-1, 1, 0, 0])[a], 0, 3), np.clip(col + np.array([0, 0, -1, 1])[a], 0, 3)
    to = row2 * 4 + col2
    s, s2 = F.one_hot(torch.tensor(at), 16).float(), F.one_hot(torch.tensor(to), 16).float()
    d, a = torch.tensor(to == 15).float(), torch.tensor(a)
    m = mlp(16, 64, 64, 4)

    def loss(q):
        with torch.no_grad():
            y = -1 + 0.9 * (1 - d) * q(s2).max(1).values
        return F.smooth_l1_loss(q(s).gather(1, a[:, None]).squeeze(1), y)

    return m, loss, None, adam(m, 3e-3)


@control("dqn_nograd_continuous_state", "rl", steps=300, ratio=0.2)
def _():
    s, a, r, s2, d = transitions()
    m = mlp(4, 64, 64, 3)

    def loss(q):
        with torch.no_grad():
            y = r + 0.5 * (1 - d) * q(s2).max(1).values
        return F.smooth_l1_loss(q(s).gather(1, a[:, None]).squeeze(1), y)

    return m, loss, None, adam(m)


@control("dqn_target_network", "rl", steps=300)
def _():
    s, a, r, s2, d = transitions()
    m = mlp(4, 64, 64, 3)
    target = copy.deepcopy(m).requires_grad_(False)

    def loss(q):
        y = r + 0.9 * (1 - d) * target(s2).max(1).values
        return F.mse_loss(q(s).gather(1, a[:, None]).squeeze(1), y)

    return m, loss, None, adam(m)


@control("double_dqn_targets_in_batch", "rl", steps=300)
def _():
    s, a, r, s2, d = transitions()
    m = mlp(4, 64, 64, 3)
    target = copy.deepcopy(m)
    with torch.no_grad():
        y = r + 0.9 * (1 - d) * target(s2).gather(1, m(s2).argmax(1, True)).squeeze(1)
    return m, lambda q, t: F.smooth_l1_loss(q.gather(1, t[0][:, None]).squeeze(1), t[1]), (s, (a, y)), adam(m)


@control("double_dqn_same_loss", "rl", steps=300, ratio=0.6)
def _():
    s, a, r, s2, d = transitions()
    m = mlp(4, 64, 64, 3)
    target = copy.deepcopy(m).requires_grad_(False)

    def loss(q):
        with torch.no_grad():
            y = r + 0.9 * (1 - d) * target(s2).gather(1, q(s2).argmax(1, keepdim=True)).squeeze(1)
        return F.smooth_l1_loss(q(s).gather(1, a[:, None]).squeeze(1), y)

    return m, loss, None, adam(m)


class AC(nn.Module):
    def __init__(s):
        super().__init__()
        s.body, s.pi, s.v = (
            nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()),
            nn.Linear(64, 3),
            nn.Linear(64, 1),
        )
        for l in s.body:
            if isinstance(l, nn.Linear):
                nn.init.orthogonal_(l.weight, 2**0.5)
                nn.init.zeros_(l.bias)
        nn.init.orthogonal_(s.pi.weight, 0.01)
        nn.init.orthogonal_(s.v.weight, 1.0)
        nn.init.zeros_(s.pi.bias)
        nn.init.zeros_(s.v.bias)

    def forward(s, x):
        h = s.body(x)
        return s.pi(h), s.v(h).squeeze(-1)


@control("actor_critic_adv_detach", "rl", steps=200, drop=0.3)
def _():
    s, a, r, _s2, _d = transitions()
    ret = r + 0.5 * (a == 2) * (s[:, 0] < 0)  # returns, better when pushing back
    ret = (ret - ret.mean()) / ret.std()

    def loss(o, t):
        a, ret = t
        logits, v = o
        dist = torch.distributions.Categorical(logits=logits)
        adv = ret - v
        return -(dist.log_prob(a) * adv.detach()).mean() + 0.5 * adv.pow(2).mean() - 0.01 * dist.entropy().mean()

    m = AC()
    return m, loss, (s, (a, ret)), adam(m, 3e-4)


@control("ppo_clipped", "rl", steps=100, drop=0.1)
def _():
    s, a, r, s2, d = transitions()
    m = AC()
    with torch.no_grad():
        logits, v = m(s)
        old = torch.distributions.Categorical(logits=logits).log_prob(a)
        ret = r + 0.9 * (1 - d) * m(s2)[1] + 0.5 * (a == 2) * (s[:, 0] < 0)
        adv = ret - v
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)

    def loss(o, t):
        a, old, adv, ret = t
        logits, v = o
        dist = torch.distributions.Categorical(logits=logits)
        ratio = (dist.log_prob(a) - old).exp()
        pg = -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
        return pg + 0.5 * F.mse_loss(v, ret) - 0.01 * dist.entropy().mean()

    return m, loss, (s, (a, old, adv, ret)), torch.optim.Adam(m.parameters(), 3e-4, eps=1e-5)


@control("reinforce_baseline", "rl", drop=0.2)
def _():
    s, a, r, _s2, _d = transitions()
    ret = r + 0.5 * (a == 2) * (s[:, 0] < 0)
    adv = (ret - ret.mean()) / ret.std()
    m = mlp(4, 32, 3, act=nn.Tanh)
    return m, lambda o, t: (F.cross_entropy(o, t[0], reduction="none") * t[1]).mean(), (s, (a, adv)), adam(m)


class Actor(nn.Module):
    def __init__(s):
        super().__init__()
        s.body, s.mu, s.ls = (
            nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()),
            nn.Linear(64, 2),
            nn.Linear(64, 2),
        )

    def forward(s, x):
        h = s.body(x)
        return s.mu(h), s.ls(h).clamp(-5, 2)


def fitted_q():
    q = mlp(6, 64, 64, 1)
    o = adam(q, 3e-3)
    for _ in range(150):
        s, a = torch.randn(128, 4), torch.rand(128, 2) * 2 - 1
        l = F.mse_loss(q(torch.cat([s, a], 1))[:, 0], 1 - ((a - 0.5 * torch.tanh(s[:, :2])) ** 2).sum(1))
        o.zero_grad()
        l.backward()
        o.step()
    q.zero_grad()
    return q


@control("sac_actor_reparametrised", "rl", drop=0.3)
def _():
    q, s = fitted_q(), torch.randn(128, 4)

    def loss(actor):
        mu, ls = actor(s)
        dist = torch.distributions.Normal(mu, ls.exp())
        u = dist.rsample()
        a = torch.tanh(u)
        logp = (dist.log_prob(u) - torch.log(1 - a**2 + 1e-6)).sum(1)
        return (0.1 * logp - q(torch.cat([s, a], 1))[:, 0]).mean()

    m = Actor()
    return m, loss, None, adam(m)


@control("ddpg_actor", "rl", drop=0.1)
def _():
    q, s = fitted_q(), torch.randn(128, 4)
    m = nn.Sequential(mlp(4, 64, 64, 2), nn.Tanh())
    return m, lambda a, s: -q(torch.cat([s, a], 1)).mean(), (s, s), adam(m)


# -------------------------------------------------------------------------------------------------- contrastive
def two_views(n=64):
    x, _y = digits()
    x = (x[:n] - x.mean()) / x.std()
    return x + 0.3 * torch.randn_like(x), x + 0.3 * torch.randn_like(x)


@control("clip_learned_temperature", "contrastive")
def _():
    x, _y = digits()
    x = (x[:64] - x.mean()) / x.std()
    other = torch.tanh(x @ torch.randn(64, 20) / 8) + 0.1 * torch.randn(64, 20)

    class Clip(nn.Module):
        def __init__(s):
            super().__init__()
            s.a, s.b, s.scale = mlp(64, 64, 16), mlp(20, 64, 16), nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(s, a, b):
            return s.scale.exp() * F.normalize(s.a(a), dim=1) @ F.normalize(s.b(b), dim=1).T

    m = Clip()
    return (
        m,
        lambda l, t: (F.cross_entropy(l, t) + F.cross_entropy(l.T, t)) / 2,
        ((x, other), torch.arange(64)),
        adamw(m),
    )


@control("simclr_ntxent", "contrastive")
def _():
    a, b = two_views()

    class Sim(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(64, 64, 64, 16)

        def forward(s, a, b):
            return F.normalize(s.f(torch.cat([a, b])), dim=1)

    def loss(z, _):
        n = len(z) // 2
        sim = (z @ z.T / 0.2).masked_fill(torch.eye(2 * n).bool(), float("-inf"))
        return F.cross_entropy(sim, torch.arange(2 * n).roll(n))

    m = Sim()
    return m, loss, ((a, b), torch.zeros(64)), adam(m)


@control("simsiam_stop_gradient", "contrastive", drop=0.3)
def _():
    a, b = two_views()

    class Sim(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = nn.Sequential(
                nn.Linear(64, 64, bias=False),
                nn.BatchNorm1d(64),
                nn.ReLU(),
                nn.Linear(64, 32, bias=False),
                nn.BatchNorm1d(32, affine=False),
            )
            s.h = nn.Sequential(nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))

        def forward(s, a, b):
            z1, z2 = s.f(a), s.f(b)
            return s.h(z1), s.h(z2), z1.detach(), z2.detach()

    def loss(o, _):
        p1, p2, z1, z2 = o
        return -(F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2

    m = Sim()
    return m, loss, ((a, b), torch.zeros(64)), sgd(m, 0.05)


@control("simsiam_detach_in_loss", "contrastive", drop=0.3)
def _():
    a, b = two_views()

    class Sim(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = nn.Sequential(
                nn.Linear(64, 64, bias=False),
                nn.BatchNorm1d(64),
                nn.ReLU(),
                nn.Linear(64, 32, bias=False),
                nn.BatchNorm1d(32, affine=False),
            )
            s.h = nn.Sequential(nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))

        def forward(s, a, b):
            z1, z2 = s.f(a), s.f(b)
            return s.h(z1), s.h(z2), z1, z2

    def loss(m):
        p1, p2, z1, z2 = m(a, b)
        return -(F.cosine_similarity(p1, z2.detach()).mean() + F.cosine_similarity(p2, z1.detach()).mean()) / 2

    m = Sim()
    return m, loss, None, sgd(m, 0.05)


def ema(m, k=0.99):
    with torch.no_grad():
        for p, q in zip(m.student.parameters(), m.teacher.parameters(), strict=False):
            q.mul_(k).add_(p, alpha=1 - k)


@control("byol_ema_teacher", "contrastive", drop=0.5, after=ema)
def _():
    a, b = two_views()

    class Byol(nn.Module):
        def __init__(s):
            super().__init__()
            s.student = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
            s.teacher = copy.deepcopy(s.student).requires_grad_(False)
            s.predict = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))

        def forward(s, a, b):
            with torch.no_grad():
                ta, tb = s.teacher(a), s.teacher(b)
            return s.predict(s.student(a)), s.predict(s.student(b)), ta, tb

    def loss(m):
        pa, pb, ta, tb = m(a, b)
        return (2 - 2 * F.cosine_similarity(pa, tb)).mean() + (2 - 2 * F.cosine_similarity(pb, ta)).mean()

    m = Byol()
    return m, loss, None, adam(m)


@control("moco_queue_ema_key_encoder", "contrastive", drop=0.5, after=ema)
def _():
    a, b = two_views()

    class Moco(nn.Module):
        def __init__(s):
            super().__init__()
            s.student = mlp(64, 64, 16)
            s.teacher = copy.deepcopy(s.student).requires_grad_(False)
            x, _y = digits()
            rest = (x[64:320] - x.mean()) / x.std()
            s.register_buffer("queue", F.normalize(s.teacher(rest), dim=1).detach())

        def forward(s, q, k):
            q = F.normalize(s.student(q), dim=1)
            with torch.no_grad():
                k = F.normalize(s.teacher(k), dim=1)
            return torch.cat([(q * k).sum(1, keepdim=True), q @ s.queue.T], 1) / 0.2

    m = Moco()
    return m, nn.CrossEntropyLoss(), ((a, b), torch.zeros(64, dtype=torch.long)), adam(m)


@control("triplet_margin", "contrastive")
def _():
    x, y = digits()
    x = (x - x.mean()) / x.std()
    pos = [int(np.flatnonzero((y[64:] == c).numpy())[i % 5]) + 64 for i, c in enumerate(y[:64])]
    neg = [int(np.flatnonzero((y[64:] != c).numpy())[i]) + 64 for i, c in enumerate(y[:64])]

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(64, 64, 16)

        def forward(s, a, p, n):
            return s.f(a), s.f(p), s.f(n)

    m = Net()
    return m, lambda o, _: F.triplet_margin_loss(*o, margin=1.0), ((x[:64], x[pos], x[neg]), torch.zeros(64)), adam(m)


@control("cosine_embedding_siamese", "contrastive")
def _():
    x, y = digits()
    x = (x - x.mean()) / x.std()
    a, b = x[:64], x[64:128]
    t = torch.where(y[:64] == y[64:128], 1.0, -1.0)
    b = torch.where((torch.arange(64) % 2 == 0)[:, None], a + 0.3 * torch.randn_like(a), b)
    t[::2] = 1

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(64, 64, 16, act=nn.Tanh)

        def forward(s, a, b):
            return s.f(a), s.f(b)

    m = Net()
    return m, lambda o, t: F.cosine_embedding_loss(*o, t, margin=0.1), ((a, b), t), adam(m)


# ---------------------------------------------------------------------------------- diffusion, flows, physics
class Denoiser(nn.Module):
    def __init__(s, d, h=64):
        super().__init__()
        s.t = nn.Sequential(nn.Linear(16, h), nn.SiLU())
        s.i, s.m, s.o = nn.Linear(d, h), nn.Linear(h, h), nn.Linear(h, d)

    def forward(s, x, t):
        f = torch.exp(-math.log(1000) * torch.arange(8) / 8)
        e = t[:, None].float() * f
        h = s.i(x) + s.t(torch.cat([e.sin(), e.cos()], 1))
        h = h + s.m(F.silu(h))
        return s.o(F.silu(h))


@control("ddpm_noise_in_loss", "diffusion", steps=300, ratio=0.75)
def _():
    x, _y = moons(256)
    ab = torch.cumprod(1 - torch.linspace(1e-3, 0.1, 100), 0)

    def loss(m):
        t = torch.randint(100, (256,))
        e = torch.randn_like(x)
        return F.mse_loss(m(ab[t, None].sqrt() * x + (1 - ab[t, None]).sqrt() * e, t), e)

    m = Denoiser(2)
    return m, loss, None, adam(m, 3e-3)


@control("ddpm_digits_batch", "diffusion", steps=300, ratio=0.6)
def _():
    x, _y = digits()
    x = x[:128] / 8 - 1
    ab = torch.cumprod(1 - torch.linspace(1e-3, 0.1, 100), 0)
    t = torch.randint(100, (128,))
    e = torch.randn_like(x)
    m = Denoiser(64, 128)
    nn.init.zeros_(m.o.weight)
    nn.init.zeros_(m.o.bias)  # the usual zero output layer
    return m, nn.MSELoss(), ((ab[t, None].sqrt() * x + (1 - ab[t, None]).sqrt() * e, t), e), adamw(m, 2e-3)


@control("flow_matching", "diffusion", steps=300, ratio=0.75)
def _():
    x, _y = moons(256)

    class V(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(3, 64, 64, 2, act=nn.SiLU)

        def forward(s, x, t):
            return s.f(torch.cat([x, t], 1))

    m = V()

    def loss(m):
        z, t = torch.randn_like(x), torch.rand(256, 1)
        return F.mse_loss(m((1 - t) * z + t * x, t), x - z)

    return m, loss, None, adam(m, 3e-3)


class Coupling(nn.Module):
    def __init__(s, flip, zero):
        super().__init__()
        s.flip, s.net = flip, mlp(1, 32, 32, 2, act=nn.Tanh)
        if zero:
            nn.init.zeros_(s.net[-1].weight)
            nn.init.zeros_(s.net[-1].bias)

    def forward(s, x):
        a, b = x.chunk(2, 1)
        if s.flip:
            a, b = b, a
        ls, t = s.net(a).chunk(2, 1)
        ls = torch.tanh(ls)
        b = b * ls.exp() + t
        return torch.cat([b, a] if s.flip else [a, b], 1), ls.sum(1)


class RealNVP(nn.Module):
    def __init__(s, n=6, zero=False):
        super().__init__()
        s.c = nn.ModuleList([Coupling(i % 2 == 1, zero) for i in range(n)])

    def forward(s, x):
        ld = 0
        for c in s.c:
            x, d = c(x)
            ld = ld + d
        return x, ld


def nll(o, _):
    return (0.5 * (o[0] ** 2).sum(1) + math.log(2 * math.pi) - o[1]).mean()


@control("realnvp", "flow", steps=300, drop=0.5)
def _():
    x, _y = moons(256)
    m = RealNVP()
    return m, nll, (x, torch.zeros(256)), adam(m, 5e-3)


@control("realnvp_zero_init_identity", "flow", steps=300, drop=0.5)
def _():
    x, _y = moons(256)
    m = RealNVP(zero=True)
    return m, lambda m: nll(m(x), None), None, adam(m, 5e-3)


@control("flow_loss_with_default_target", "flow", steps=300, drop=0.5)
def _():
    x, _y = moons(256)
    m = RealNVP(4)

    def loss(out, target=None):
        return nll(out, target)  # two arguments, the second unused and optional

    return m, loss, (x, torch.zeros(256)), adam(m, 5e-3)


@control("pinn_poisson", "pinn", steps=300, ratio=0.1)
def _():
    x = torch.linspace(-1, 1, 64)[:, None]
    edge = torch.tensor([[-1.0], [1.0]])
    m = mlp(1, 32, 32, 1, act=nn.Tanh)
    for l in m:
        if isinstance(l, nn.Linear):
            nn.init.xavier_normal_(l.weight)
            nn.init.zeros_(l.bias)

    def loss(u):
        z = x.clone().requires_grad_()
        y = u(z)
        (dy,) = torch.autograd.grad(y.sum(), z, create_graph=True)
        (ddy,) = torch.autograd.grad(dy.sum(), z, create_graph=True)
        return ((ddy + math.pi**2 * torch.sin(math.pi * x)) ** 2).mean() + 10 * (u(edge) ** 2).mean()

    return m, loss, None, adam(m, 3e-3)


@control("pinn_heat_collocation_batch", "pinn", steps=300, ratio=0.4)
def _():
    x = torch.rand(96, 2) * torch.tensor([2.0, 1.0]) - torch.tensor([1.0, 0.0])  # x in -1..1, t in 0..1
    m = mlp(2, 32, 32, 32, 1, act=nn.Tanh)
    x0 = torch.linspace(-1, 1, 32)

    def loss(u):
        z = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(u(z).sum(), z, create_graph=True)
        xx = torch.autograd.grad(g[:, 0].sum(), z, create_graph=True)[0][:, 0]
        ic = u(torch.stack([x0, torch.zeros(32)], 1))[:, 0] + torch.sin(math.pi * x0)
        t = torch.linspace(0, 1, 16)
        bc = torch.cat([u(torch.stack([torch.full((16,), v), t], 1)) for v in (-1.0, 1.0)])
        return (g[:, 1] - 0.1 * xx).pow(2).mean() + ic.pow(2).mean() + bc.pow(2).mean()

    return m, loss, None, adam(m, 3e-3)


@control("siren_image", "siren", steps=300)
def _():
    x, _y = digits()
    img = x[0].reshape(8, 8)
    c = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij"), -1).reshape(
        -1, 2
    )

    class Sine(nn.Module):
        def __init__(s, i, o, first=False):
            super().__init__()
            s.l = nn.Linear(i, o)
            nn.init.uniform_(
                s.l.weight, -(1 / i if first else math.sqrt(6 / i) / 30), 1 / i if first else math.sqrt(6 / i) / 30
            )

        def forward(s, x):
            return torch.sin(30 * s.l(x))

    last = nn.Linear(64, 1)
    nn.init.uniform_(last.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    m = nn.Sequential(Sine(2, 64, True), Sine(64, 64), Sine(64, 64), last)
    return m, nn.MSELoss(), (c, img.reshape(-1, 1) / 8 - 1), adam(m, 1e-4)


@control("fourier_features_mlp", "siren", steps=300)
def _():
    x, _y = digits()
    img = x[1].reshape(-1, 1) / 8 - 1
    c = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij"), -1).reshape(
        -1, 2
    )

    class FF(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("B", torch.randn(2, 32) * 2)
            s.f = mlp(64, 64, 64, 1)

        def forward(s, x):
            p = math.pi * x @ s.B
            return s.f(torch.cat([p.sin(), p.cos()], 1))

    m = FF()
    return m, nn.MSELoss(), (c, img), adam(m)


@control("neural_ode_euler", "ode", steps=300)
def _():
    x, y = moons()

    class ODE(nn.Module):
        def __init__(s):
            super().__init__()
            s.up, s.f, s.out = nn.Linear(2, 8), mlp(8, 32, 8, act=nn.Tanh), nn.Linear(8, 2)

        def forward(s, x):
            h = s.up(x)
            for _ in range(10):
                h = h + 0.1 * s.f(h)
            return s.out(h)

    m = ODE()
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 1e-2)


@control("hamiltonian_network", "ode", steps=300, ratio=0.1)
def _():
    x = torch.randn(96, 2)
    dx = torch.stack([x[:, 1], -torch.sin(x[:, 0])], 1)
    m = mlp(2, 48, 48, 1, act=nn.Tanh)

    def loss(H):
        z = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(H(z).sum(), z, create_graph=True)
        return F.mse_loss(torch.stack([g[:, 1], -g[:, 0]], 1), dx)

    return m, loss, None, adam(m, 3e-3)


# ------------------------------------------------------------------------------------------ graphs, sets, tables
@control("gcn_dense_semisupervised", "gnn", steps=100)
def _():
    y = torch.arange(60) % 3
    A = (torch.rand(60, 60) < torch.where(y[:, None] == y, 0.3, 0.04)).float()
    A = ((A + A.T) > 0).float().fill_diagonal_(1)
    d = A.sum(1).rsqrt()
    A = d[:, None] * A * d
    x = torch.randn(60, 12) + F.one_hot(y, 12) * 0.8

    class GCN(nn.Module):
        def __init__(s):
            super().__init__()
            s.a, s.b = nn.Linear(12, 32), nn.Linear(32, 3)

        def forward(s, x, A):
            return A @ s.b(F.relu(A @ s.a(x)))

    m = GCN()
    known = torch.rand(60) < 0.4
    return (
        m,
        lambda o, t: F.cross_entropy(o[known], t[known]),
        ((x, A), y),
        torch.optim.Adam(m.parameters(), 1e-2, weight_decay=5e-4),
    )


@control("gnn_message_passing_graph_level", "gnn", steps=200)
def _():
    A = (torch.rand(32, 10, 10) < 0.3).float().triu(1)
    A = A + A.transpose(1, 2)
    x = torch.randn(32, 10, 6)
    y = (A.sum((1, 2)) / 2 + x[..., 0].sum(1))[:, None]
    y = (y - y.mean()) / y.std()

    class GIN(nn.Module):
        def __init__(s):
            super().__init__()
            s.i = nn.Linear(6, 32)
            s.l = nn.ModuleList([mlp(32, 32, 32) for _ in range(2)])
            s.n = nn.ModuleList([nn.LayerNorm(32) for _ in range(2)])
            s.o = nn.Linear(32, 1)

        def forward(s, x, A):
            h = s.i(x)
            for l, n in zip(s.l, s.n, strict=False):
                h = n(h + l(h + A @ h))
            return s.o(h.mean(1))

    m = GIN()
    return m, nn.MSELoss(), ((x, A), y), adam(m, 3e-3)


@control("deepsets_masked", "sets", steps=200)
def _():
    n = torch.randint(3, 11, (64,))
    mask = (torch.arange(10) < n[:, None]).float()[..., None]
    x = torch.randn(64, 10, 3) * mask
    y = ((x**2).sum((1, 2)) / n)[:, None]
    y = (y - y.mean()) / y.std()

    class DS(nn.Module):
        def __init__(s):
            super().__init__()
            s.phi, s.rho = mlp(3, 32, 32), mlp(32, 32, 1)

        def forward(s, x, mask):
            return s.rho((s.phi(x) * mask).sum(1) / mask.sum(1))

    m = DS()
    return m, nn.MSELoss(), ((x, mask), y), adam(m, 5e-3)


@control("pointnet_maxpool", "sets", steps=100)
def _():
    y = torch.randint(3, (48,))
    p = torch.randn(48, 24, 3)
    p = torch.where(
        (y == 0)[:, None, None],
        F.normalize(p, dim=-1),
        torch.where((y == 1)[:, None, None], p.clamp(-0.7, 0.7), p * torch.tensor([1.0, 1.0, 0.1])),
    )

    class PN(nn.Module):
        def __init__(s):
            super().__init__()
            s.f, s.g = mlp(3, 32, 64), mlp(64, 32, 3)

        def forward(s, p):
            return s.g(F.relu(s.f(p)).amax(1))

    m = PN()
    return m, nn.CrossEntropyLoss(), (p, y), adam(m, 3e-3)


@control("embeddingbag_text", "sets", steps=200)
def _():
    x, l, y = sequences()
    flat = torch.cat([r[:k] for r, k in zip(x, l, strict=False)])
    off = torch.cat([torch.zeros(1, dtype=torch.long), l.cumsum(0)[:-1]])

    class EB(nn.Module):
        def __init__(s):
            super().__init__()
            s.e, s.o = nn.EmbeddingBag(50, 24), nn.Linear(24, 3)

        def forward(s, t, off):
            return s.o(s.e(t, off))

    m = EB()
    return m, nn.CrossEntropyLoss(), ((flat, off), y), adam(m, 1e-2)


@control("matrix_factorisation", "embedding", steps=300)
def _():
    u, i = torch.randint(40, (512,)), torch.randint(30, (512,))
    U, V = torch.randn(40, 3), torch.randn(30, 3)
    r = (3.5 + (U[u] * V[i]).sum(1) * 0.6 + 0.1 * torch.randn(512)).clamp(1, 5)

    class MF(nn.Module):
        def __init__(s):
            super().__init__()
            s.u, s.v, s.bu, s.bv, s.mean = (
                nn.Embedding(40, 8),
                nn.Embedding(30, 8),
                nn.Embedding(40, 1),
                nn.Embedding(30, 1),
                r.mean(),
            )
            for e in (s.u, s.v):
                nn.init.normal_(e.weight, std=0.1)
            for e in (s.bu, s.bv):
                nn.init.zeros_(e.weight)

        def forward(s, u, i):
            return s.mean + (s.u(u) * s.v(i)).sum(1) + s.bu(u)[:, 0] + s.bv(i)[:, 0]

    m = MF()
    return m, nn.MSELoss(), ((u, i), r), adam(m, 1e-2)


@control("skipgram_negative_sampling", "embedding", steps=300, ratio=0.8)
def _():
    s = markov(32, 20, 30)
    c, o = s[:, :-1].flatten(), s[:, 1:].flatten()
    neg = torch.randint(30, (len(c), 5))

    class SG(nn.Module):
        def __init__(s):
            super().__init__()
            s.i, s.o = nn.Embedding(30, 16), nn.Embedding(30, 16)
            nn.init.uniform_(s.i.weight, -0.5 / 16, 0.5 / 16)
            nn.init.zeros_(s.o.weight)  # word2vec's own start

        def forward(s, c, o, n):
            v = s.i(c)
            return (v * s.o(o)).sum(1), torch.einsum("bd,bkd->bk", v, s.o(n))

    m = SG()
    return (
        m,
        lambda out, _: -(F.logsigmoid(out[0]) + F.logsigmoid(-out[1]).sum(1)).mean(),
        ((c, o, neg), torch.zeros(len(c))),
        adam(m, 2e-2),
    )


@control("embedding_max_norm", "embedding", steps=200)
def _():
    x, _l, y = sequences()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.e, s.o = nn.Embedding(50, 24, max_norm=1.0), mlp(24, 32, 3)

        def forward(s, x):
            return s.o(s.e(x).mean(1) * 4)

    m = Net()
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 1e-2)


@control("tied_item_embeddings_session", "embedding", steps=200)
def _():
    s = markov(32, 8, 40)

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.e, s.g = nn.Embedding(40, 24), nn.GRU(24, 24, batch_first=True)
            nn.init.normal_(s.e.weight, std=0.2)
            s.b = nn.Parameter(torch.zeros(40))

        def forward(s, x):
            return s.g(s.e(x))[1][0] @ s.e.weight.T + s.b

    m = Net()
    return m, nn.CrossEntropyLoss(), (s[:, :-1], s[:, -1]), adam(m, 1e-2)


# ---------------------------------------------------------------------------------- routing, quantisation, tuning
@control("moe_gumbel_hard", "moe", steps=200)
def _():
    class MoE(nn.Module):
        def __init__(s):
            super().__init__()
            s.gate = nn.Linear(16, 4)
            s.e = nn.ModuleList([mlp(16, 32, 3) for _ in range(4)])

        def forward(s, x):
            g = F.gumbel_softmax(s.gate(x), tau=1.0, hard=True)
            return (g[..., None] * torch.stack([e(x) for e in s.e], 1)).sum(1)

    m = MoE()
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 5e-3)


@control("moe_topk_softmax_balance", "moe", steps=200)
def _():
    class MoE(nn.Module):
        def __init__(s):
            super().__init__()
            s.i = nn.Linear(16, 32)
            s.gate = nn.Linear(32, 4, bias=False)
            s.e = nn.ModuleList([mlp(32, 32, 32) for _ in range(4)])
            s.o = nn.Linear(32, 3)

        def forward(s, x):
            h = F.relu(s.i(x))
            p = s.gate(h).softmax(-1)
            v, i = p.topk(2)
            w = torch.zeros_like(p).scatter(1, i, v / v.sum(1, keepdim=True))
            aux = 4 * ((w > 0).float().mean(0) * p.mean(0)).sum() / 2
            return s.o(h + (w[..., None] * torch.stack([e(h) for e in s.e], 1)).sum(1)), aux

    m = MoE()
    return m, lambda o, t: F.cross_entropy(o[0], t) + 0.01 * o[1], tabular_classes(), adam(m, 3e-3)


@control("quantisation_aware_ste", "quantised", steps=200)
def _():
    class QLinear(nn.Linear):
        def forward(s, x):
            k = s.weight.detach().abs().max() / 7
            q = (s.weight / k).round().clamp(-8, 7) * k
            return F.linear(x, s.weight + (q - s.weight).detach(), s.bias)

    m = nn.Sequential(QLinear(16, 64), nn.ReLU(), QLinear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 3e-3)


@control("binary_activation_custom_ste", "quantised", steps=200)
def _():
    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (x.abs() <= 1).to(g.dtype)

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.a, s.n, s.b = nn.Linear(16, 64), nn.BatchNorm1d(64), nn.Linear(64, 3)

        def forward(s, x):
            return s.b(Sign.apply(s.n(s.a(x))) / 8)

    m = Net()
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 5e-3)


def pretrained(classes=5):
    """A body trained on the first digits for a moment."""
    torch.manual_seed(1)
    x, y = digits()
    x = (x - x.mean()) / x.std()
    keep = y < classes
    x, y = x[keep], y[keep]
    body, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, classes)
    o = torch.optim.Adam([*body.parameters(), *head.parameters()], 2e-3)
    for _i in range(150):
        j = torch.randint(len(x), (64,))
        l = F.cross_entropy(head(body(x[j])), y[j])
        o.zero_grad()
        l.backward()
        o.step()
    body.zero_grad()
    torch.manual_seed(0)
    return body, head


class LoRA(nn.Module):
    def __init__(s, base, r=4, alpha=8):
        super().__init__()
        s.base = base.requires_grad_(False)
        s.A = nn.Parameter(torch.empty(r, base.in_features))
        s.B = nn.Parameter(torch.zeros(base.out_features, r))
        s.k = alpha / r
        nn.init.kaiming_uniform_(s.A, a=math.sqrt(5))

    def forward(s, x):
        return s.base(x) + s.k * (x @ s.A.T) @ s.B.T


@control("lora_frozen_base", "finetune", steps=300)
def _():
    body, _h = pretrained()
    x, y = digit_images(128)
    m = nn.Sequential(nn.Flatten(), LoRA(body[0]), nn.ReLU(), LoRA(body[2]), nn.ReLU(), nn.Linear(64, 10))
    return m, nn.CrossEntropyLoss(), (x, y), adamw(m, 3e-3)


@control("lora_same_head_adaptation", "finetune", steps=300)
def _():
    body, head = pretrained(10)
    x, y = digit_images(128)
    x = x.flip(-1)  # the task moved: mirrored digits
    m = nn.Sequential(nn.Flatten(), LoRA(body[0], 8), nn.ReLU(), LoRA(body[2], 8), nn.ReLU(), LoRA(head, 8))
    return m, nn.CrossEntropyLoss(), (x, y), adamw(m, 5e-3)


@control("frozen_backbone_new_head", "finetune", steps=300)
def _():
    body, _h = pretrained()
    x, y = digit_images(128)
    m = nn.Sequential(nn.Flatten(), body.requires_grad_(False), nn.Linear(64, 10))
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 1e-2)


@control("frozen_bn_backbone_eval_head", "finetune", steps=300)
def _():
    x, y = digit_images(256)
    m = resnet()
    o = adam(m, 3e-3)
    for _i in range(40):
        j = torch.randint(256, (64,))
        l = F.cross_entropy(m(x[j]), y[j] % 2)
        o.zero_grad()
        l.backward()
        o.step()
    m.zero_grad()
    m.requires_grad_(False)
    m.eval()
    m[-1] = nn.Linear(32, 10)
    return m, nn.CrossEntropyLoss(), (x[:48], y[:48]), adam(m, 1e-2)


@control("finetune_all_two_learning_rates", "finetune", steps=200)
def _():
    body, _h = pretrained()
    x, y = digit_images(128)
    m = nn.Sequential(nn.Flatten(), body, nn.Linear(64, 10))
    return (
        m,
        nn.CrossEntropyLoss(),
        (x, y),
        torch.optim.AdamW([{"params": body.parameters(), "lr": 3e-4}, {"params": m[2].parameters(), "lr": 3e-3}]),
    )


@control("distillation_frozen_teacher", "finetune", steps=300, ratio=0.3)
def _():
    body, head = pretrained(10)
    x, y = digit_images(128)
    teacher = nn.Sequential(nn.Flatten(), body, head).requires_grad_(False).eval()
    m = nn.Sequential(nn.Flatten(), mlp(64, 16, 10))

    def loss(m):
        s, t = m(x), teacher(x)
        return 0.5 * F.cross_entropy(s, y) + 0.5 * 4 * F.kl_div(
            F.log_softmax(s / 2, 1), F.softmax(t / 2, 1), reduction="batchmean"
        )

    return m, loss, None, adam(m, 3e-3)


@control("weight_norm_mlp", "reparametrised")
def _():
    wn = nn.utils.parametrizations.weight_norm
    m = nn.Sequential(wn(nn.Linear(16, 64)), nn.ReLU(), wn(nn.Linear(64, 64)), nn.ReLU(), wn(nn.Linear(64, 3)))
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 3e-3)


@control("orthogonal_parametrisation", "reparametrised")
def _():
    m = nn.Sequential(
        nn.Linear(16, 48),
        nn.ReLU(),
        nn.utils.parametrizations.orthogonal(nn.Linear(48, 48)),
        nn.ReLU(),
        nn.Linear(48, 3),
    )
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 3e-3)


@control("pruned_finetune_l1", "reparametrised")
def _():
    import torch.nn.utils.prune as prune

    body, _h = pretrained()
    x, y = digit_images(128)
    m = nn.Sequential(nn.Flatten(), body, nn.Linear(64, 10))
    for l in (body[0], body[2]):
        prune.l1_unstructured(l, "weight", amount=0.7)
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 3e-3)


@control("pruned_structured_trained", "reparametrised")
def _():
    import torch.nn.utils.prune as prune

    body, head = pretrained(10)
    x, y = digit_images(128)
    m = nn.Sequential(nn.Flatten(), body, head)
    prune.ln_structured(body[0], "weight", amount=0.5, n=2, dim=0)
    return m, nn.CrossEntropyLoss(), (x, y), adam(m, 1e-3)


@control("jit_scripted", "compiled")
def _():
    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.a, s.b, s.c = nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, 3)

        def forward(s, x):
            return s.c(torch.relu(s.b(torch.relu(s.a(x)))))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m = torch.jit.script(Net())
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 3e-3)


@control("gradient_checkpointing", "compiled")
def _():
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.i, s.b, s.o = (
                nn.Linear(16, 48),
                nn.ModuleList(
                    [nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 48)) for _ in range(3)]
                ),
                nn.Linear(48, 3),
            )

        def forward(s, x):
            h = s.i(x)
            for b in s.b:
                h = h + checkpoint(b, h, use_reentrant=False)
            return s.o(h)

    m = Net()
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m)


@control("gradient_checkpointing_reentrant_dropout", "compiled")
def _():
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.i, s.b, s.o = (
                nn.Linear(16, 64),
                nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU()),
                nn.Linear(64, 3),
            )

        def forward(s, x):
            return s.o(checkpoint(s.b, F.relu(s.i(x)), use_reentrant=True))

    m = Net()
    return m, nn.CrossEntropyLoss(), tabular_classes(), adam(m, 3e-3)


# ------------------------------------------------------------------------------------------- losses, regularisers
@control("label_smoothing_softlabels_mixup", "loss", ratio=0.75)
def _():
    x, y = digit_images(64)
    p = torch.randperm(64)
    lam = 0.7
    m = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )
    return (
        m,
        lambda o, t: lam * F.cross_entropy(o, t[0]) + (1 - lam) * F.cross_entropy(o, t[1]),
        (lam * x + (1 - lam) * x[p], (y, y[p])),
        adam(m, 2e-3),
    )


@control("soft_target_ce_mixup_beta", "loss", ratio=0.8)
def _():
    x, y = digit_images(64)
    p = torch.randperm(64)
    lam = torch.distributions.Beta(0.4, 0.4).sample((64, 1))
    t = lam * F.one_hot(y, 10) + (1 - lam) * F.one_hot(y[p], 10)
    x = x.flatten(1)
    m = mlp(64, 128, 128, 10)
    return m, nn.CrossEntropyLoss(label_smoothing=0.05), (lam * x + (1 - lam) * x[p], t), adamw(m, 2e-3)


@control("multitask_two_terms", "loss")
def _():
    x, y = tabular_classes()
    z = x[:, :1] * x[:, 1:2]
    z = (z - z.mean()) / z.std()

    class MT(nn.Module):
        def __init__(s):
            super().__init__()
            s.b, s.c, s.r = (
                nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()),
                nn.Linear(64, 3),
                nn.Linear(64, 1),
            )

        def forward(s, x):
            h = s.b(x)
            return s.c(h), s.r(h)

    m = MT()
    return m, lambda o, t: F.cross_entropy(o[0], t[0]) + 0.5 * F.mse_loss(o[1], t[1]), (x, (y, z)), adam(m, 3e-3)


@control("multitask_uncertainty_weighting", "loss", drop=0.8)
def _():
    x, y = tabular_classes()
    z = x[:, :1] * x[:, 1:2]
    z = (z - z.mean()) / z.std()

    class MT(nn.Module):
        def __init__(s):
            super().__init__()
            s.b, s.c, s.r, s.ls = (
                nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()),
                nn.Linear(64, 3),
                nn.Linear(64, 1),
                nn.Parameter(torch.zeros(2)),
            )

        def forward(s, x):
            h = s.b(x)
            return s.c(h), s.r(h), s.ls

    m = MT()
    return (
        m,
        lambda o, t: (
            (-o[2][0]).exp() * F.cross_entropy(o[0], t[0])
            + (-o[2][1]).exp() * 0.5 * F.mse_loss(o[1], t[1])
            + o[2].sum() / 2
        ),
        (x, (y, z)),
        adam(m, 3e-3),
    )


@control("l2_penalty_closure", "loss")
def _():
    m = mlp(16, 64, 64, 3)
    return (
        m,
        lambda o, t: F.cross_entropy(o, t) + 1e-4 * sum((p**2).sum() for p in m.parameters()),
        tabular_classes(),
        adam(m, 3e-3),
    )


@control("l1_sparse_penalty", "loss", ratio=0.6)
def _():
    m = mlp(16, 64, 3)
    d = tabular_classes()

    def loss(model):
        return F.cross_entropy(model(d[0]), d[1]) + 1e-4 * sum(
            p.abs().sum() for n, p in model.named_parameters() if "weight" in n
        )

    return m, loss, None, adam(m, 5e-3)


@control("sparse_autoencoder_l1_code", "loss", steps=300)
def _():
    x, _y = digits()
    x = (x[:128] - x.mean()) / x.std()

    class SAE(nn.Module):
        def __init__(s):
            super().__init__()
            s.e, s.d = nn.Linear(64, 128), nn.Linear(128, 64)

        def forward(s, x):
            h = F.relu(s.e(x))
            return s.d(h), h

    m = SAE()
    return m, lambda o, t: F.mse_loss(o[0], t) + 1e-3 * o[1].abs().sum(1).mean(), (x, x), adam(m, 3e-3)


@control("ctc_loss", "loss", steps=200)
def _():
    n, T = 16, 20
    y = torch.randint(1, 6, (n, 5))
    x = torch.zeros(n, T, 6)
    for i in range(n):
        for j in range(5):
            x[i, 4 * j : 4 * j + 3, y[i, j]] = 1
    x = x + 0.3 * torch.randn_like(x)
    x = (x - x.mean()) / x.std()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.r, s.o = nn.GRU(6, 24, batch_first=True, bidirectional=True), nn.Linear(48, 6)

        def forward(s, x):
            return s.o(s.r(x)[0]).log_softmax(-1).transpose(0, 1)

    m = Net()
    L = nn.CTCLoss(blank=0)
    return m, lambda o, t: L(o, t, torch.full((n,), T), torch.full((n,), 5)), (x, y), adam(m, 1e-2)


@control("multilabel_bce", "loss", steps=300)
def _():
    x = torch.randn(128, 20)
    y = (x @ torch.randn(20, 8) / 4.5 + 0.5 * torch.randn(128, 8) > 0.4).float()
    m = mlp(20, 64, 64, 8)
    return m, nn.BCEWithLogitsLoss(), (x, y), adam(m, 3e-3)


@control("segmentation_dice_bce_unet", "loss", steps=200)
def _():
    x, _y = digit_images(32)
    t = (x > 0.5).float()
    x = x + 0.3 * torch.randn_like(x)

    class U(nn.Module):
        def __init__(s):
            super().__init__()
            s.a, s.b, s.u, s.c, s.o = (
                nn.Conv2d(1, 12, 3, 1, 1),
                nn.Conv2d(12, 24, 3, 1, 1),
                nn.ConvTranspose2d(24, 12, 2, 2),
                nn.Conv2d(24, 12, 3, 1, 1),
                nn.Conv2d(12, 1, 1),
            )

        def forward(s, x):
            a = F.relu(s.a(x))
            b = F.relu(s.b(F.max_pool2d(a, 2)))
            return s.o(F.relu(s.c(torch.cat([a, s.u(b)], 1))))

    def loss(o, t):
        p = o.sigmoid()
        dice = 1 - (2 * (p * t).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(o, t) + dice.mean()

    m = U()
    return m, loss, (x, t), adam(m, 3e-3)


@control("poisson_nll", "loss", steps=200, drop=0.5)
def _():
    x, y = housing(256)
    lam = torch.exp(0.8 * y + 1).clamp(max=30)
    c = torch.poisson(lam)
    m = mlp(10, 64, 64, 1)
    return m, nn.PoissonNLLLoss(log_input=True), (x, c), adam(m, 3e-3)


@control("gaussian_nll_two_heads", "loss", steps=300, drop=0.5)
def _():
    x, y = housing(256)

    class G(nn.Module):
        def __init__(s):
            super().__init__()
            s.b, s.mu, s.v = (
                nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()),
                nn.Linear(64, 1),
                nn.Linear(64, 1),
            )

        def forward(s, x):
            h = s.b(x)
            return s.mu(h), F.softplus(s.v(h)) + 1e-4

    m = G()
    return m, lambda o, t: F.gaussian_nll_loss(o[0], t, o[1]), (x, y), adam(m, 3e-3)


@control("mixture_density_network", "loss", steps=300, drop=0.5)
def _():
    x = torch.rand(256, 1) * 4 - 2
    y = torch.where(torch.rand(256, 1) < 0.5, x.sin() * 1.2, -x.sin()) + 0.1 * torch.randn(256, 1)

    class MDN(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(1, 32, 32, 9, act=nn.Tanh)

        def forward(s, x):
            return s.f(x).chunk(3, 1)

    def loss(o, t):
        w, mu, ls = o
        return -torch.logsumexp(F.log_softmax(w, 1) + torch.distributions.Normal(mu, ls.exp()).log_prob(t), 1).mean()

    m = MDN()
    return m, loss, (x, y), adam(m, 5e-3)


@control("quantile_pinball", "loss", steps=300)
def _():
    x, y = housing(256)
    q = torch.tensor([0.1, 0.5, 0.9])
    m = mlp(10, 64, 64, 3)

    def loss(o, t):
        e = t - o
        return torch.maximum(q * e, (q - 1) * e).mean()

    return m, loss, (x, y), adam(m, 3e-3)


@control("cox_survival_partial_likelihood", "loss", steps=200, ratio=0.85)
def _():
    x = torch.randn(96, 8)
    time_ = torch.distributions.Exponential(torch.exp(x[:, 0] - x[:, 1])).sample()
    event = torch.rand(96) < 0.7
    order = time_.argsort(descending=True)
    x, event = x[order], event[order]
    m = mlp(8, 32, 1, act=nn.SELU)
    return m, lambda o, e: -((o[:, 0] - o[:, 0].logcumsumexp(0)) * e).sum() / e.sum(), (x, event.float()), adam(m, 3e-3)


@control("ranking_margin_pairs", "loss", steps=200)
def _():
    a, b = torch.randn(96, 10), torch.randn(96, 10)
    w = torch.randn(10)
    s = torch.sign(a @ w - b @ w)

    class R(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(10, 32, 1)

        def forward(s, a, b):
            return s.f(a)[:, 0], s.f(b)[:, 0]

    m = R()
    return m, lambda o, t: F.margin_ranking_loss(*o, t, margin=0.5), ((a, b), s), adam(m, 3e-3)


@control("dropout_heavy_mlp", "regularised", ratio=0.6)
def _():
    x, y = digit_images(128)
    m = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )
    return m, nn.CrossEntropyLoss(), (x, y), sgd(m, 0.05)


@control("batchnorm_mlp_sgd", "regularised")
def _():
    m = nn.Sequential(
        nn.Linear(16, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 3),
    )
    return m, nn.CrossEntropyLoss(), tabular_classes(), sgd(m, 0.05)


@control("lbfgs_regression", "optimizer", steps=10, ratio=0.2)
def _():
    x, y = housing()
    m = mlp(10, 32, 1, act=nn.Tanh)
    return m, nn.MSELoss(), (x, y), torch.optim.LBFGS(m.parameters(), lr=1, max_iter=20, line_search_fn="strong_wolfe")


@control("lbfgs_double_precision_fit", "optimizer", steps=10, ratio=0.2)
def _():
    x = torch.linspace(-2, 2, 64, dtype=torch.float64)[:, None]
    m = mlp(1, 20, 20, 1, act=nn.Tanh).double()
    return m, nn.MSELoss(), (x, torch.sin(3 * x) * x), torch.optim.LBFGS(m.parameters(), line_search_fn="strong_wolfe")


@control("rmsprop_rnn", "optimizer")
def _():
    t = torch.arange(25.0) * 0.4 + 6 * torch.rand(32, 1)
    s_ = torch.sin(t)[..., None]

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.r, s.o = nn.RNN(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(s, x):
            return s.o(s.r(x)[0][:, -1])

    m = Net()
    return m, nn.MSELoss(), (s_[:, :-1], s_[:, -1]), torch.optim.RMSprop(m.parameters(), 1e-3)


@control("adagrad_linear_regression", "optimizer", steps=300)
def _():
    x, y = housing(256)
    y = x @ torch.randn(10, 1) / 3 + 0.1 * torch.randn(256, 1)
    m = nn.Linear(10, 1)
    return m, nn.MSELoss(), (x, y), torch.optim.Adagrad(m.parameters(), 0.1)


@control("sgd_plain_two_layer", "optimizer", steps=300)
def _():
    m = mlp(16, 64, 3)
    return m, nn.CrossEntropyLoss(), tabular_classes(), torch.optim.SGD(m.parameters(), 0.2)


@control("dict_inputs_dict_output", "api")
def _():
    x, y = tabular_classes()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(16, 64, 64, 3)

        def forward(s, features, scale=None):
            return {"logits": s.f(features * scale)}

    m = Net()
    return (
        m,
        lambda o, t: F.cross_entropy(o["logits"], t),
        ({"features": x, "scale": torch.ones(128, 1)}, y),
        adam(m, 3e-3),
    )


@control("hf_style_loss_inside_model", "api")
def _():
    x, y = tabular_classes()

    class Net(nn.Module):
        def __init__(s):
            super().__init__()
            s.f = mlp(16, 64, 64, 3)

        def forward(s, x, labels):
            o = s.f(x)
            return F.cross_entropy(o, labels), o

    m = Net()
    return m, lambda m: m(x, y)[0], None, adamw(m, 3e-3)


@control("deep_residual_prelN_mlp", "api", steps=150)
def _():
    class B(nn.Module):
        def __init__(s):
            super().__init__()
            s.n, s.f = nn.LayerNorm(48), mlp(48, 96, 48, act=nn.GELU)

        def forward(s, x):
            return x + s.f(s.n(x))

    m = nn.Sequential(nn.Linear(16, 48), *[B() for _ in range(8)], nn.LayerNorm(48), nn.Linear(48, 3))
    return m, nn.CrossEntropyLoss(), tabular_classes(), adamw(m)


def value(m, loss, batch):
    return loss(m) if batch is None else loss(call(m, batch[0]), batch[1])


def call(m, x):
    return m(*x) if isinstance(x, tuple) else m(**x) if isinstance(x, dict) else m(x)


def train(c):
    m, loss, batch, opt = c()
    before = np.mean([value(m, loss, batch).item() for _ in range(5)])
    t0 = time.time()
    for _i in range(c.steps):

        def closure():
            opt.zero_grad()
            l = value(m, loss, batch)
            l.backward()
            return l

        opt.step(closure)
        if c.after:
            c.after(m)
    ms = 1000 * (time.time() - t0) / c.steps
    after = np.mean([value(m, loss, batch).item() for _ in range(5)])
    acc = ""
    if batch is not None and torch.is_tensor(batch[1]) and not batch[1].is_floating_point():
        o = call(m, batch[0])
        if torch.is_tensor(o) and o.dim() == 2 and o.shape[0] == len(batch[1]):
            acc = f"acc {(o.argmax(1) == batch[1]).float().mean():.2f}"
    ok = before - after > c.drop if c.drop else after < c.ratio * before
    return before, after, ms, acc, ok


if __name__ == "__main__" and "--train" in sys.argv:
    torch.set_num_threads(1)
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    bad = []
    for c in CONTROLS:
        if names and c.name not in names:
            continue
        try:
            b, a, ms, acc, ok = train(c)
            print(
                f"{'ok ' if ok else 'BAD'} {c.name:42s} {c.kind:14s} {b:9.4f} -> {a:9.4f}  {c.steps} steps {ms:6.1f} ms/step {acc}",
                flush=True,
            )
        except Exception as e:
            ok = False
            print(f"BAD {c.name:42s} {type(e).__name__}: {e}", flush=True)
        if not ok:
            bad.append(c.name)
    print(len(CONTROLS), "controls;", len(bad), "do not train:", bad)
