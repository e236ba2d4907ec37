"""Problems that several tests share: healthy ones of many kinds, and makers of broken ones."""

import torch
from torch import nn

import wellposed as wp


def batch(rows=64, features=16, classes=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rows, features, generator=draw), torch.randint(classes, (rows,), generator=draw)


def mlp(depth=3, width=32, activation=nn.ReLU, features=16, classes=4):
    layers = []
    for layer in range(depth):
        layers += [nn.Linear(features if layer == 0 else width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def he(model):
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return model


def classify(model, data=None):
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), data or batch())


class Block(nn.Module):
    """A residual block as ResNets have it; its last scale may start at zero."""

    def __init__(self, channels, zero):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        if zero:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x):
        return torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))


def resnet(zero=False, blocks=4):
    body = [Block(8, zero) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def images(rows=16):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(rows, 3, 12, 12, generator=draw), torch.randint(4, (rows,), generator=draw)


class Transformer(nn.Module):
    def __init__(self, layers=3):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.embed, self.body, self.head = (
            nn.Linear(5, 16),
            nn.TransformerEncoder(layer, layers, enable_nested_tensor=False),
            nn.Linear(16, 4),
        )

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(dim=1))


def zero_head():
    model = he(mlp())
    nn.init.zeros_(model[-1].weight)
    return model


def sequences():
    draw = torch.Generator().manual_seed(2)
    return torch.randn(12, 7, 5, generator=draw), torch.randint(4, (12,), generator=draw)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(5, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ConvTranspose2d(8, 3, 2, stride=2)

    def forward(self, x):
        return self.up(nn.functional.gelu(self.down(x)))


def autoencoder():
    x, _ = images()
    return wp.TorchProblem(Autoencoder(), nn.MSELoss(), (x, x))


HEALTHY = {
    "default MLP": lambda: classify(mlp()),
    "He MLP": lambda: classify(he(mlp(depth=10, width=64))),
    "tanh MLP": lambda: classify(mlp(activation=nn.Tanh)),
    "zero head": lambda: classify(zero_head()),
    "ResNet": lambda: classify(resnet(), images()),
    "ResNet, zero gamma": lambda: classify(resnet(zero=True), images()),
    "transformer": lambda: classify(Transformer(), sequences()),
    "LSTM": lambda: classify(Recurrent(), sequences()),
    "autoencoder": autoencoder,
}
"""Silence is expected of every rule on each of these: nothing may fail."""


class LayerScale(nn.Module):
    """Pre-norm residual blocks with GPT-2's standard deviation of 0.02; each branch starts at `scale`."""

    def __init__(self, scale, blocks=4):
        super().__init__()
        self.embed = nn.Embedding(50, 32, padding_idx=0)
        self.norms = nn.ModuleList([nn.LayerNorm(32) for _ in range(blocks)])
        self.up = nn.ModuleList([nn.Linear(32, 64) for _ in range(blocks)])
        self.down = nn.ModuleList([nn.Linear(64, 32) for _ in range(blocks)])
        self.scales = nn.ParameterList([nn.Parameter(torch.full((32,), scale)) for _ in range(blocks)])
        self.head = nn.Linear(32, 4)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens):
        x = self.embed(tokens)
        for norm, up, down, scale in zip(self.norms, self.up, self.down, self.scales, strict=True):
            x = x + scale * down(nn.functional.gelu(up(norm(x))))
        return self.head(x.mean(dim=1))


def tokens():
    draw = torch.Generator().manual_seed(3)
    return torch.randint(50, (16, 6), generator=draw), torch.randint(4, (16,), generator=draw)


class Fixup(nn.Module):
    def __init__(self, blocks=8):
        super().__init__()
        self.stem, self.head = nn.Linear(16, 32), nn.Linear(32, 4)
        self.inner = nn.ModuleList([nn.Linear(32, 32) for _ in range(blocks)])
        self.outer = nn.ModuleList([nn.Linear(32, 32) for _ in range(blocks)])
        for inner, outer in zip(self.inner, self.outer, strict=True):
            nn.init.normal_(inner.weight, std=(2 / 32) ** 0.5 * blocks**-0.5)
            nn.init.zeros_(outer.weight)
            nn.init.zeros_(outer.bias)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        x = self.stem(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = torch.relu(x + outer(torch.relu(inner(x))))
        return self.head(x)


def frozen_backbone():
    model = mlp()
    for layer in (0, 2):
        model[layer].requires_grad_(False)
    return model


def spectral():
    model = mlp()
    for layer in (0, 2):
        nn.utils.parametrizations.spectral_norm(model[layer])
    return model


class Mixed(nn.Module):
    """Autocast within the model: a float64 copy of it is no float64 function."""

    def __init__(self):
        super().__init__()
        self.body = mlp()

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.body(x)


HEALTHY |= {
    "GPT-2 weights": lambda: classify(LayerScale(1.0), tokens()),
    "LayerScale": lambda: classify(LayerScale(1e-5), tokens()),
    "Fixup": lambda: classify(Fixup()),
    "frozen backbone": lambda: classify(frozen_backbone()),
    "spectral norm": lambda: classify(spectral()),
    "autocast": lambda: classify(Mixed()),
}


class Off(torch.autograd.Function):
    """A backward pass that is 5 % too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 1.05 * g
