"""Programs whose fault lies in the loss, the output layer, the optimizer, or rows of the batch that get mixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .data import diabetes, digits, standardized, wine
from .program import Program, accuracy, explained, program


def source_of_chance(seed: int = 0) -> torch.Generator:
    """For synthetic data, which is the same at every call."""
    return torch.Generator().manual_seed(seed)


def digit_images() -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 digits, (n, 1, 8, 8) in [-1, 1], and their class."""
    x, y = digits()
    return x.reshape(-1, 1, 8, 8) * 2 - 1, y


def digit_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 digits as sequences of 8 rows of 8 pixels, and their class."""
    x, y = digits()
    return x.reshape(-1, 8, 8) * 2 - 1, y


def discs(n: int = 300, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images of one small bright disc, (n, 1, size, size), and its mask of zeros and ones."""
    chance = source_of_chance()
    centre = 3 + torch.rand(n, 2, 1, 1, generator=chance) * (size - 7)
    radius = 1.5 + torch.rand(n, 1, 1, generator=chance) * 1.5
    line = torch.arange(size, dtype=torch.float32)
    masks = ((line[:, None] - centre[:, 0]) ** 2 + (line[None] - centre[:, 1]) ** 2 < radius**2).float()
    images = masks + 0.5 * torch.randn(n, size, size, generator=chance)
    return images.unsqueeze(1), masks.unsqueeze(1)


def sentences(n: int, length: int, words: int, seed: int = 0) -> torch.Tensor:
    """Random word numbers, (n, length)."""
    return torch.randint(words, (n, length), generator=source_of_chance(seed))


def above(boundary: float) -> Callable[[Any, torch.Tensor], float]:
    """Accuracy of two classes, the second where the output exceeds the boundary."""

    def score(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return float(((outputs.reshape(-1) > boundary) == (targets.reshape(-1) > 0.5)).double().mean())

    return score


def overlap(boundary: float) -> Callable[[Any, torch.Tensor], float]:
    """Intersection over union of the true and of the predicted positives, those whose output exceeds the boundary."""

    def score(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        found, wanted = outputs > boundary, targets > 0.5
        return float((found & wanted).sum() / (found | wanted).sum().clamp(min=1))

    return score


def pixel_overlap(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return overlap(0.5)(outputs.argmax(1).float(), targets)


def balanced_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The mean over the classes of the share found."""
    right = (outputs.argmax(1) == targets).double()
    return float(torch.stack([right[targets == c].mean() for c in targets.unique()]).mean())


def tagging_loss(outputs: torch.Tensor, targets: torch.Tensor, ignored: int = -100) -> torch.Tensor:
    """Cross entropy of (n, length, tags) against (n, length)."""
    return F.cross_entropy(outputs.transpose(1, 2), targets, ignore_index=ignored)


def tagging_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return accuracy(outputs.flatten(0, 1), targets.flatten())


# An activation before a loss that has its own, or none before a loss that needs it.


@program(
    "https://discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814/16",
    "loss",
    "Softmax before CrossEntropyLoss",
    goal=0.9,
    epochs=10,
    named_by="WP401",
)
def softmax_before_cross_entropy(fixed: bool) -> Program:
    """CNN on images of ten classes; the loss stayed at 2.30. The first advice: do not pass softmax into the cross entropy loss."""
    x, y = digit_images()
    layers = [
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
    ]
    if not fixed:
        layers.append(nn.Softmax(dim=1))
    model = nn.Sequential(*layers)
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), accuracy
    )


@program(
    "https://github.com/NaJaeMin92/pytorch-DANN/issues/7",
    "loss",
    "Softmax at the end of the classifier, before CrossEntropyLoss",
    goal=0.9,
    epochs=10,
    named_by="WP401",
)
def softmax_in_adaptation_network(fixed: bool) -> Program:
    """CNN with batch norm and dropout for domain adaptation: "the softmax layer makes models hard to train", it is in CrossEntropyLoss."""
    x, y = digit_images()
    layers = [
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.Dropout2d(),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 50),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(50, 50),
        nn.ReLU(),
        nn.Linear(50, 10),
    ]
    if not fixed:
        layers.append(nn.Softmax(dim=1))
    model = nn.Sequential(*layers)
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), accuracy
    )


class SmallUNet(nn.Module):
    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.down = self.block(1, 8)
        self.middle = self.block(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge = self.block(16, 8)
        self.out = nn.Conv2d(8, 1, 1)
        self.sigmoid = sigmoid

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down(x)
        second = self.up(self.middle(F.max_pool2d(first, 2)))
        out = self.out(self.merge(torch.cat([first, second], 1)))
        return torch.sigmoid(out) if self.sigmoid else out


@program(
    "https://github.com/avBuffer/UNet3plus_pth/issues/23",
    "loss",
    "Sigmoid in the U-Net before BCEWithLogitsLoss",
    goal=0.6,
    epochs=8,
    named_by="WP401",
)
def sigmoid_twice_in_unet(fixed: bool) -> Program:
    """U-Net for masks whose loss does not decrease: "you're applying sigmoid twice"."""
    x, y = discs()
    model = SmallUNet(sigmoid=not fixed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return Program(model, nn.BCEWithLogitsLoss(), x, y, optimizer, overlap(0.0 if fixed else 0.5), batch=16)


class Factorization(nn.Module):
    def __init__(self, users: int, items: int, size: int, sigmoid: bool) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, size), nn.Embedding(items, size)
        for embedding in (self.users, self.items):
            nn.init.normal_(embedding.weight, std=0.1)
        self.sigmoid = sigmoid

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        out = (self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1)
        return torch.sigmoid(out) if self.sigmoid else out


@program(
    "https://github.com/yudi-mars/daisyRec/pull/15",
    "loss",
    "Sigmoid before BCEWithLogitsLoss in a recommender",
    goal=0.85,
    epochs=20,
    named_by="WP401",
)
def sigmoid_twice_in_recommender(fixed: bool) -> Program:
    """Matrix factorisation: "there is sigmoid in BCEWithLogitsLoss. Otherwise loss does not converge"."""
    chance = source_of_chance()
    users, items = torch.randn(60, 4, generator=chance), torch.randn(30, 4, generator=chance)
    pairs = torch.cartesian_prod(torch.arange(60), torch.arange(30))
    liked = (users @ items.T > 1.5).float().reshape(-1)
    model = Factorization(60, 30, 8, sigmoid=not fixed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Program(model, nn.BCEWithLogitsLoss(), pairs, liked, optimizer, overlap(0.0 if fixed else 0.5))


@program(
    "https://github.com/yunlongdong/FCN-pytorch/issues/7",
    "loss",
    "BCELoss on raw outputs, no sigmoid",
    goal=0.6,
    epochs=10,
    named_by="WP401",
)
def bce_without_sigmoid(fixed: bool) -> Program:
    """FCN for two classes of pixels: "You have used BCE loss in your train file but I don't see you using sigmoid activation"."""
    x, y = discs()
    y = torch.cat([1 - y, y], 1)
    layers = [
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 2, stride=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 2, 1),
    ]
    if fixed:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    return Program(
        model, nn.BCELoss(), x, y, torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9), overlap(0.5), batch=16
    )


class PointNet(nn.Module):
    """A shared network for each point, the greatest features over the points, and a head."""

    def __init__(self, classes: int, log_softmax: bool) -> None:
        super().__init__()
        self.points = nn.Sequential(
            nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.BatchNorm1d(64), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, classes))
        self.log_softmax = log_softmax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.head(self.points(x).amax(2))
        return F.log_softmax(out, dim=1) if self.log_softmax else out


def digit_clouds(points: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """The brightest pixels of each digit as points (column, row, brightness) in [-1, 1], (n, 3, points), and its class."""
    x, y = digits()
    brightness, place = x.topk(points, dim=1)
    return torch.stack([place % 8 / 3.5 - 1, place // 8 / 3.5 - 1, brightness * 2 - 1], 1), y


@program(
    "https://github.com/yanx27/Pointnet_Pointnet2_pytorch/issues/30",
    "loss",
    "nll_loss without log_softmax",
    goal=0.9,
    epochs=12,
    named_by="WP401",
)
def nll_without_log_softmax(fixed: bool) -> Program:
    """PointNet whose label loss was negative: log_softmax is missing before nll_loss (or use cross_entropy)."""
    x, y = digit_clouds()
    model = PointNet(10, log_softmax=fixed)
    return Program(model, F.nll_loss, x, y, torch.optim.Adam(model.parameters(), lr=1e-3), accuracy, batch=32)


class TextTransformer(nn.Module):
    def __init__(self, words: int, length: int, classes: int, last: nn.Module) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 32)
        self.places = nn.Parameter(torch.randn(length, 32) * 0.1)
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.out = nn.Linear(length * 32, classes)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.out(self.encoder(self.words(x) + self.places).flatten(1)))


@program(
    "https://github.com/AnubhavGupta3377/Text-Classification-Models-Pytorch/issues/9",
    "loss",
    "Softmax instead of log_softmax before NLLLoss",
    goal=0.9,
    epochs=9,
    named_by="WP401",
)
def softmax_before_nll(fixed: bool) -> Program:
    """Transformer for text: "here only softmax is provided in model.py therefore, the loss is always negative"."""
    chance = source_of_chance()
    y = torch.randint(40, (1000,), generator=chance)
    odds = torch.rand(40, 60, generator=chance) ** 3
    x = torch.multinomial(odds[y], 10, replacement=True, generator=chance)
    model = TextTransformer(60, 10, 40, nn.LogSoftmax(dim=1) if fixed else nn.Softmax(dim=1))
    return Program(model, nn.NLLLoss(), x, y, torch.optim.Adam(model.parameters(), lr=1e-3), accuracy, batch=32)


# A softmax that has nothing to choose from, or chooses among the rows.


@program(
    "https://stats.stackexchange.com/questions/481881/convolutional-neural-network-fails-even-when-given-answer?noredirect=1",
    "loss",
    "Softmax over one output unit",
    goal=0.95,
    epochs=8,
    named_by="WP401",
)
def one_unit_softmax_of_images(fixed: bool) -> Program:
    """CNN that says true for everything although the answer is a channel of its input: softmax of one unit is always 1."""
    chance = source_of_chance()
    y = torch.randint(2, (600, 1), generator=chance).float()
    x = torch.randn(600, 2, 12, 8, generator=chance)
    x[:, 1] = y.reshape(-1, 1, 1)
    model = nn.Sequential(
        nn.Conv2d(2, 30, 3),
        nn.ReLU(),
        nn.Conv2d(30, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 8 * 4, 1),
        nn.Sigmoid() if fixed else nn.Softmax(dim=1),
    )
    return Program(model, nn.BCELoss(), x, y, torch.optim.Adam(model.parameters()), above(0.5))


@program(
    "https://geek-questions.imtqy.com/articles/1270335/index.html",
    "loss",
    "Softmax over one output unit of a 1D CNN",
    goal=0.9,
    epochs=10,
    named_by="WP401",
)
def one_unit_softmax_of_series(fixed: bool) -> Program:
    """1D CNN with batch norm and dropout whose predictions were all 1, "due to output on your network", one neuron with softmax."""
    chance = source_of_chance()
    x = torch.randn(1000, 4, 10, generator=chance)
    y = ((x[:, 0] * torch.linspace(-1, 1, 10)).sum(1, keepdim=True) > 0).float()
    model = nn.Sequential(
        nn.Conv1d(4, 16, 4, padding="same"),
        nn.BatchNorm1d(16),
        nn.LeakyReLU(0.3),
        nn.Dropout(0.2),
        nn.Conv1d(16, 8, 4, padding="same"),
        nn.BatchNorm1d(8),
        nn.LeakyReLU(0.3),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(80, 64),
        nn.BatchNorm1d(64),
        nn.LeakyReLU(0.3),
        nn.Linear(64, 1),
        nn.Sigmoid() if fixed else nn.Softmax(dim=1),
    )
    return Program(model, nn.BCELoss(), x, y, torch.optim.Adam(model.parameters()), above(0.5), batch=128)


class Attention(nn.Module):
    """Reads from a context what a query asks for: (n, 1, size) and (n, length, size) give (n, 1, size)."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.softmax = nn.Softmax(dim=dim)

    def forward(self, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        n, length, size = context.shape
        scores = torch.bmm(self.query(query), context.transpose(1, 2)) / size**0.5
        weights = self.softmax(scores.reshape(n, length)).reshape(n, 1, length)
        return torch.bmm(weights, context)


class Reader(nn.Module):
    """Says what follows the queried key: row 0 of the input is the query, the others are pairs of a key and its value."""

    def __init__(self, keys: int, values: int, dim: int) -> None:
        super().__init__()
        self.keys, self.values = nn.Embedding(keys, 32), nn.Embedding(values, 32)
        self.attention = Attention(32, dim)
        self.out = nn.Linear(64, values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.keys(x[:, :1, 0])
        context = self.keys(x[:, 1:, 0]) + self.values(x[:, 1:, 1])
        return self.out(torch.cat([query, self.attention(query, context)], 2).squeeze(1))


@program(
    "https://github.com/PetrochukM/PyTorch-NLP/issues/2",
    "loss",
    "Softmax of the attention over the batch",
    goal=0.9,
    epochs=25,
    named_by="WP404",
)
def attention_over_the_batch(fixed: bool) -> Program:
    """Dot product attention with nn.Softmax(dim=0): "it does wrong direction softmax"; dim=-1, over the context, worked."""
    chance = source_of_chance()
    n, length = 1500, 6
    keys = torch.rand(n, 12, generator=chance).argsort(1)[:, :length]
    values = torch.randint(5, (n, length), generator=chance)
    asked = torch.randint(length, (n, 1), generator=chance)
    x = torch.stack([torch.cat([keys.gather(1, asked), keys], 1), torch.cat([torch.zeros_like(asked), values], 1)], 2)
    model = Reader(12, 5, dim=-1 if fixed else 0)
    y = values.gather(1, asked).squeeze(1)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=5e-3), accuracy)


# Shapes that broadcast.


@program(
    "https://discuss.pytorch.org/t/output-of-the-model-depends-on-the-shape-of-the-weights-tensor/148155",
    "loss",
    "Targets [n] against outputs [n, 1] in MSELoss",
    goal=0.95,
    epochs=10,
    named_by="WP401",
)
def broadcast_in_linear_regression(fixed: bool) -> Program:
    """One linear layer to sum three inputs, whose error stayed at 0.5: "incorrect results due to broadcasting", y.unsqueeze(1) helps."""
    x = torch.rand(1024, 3, generator=source_of_chance()) * 2 - 1
    y = x.sum(1)
    if fixed:
        y = y.unsqueeze(1)
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.1), explained)


class SentenceRegression(nn.Module):
    def __init__(self, words: int, squeeze: bool) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, 32)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        self.squeeze = squeeze

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.head(self.words(x))
        return out.squeeze(1) if self.squeeze else out


@program(
    "https://github.com/deepset-ai/FARM/issues/229",
    "loss",
    "Squeezed outputs [n] against labels [n, 1] in MSELoss",
    goal=0.9,
    epochs=20,
    named_by="WP401",
)
def broadcast_in_regression_head(fixed: bool) -> Program:
    """Regression of texts, "a target size [32, 1] that is different to the input size [32]": "the logits were squeezed"."""
    x = sentences(1000, 12, 50)
    worth = torch.randn(50, generator=source_of_chance(1))
    y = standardized(worth[x].sum(1, keepdim=True))
    model = SentenceRegression(50, squeeze=not fixed)
    return Program(model, nn.MSELoss(), x, y, torch.optim.Adam(model.parameters(), lr=5e-3), explained, batch=32)


@program(
    "https://github.com/jiwei0921/CoNet/issues/3",
    "loss",
    "Depth maps [n, h, w] against outputs [n, 1, h, w]",
    goal=0.8,
    epochs=15,
    named_by="WP401",
)
def broadcast_in_depth_maps(fixed: bool) -> Program:
    """Depth from images by smooth_l1_loss, target size [2, 256, 256] for [2, 1, 256, 256]: "target = target.unsqueeze(1)"."""
    chance = source_of_chance()
    coarse = torch.randn(300, 1, 4, 4, generator=chance)
    depth = F.interpolate(coarse, size=(12, 12), mode="bilinear")
    x = torch.cat(
        [
            depth.tanh() + 0.1 * torch.randn(300, 1, 12, 12, generator=chance),
            torch.randn(300, 1, 12, 12, generator=chance),
        ],
        1,
    )
    y = depth / depth.std()
    if not fixed:
        y = y.squeeze(1)
    model = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 1, 3, padding=1),
    )
    return Program(model, F.smooth_l1_loss, x, y, torch.optim.Adam(model.parameters(), lr=2e-3), explained, batch=16)


# Targets the loss does not take.


@program(
    "https://github.com/pytorch/pytorch/issues/15666",
    "loss",
    "Class indices 1 to 10 for CrossEntropyLoss of ten outputs",
    goal=0.9,
    epochs=8,
    named_by="WP401",
)
def classes_from_one(fixed: bool) -> Program:
    """A variant of CIFAR10 with "labels 1..10 as opposed to 0..9" failed at "t >= 0 && t < n_classes"."""
    x, y = digit_images()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)
    )
    return Program(
        model, nn.CrossEntropyLoss(), x, y if fixed else y + 1, torch.optim.Adam(model.parameters(), lr=2e-3), accuracy
    )


@program(
    "https://github.com/pytorch/pytorch/issues/1258",
    "loss",
    "One-hot integers for CrossEntropyLoss",
    goal=0.9,
    epochs=10,
    named_by="WP401",
)
def one_hot_integers(fixed: bool) -> Program:
    """Plates read by a CNN whose targets are rows of 0 and 1: an error, for class indices are expected."""
    x, y = digit_images()
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    return Program(
        model,
        nn.CrossEntropyLoss(),
        x,
        y if fixed else F.one_hot(y),
        torch.optim.Adam(model.parameters(), lr=3e-3),
        accuracy,
    )


@program(
    "https://github.com/pytorch/pytorch/issues/137188",
    "loss",
    "Class indices as floats for CrossEntropyLoss",
    goal=0.95,
    epochs=30,
    named_by="WP401",
)
def class_indices_as_floats(fixed: bool) -> Program:
    """Class indices for nn.CrossEntropyLoss must be torch.long, or else "expected scalar type Long but found Float"."""
    x, y = wine()
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return Program(
        model, nn.CrossEntropyLoss(), standardized(x), y if fixed else y.float(), optimizer, accuracy, batch=32
    )


@program(
    "https://github.com/milesial/Pytorch-UNet/issues/291",
    "loss",
    "Grey values of the mask as classes for CrossEntropyLoss",
    goal=0.8,
    epochs=6,
    named_by="WP401",
)
def grey_values_as_classes(fixed: bool) -> Program:
    """Segmentation in two classes by masks of 0 and 192: "Target 192 is out of bounds", for masks should hold class indices."""
    x, masks = discs()
    y = masks.squeeze(1).long()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 2, 1),
    )
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=1e-8)
    return Program(model, nn.CrossEntropyLoss(), x, y if fixed else y * 192, optimizer, pixel_overlap, batch=8)


class Tagger(nn.Module):
    def __init__(self, words: int, tags: int, hidden: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 32)
        self.lstm = nn.LSTM(32, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, tags)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(self.words(x))[0])


def tagged(n: int = 400, length: int = 8, words: int = 40, tags: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences, and tags that depend on the word and on the one before."""
    x = sentences(n, length, words)
    kinds = torch.randint(tags, (words,), generator=source_of_chance(1))[x]
    y = kinds.clone()
    y[:, 1:] = torch.where(kinds[:, :-1] == 0, (kinds[:, 1:] + 1) % tags, kinds[:, 1:])
    return x, y


@program(
    "https://github.com/nyu-mll/jiant/issues/925",
    "loss",
    "ignore_index is the number of a true class",
    goal=0.9,
    epochs=15,
    named_by="WP401",
)
def ignored_class(fixed: bool) -> Program:
    """Tagger with the padding index 0 as ignore_index: "the cross_entropy ignores all 0 class in the target"."""
    x, y = tagged()
    model = Tagger(40, 4)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return tagging_loss(outputs, targets, -100 if fixed else 0)

    return Program(model, loss, x, y, torch.optim.Adam(model.parameters(), lr=5e-3), tagging_accuracy, batch=32)


@program(
    "https://github.com/amanshenoy/multilogue-net/issues/21",
    "loss",
    "Class weights the wrong way round",
    goal=0.85,
    epochs=20,
    named_by="WP401",
)
def inverted_class_weights(fixed: bool) -> Program:
    """Fear, 8 % of the rows: its loss weights were [1/0.08, 1/0.92]. "Label 0 should be given less weight"; flipping was right."""
    chance = source_of_chance()
    y = (torch.rand(1500, generator=chance) < 0.08).long()
    x = torch.randn(1500, 10, 16, generator=chance)
    x[:, :, :3] += 0.6 * y.reshape(-1, 1, 1)
    weights = torch.tensor([1 / 0.92, 1 / 0.08] if fixed else [1 / 0.08, 1 / 0.92])
    model = LastState(nn.GRU(16, 16, batch_first=True), 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Program(model, nn.CrossEntropyLoss(weight=weights), x, y, optimizer, balanced_accuracy, batch=128)


# An output layer whose range does not hold the targets.


@program(
    "http://ansaurus.com/question/3644795-neural-network-python",
    "loss",
    "tanh at the output for targets 1 to 4",
    goal=0.9,
    epochs=30,
    named_by="WP401",
)
def tanh_output(fixed: bool) -> Program:
    """A small tanh network to give 1, 2, 3, 4: its output "is always between -1 and 1 and thus you always get a large error"."""
    x = torch.rand(300, 2, generator=source_of_chance()) * 2 - 1
    y = 2.5 + x[:, :1] + 0.5 * x[:, 1:] ** 2
    layers: list[nn.Module] = [nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)]
    if not fixed:
        layers.append(nn.Tanh())
    model = nn.Sequential(*layers)
    return Program(
        model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.1), explained, batch=16
    )


@program(
    "https://kiwix.lema.org/stackoverflow.com_en_all_2023-11/questions/5105718/multi-layer-neural-network-won-t-predict-negative-values",
    "loss",
    "Sigmoid at the output for targets from -1 to 1",
    goal=0.9,
    epochs=60,
    named_by="WP401",
)
def sigmoid_output_of_a_sine(fixed: bool) -> Program:
    """sin of the sum of the inputs by six sigmoid units; "the network will never predict a negative value"."""
    x = torch.randint(-1, 2, (500, 4), generator=source_of_chance()).float()
    x = torch.cat([x, torch.ones(500, 1)], 1)
    y = x.sum(1, keepdim=True).sin()
    model = nn.Sequential(nn.Linear(5, 6), nn.Sigmoid(), nn.Linear(6, 1), nn.Tanh() if fixed else nn.Sigmoid())
    return Program(model, nn.MSELoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.03), explained, batch=32)


@program(
    "http://stackoverflow.com/questions/9048031/neural-network-output-scaling-the-output-range",
    "loss",
    "Sigmoid at the output for targets beyond 1",
    goal=0.4,
    epochs=60,
    named_by="WP401",
)
def sigmoid_output_of_quantities(fixed: bool) -> Program:
    """Three layers of sigmoids that give 0 to 1 for targets far beyond: a regression needs no function at its output."""
    x, y = diabetes()
    layers: list[nn.Module] = [nn.Linear(10, 16), nn.Sigmoid(), nn.Linear(16, 1)]
    if not fixed:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    return Program(
        model,
        nn.MSELoss(),
        standardized(x),
        y.unsqueeze(1) / 100,
        torch.optim.Adam(model.parameters(), lr=0.01),
        explained,
    )


@program(
    "https://github.com/LuEE-C/PPO-Keras/issues/13",
    "loss",
    "tanh at the output of a critic of returns beyond 1",
    goal=0.8,
    epochs=30,
    named_by="WP401",
)
def tanh_critic(fixed: bool) -> Program:
    """The critic's tanh "limits the output range between -1 and 1", yet it learns sums of discounted rewards, which "easily exceed 1"."""
    chance = source_of_chance()
    x = torch.randn(1000, 8, generator=chance)
    y = 3 + 2 * x[:, :1] - 1.5 * x[:, 1:2].abs()
    layers: list[nn.Module] = [nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)]
    if not fixed:
        layers.append(nn.Tanh())
    model = nn.Sequential(*layers)
    return Program(model, nn.MSELoss(), x, y, torch.optim.Adam(model.parameters(), lr=1e-3), explained)


class LastState(nn.Module):
    """A recurrent layer, and a linear one on its last output."""

    def __init__(self, recurrent: nn.RNNBase, hidden: int, outputs: int) -> None:
        super().__init__()
        self.recurrent, self.out = recurrent, nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.recurrent(x)[0][:, -1])


@program(
    "https://github.com/ProteomicsML/ProteomicsML/pull/203",
    "loss",
    "ReLU after the last layer of a regression",
    goal=0.8,
    epochs=20,
    named_by="WP401",
)
def relu_output_of_an_lstm(fixed: bool) -> Program:
    """An LSTM on peptides that gave constantly 0: where the last layer is negative, its ReLU lets no gradient back.

    (Nor can it give the negative half of these standardised targets.)
    """
    letters = sentences(600, 10, 12)
    y = standardized(torch.randn(12, generator=source_of_chance(1))[letters].sum(1, keepdim=True))
    layers: list[nn.Module] = [LastState(nn.LSTM(12, 32, batch_first=True), 32, 1)]
    if not fixed:
        layers.append(nn.ReLU())
    model = nn.Sequential(*layers)
    x = F.one_hot(letters).float()
    return Program(model, nn.MSELoss(), x, y, torch.optim.Adam(model.parameters(), lr=5e-3), explained)


# Rows of the batch that get mixed.


@program(
    "https://github.com/yunjey/pytorch-tutorial/issues/196",
    "loss",
    "batch_first=False: the LSTM runs along the batch",
    goal=0.9,
    epochs=12,
    named_by="WP404",
)
def lstm_along_the_batch(fixed: bool) -> Program:
    """LSTM that reads the rows of digits, changed to batch_first=False: "loss (about 2) and accuracy (about 11.35%) is not good"."""
    x, y = digit_rows()
    model = LastState(nn.LSTM(8, 64, batch_first=fixed), 64, 10)
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.01), accuracy, batch=100
    )


class VideoNet(nn.Module):
    """A CNN for each frame, an LSTM over the frames, and a linear layer on its last output."""

    def __init__(self, classes: int, batch_first: bool) -> None:
        super().__init__()
        self.frame = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 32), nn.ReLU()
        )
        self.lstm = nn.LSTM(32, 32, batch_first=batch_first)
        self.out = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = self.frame(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.out(self.lstm(frames)[0][:, -1])


def videos(n: int = 400, length: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """A spot that goes right, left, down or up, (n, length, 1, 8, 8), and which way."""
    chance = source_of_chance()
    way = torch.randint(4, (n,), generator=chance)
    start = torch.randint(8, (n, 2), generator=chance)
    steps = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])[way]
    x = torch.zeros(n, length, 1, 8, 8)
    for time in range(length):
        spot = (start + time * steps) % 8
        x[torch.arange(n), time, 0, spot[:, 0], spot[:, 1]] = 4.0
    return x, way


@program(
    "https://github.com/HHTseng/video-classification/issues/42",
    "loss",
    "The LSTM over the frames of a CNN runs along the batch",
    goal=0.9,
    epochs=15,
    named_by="WP404",
)
def video_lstm_along_the_batch(fixed: bool) -> Program:
    """CNN and LSTM for videos: it "has dim=0 as batch dimension", PyTorch has "those two dimensions reversed"; it missed what moves."""
    x, y = videos()
    model = VideoNet(4, batch_first=fixed)
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=3e-3), accuracy, batch=40
    )


class TwoWays(nn.Module):
    """The last states of both directions of a GRU, side by side."""

    def __init__(self, words: int, classes: int, transpose: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 24)
        self.gru = nn.GRU(24, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, classes)
        self.transpose = transpose

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.gru(self.words(x))[1]
        if self.transpose:
            hidden = hidden.transpose(0, 1)
        return self.out(hidden.reshape(len(x), 64))


@program(
    "https://github.com/timbmg/Sentence-VAE/issues/15",
    "loss",
    "view of the states [2, n, h] as [n, 2 h] mixes the rows",
    goal=0.9,
    epochs=15,
    named_by="WP404 WP408",
)
def states_of_other_rows(fixed: bool) -> Program:
    """Bidirectional encoder of sentences: batch is the second dimension of its hidden states, whatever batch_first is."""
    x = sentences(600, 6, 30)
    y = x[:, :2].sum(1) % 3
    model = TwoWays(30, 3, transpose=fixed)
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=5e-3), accuracy, batch=32
    )


# Parameters the optimizer does not have.


class PhraseNet(nn.Module):
    """One feature for each width of convolution over word vectors, the greatest over the sentence."""

    def __init__(self, size: int, classes: int, module_list: bool) -> None:
        super().__init__()
        convolutions = [nn.Conv1d(size, 1, width) for width in (3, 4, 5)]
        self.convolutions = nn.ModuleList(convolutions) if module_list else convolutions
        self.out = nn.Linear(3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([convolution(x).amax(2) for convolution in self.convolutions], 1))


@program(
    "https://github.com/pytorch/pytorch/issues/1053",
    "gradient",
    "Convolutions in a Python list are not registered",
    goal=0.9,
    epochs=30,
    named_by="WP403",
)
def convolutions_in_a_list(fixed: bool) -> Program:
    """Conv1d of widths 3, 4 and 5 over word vectors, in a list, "are not auto registered as parameters"; "Use nn.ModuleList"."""
    chance = source_of_chance()
    vectors = torch.randn(30, 16, generator=chance)
    words = torch.randint(30, (800, 12), generator=chance)
    y = torch.randint(2, (800,), generator=chance)
    words[y == 1, 4:7] = torch.tensor([3, 7, 11])
    model = PhraseNet(16, 2, module_list=fixed)
    x = vectors[words].transpose(1, 2)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=1e-2), accuracy)


class HiddenStack(nn.Module):
    def __init__(self, depth: int, width: int, module_list: bool) -> None:
        super().__init__()
        hidden = [nn.Sequential(nn.Linear(64 if i == 0 else width, width), nn.ReLU()) for i in range(depth)]
        self.hidden = nn.ModuleList(hidden) if module_list else hidden
        self.classifier = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            x = layer(x)
        return self.classifier(x)


@program(
    "https://github.com/pytorch/pytorch/issues/715",
    "gradient",
    "Hidden layers in a Python list are not registered",
    goal=0.9,
    epochs=20,
    named_by="WP403",
)
def hidden_layers_in_a_list(fixed: bool) -> Program:
    """Layers made in a loop and kept in a list are not among parameters(), only the classifier is; "wrap them in nn.ModuleList"."""
    x, y = digits()
    model = HiddenStack(4, 32, module_list=fixed)
    return Program(model, nn.CrossEntropyLoss(), x * 2 - 1, y, torch.optim.Adam(model.parameters(), lr=3e-3), accuracy)


class LetterRNN(nn.Module):
    """Input and hidden state side by side give the next state and the output."""

    def __init__(self, letters: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.to_hidden = nn.Linear(letters + hidden, hidden)
        self.to_output = nn.Linear(letters + hidden, classes)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x.new_zeros(len(x), self.to_hidden.out_features)
        for letter in x.unbind(1):
            both = torch.cat([letter, hidden], 1)
            hidden = self.to_hidden(both)
        return self.softmax(self.to_output(both))


@program(
    "https://github.com/spro/practical-pytorch/issues/9",
    "gradient",
    "The optimizer has the parameters of an earlier instance of the model",
    goal=0.8,
    epochs=20,
    named_by="WP403",
)
def optimizer_of_an_earlier_model(fixed: bool) -> Program:
    """RNN on the letters of names whose loss stayed high: "I have the model instantiated twice"; the optimizer goes below the second."""
    chance = source_of_chance()
    y = torch.randint(4, (1000,), generator=chance)
    odds = torch.rand(4, 26, generator=chance) ** 3
    letters = torch.multinomial(odds[y], 6, replacement=True, generator=chance)
    model = LetterRNN(26, 64, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if not fixed:
        model = LetterRNN(26, 64, 4)
    return Program(model, nn.NLLLoss(), F.one_hot(letters, 26).float(), y, optimizer, accuracy, batch=16)


@program(
    "https://github.com/microsoft/nni/issues/4521",
    "gradient",
    "Layers are replaced after the optimizer was made",
    goal=0.9,
    epochs=8,
    named_by="WP403",
)
def optimizer_before_pruning(fixed: bool) -> Program:
    """Pruning puts smaller layers in place of the old: "the parameters registered in the optimizer are outdated", make a new one."""
    x, y = digit_images()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model[0], model[4], model[6] = nn.Conv2d(1, 16, 3), nn.Linear(144, 32), nn.Linear(32, 10)
    if fixed:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Program(model, nn.CrossEntropyLoss(), x, y, optimizer, accuracy)


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        return self.decoder(code), mean, log_variance


def evidence(outputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    made, mean, log_variance = outputs
    unlike = F.binary_cross_entropy(made, targets, reduction="sum")
    return (unlike - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()) / len(targets)


@program(
    "https://github.com/zdebruine/MMVAE/issues/39",
    "gradient",
    "The optimizer has the encoder of the VAE only",
    goal=0.4,
    epochs=15,
    named_by="WP403",
)
def optimizer_of_the_encoder(fixed: bool) -> Program:
    """VAE whose optimizer "is only being given the parameters of the encoder portion and not both the encoder & decoder"."""
    x, _ = digits()
    model = VAE()
    optimizer = torch.optim.Adam((model if fixed else model.encoder).parameters(), lr=3e-3)
    return Program(model, evidence, x, x, optimizer, lambda outputs, targets: explained(outputs[0], targets))


# Settings of the optimizer.


@program(
    "https://github.com/OpenNMT/OpenNMT-py/issues/805",
    "exploding",
    "Learning rate of Adam 1, meant for SGD",
    goal=0.9,
    epochs=20,
    named_by="WP402",
)
def adam_at_the_rate_of_sgd(fixed: bool) -> Program:
    """LSTM for translation whose perplexity stayed high with Adam: its rate must be set to 0.001, the default of 1 is for SGD."""
    x, y = tagged(words=30, length=6)
    model = Tagger(30, 4)
    return Program(
        model,
        tagging_loss,
        x,
        y,
        torch.optim.Adam(model.parameters(), lr=1e-3 if fixed else 1.0),
        tagging_accuracy,
        batch=16,
    )


class LanguageModel(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.words, self.drop = nn.Embedding(words, 48), nn.Dropout(0.1)
        self.gru, self.out = nn.GRU(48, 48, 2, batch_first=True), nn.Linear(48, words)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(self.gru(self.drop(self.words(x)))[0]))


@program(
    "https://github.com/rajveermalviya/language-modeling/issues/3",
    "exploding",
    "Learning rate of Adam 1.0 in a language model",
    goal=0.8,
    epochs=20,
    named_by="WP402",
)
def language_model_at_a_high_rate(fixed: bool) -> Program:
    """Language model whose loss "didn't really went down even after many epochs" at a rate of 1.0; with 0.001 it got "much better"."""
    follows = torch.randperm(20, generator=source_of_chance(1))
    jumps = torch.rand(240, 6, generator=source_of_chance()) < 0.1
    words = [torch.randint(20, (240,), generator=source_of_chance(2))]
    for jump in jumps.unbind(1):
        words.append(torch.where(jump, (words[-1] + 7) % 20, follows[words[-1]]))
    text = torch.stack(words, 1)
    model = LanguageModel(20)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if fixed else 1.0)
    return Program(model, tagging_loss, text[:, :-1], text[:, 1:], optimizer, tagging_accuracy, batch=16)


@program(
    "https://github.com/BVLC/caffe/issues/1396",
    "vanishing",
    "Weight decay of 0.5",
    goal=0.7,
    epochs=30,
    named_by="WP402",
)
def weight_decay_of_a_half(fixed: bool) -> Program:
    """CNN for coordinates, the same for any input: if weight_decay is large, like 0.5, all the weights end at zero; 0.0005 is normal."""
    chance = source_of_chance()
    spot = torch.randint(1, 11, (500, 2), generator=chance)
    x = 0.1 * torch.randn(500, 1, 12, 12, generator=chance)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            x[torch.arange(500), 0, spot[:, 0] + row, spot[:, 1] + column] += 1
    y = (spot.float() - 5.5) / 3
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(576, 64),
        nn.ReLU(),
        nn.Linear(64, 2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005 if fixed else 0.5)
    return Program(model, nn.MSELoss(), x, y, optimizer, explained)


@program(
    "https://github.com/tegg89/SRCNN-Tensorflow/issues/24",
    "vanishing",
    "Learning rate far too small",
    goal=0.6,
    epochs=20,
    named_by="WP402",
)
def sharpening_at_a_low_rate(fixed: bool) -> Program:
    """SRCNN by gradient descent at 1e-4, whose "loss drop limit during training"; "use bigger learning rate"."""
    chance = source_of_chance()
    sharp = F.interpolate(torch.randn(200, 1, 6, 6, generator=chance), size=(12, 12), mode="nearest")
    x = F.avg_pool2d(F.pad(sharp, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2)
    )
    return Program(
        model,
        nn.MSELoss(),
        x,
        sharp,
        torch.optim.SGD(model.parameters(), lr=0.1 if fixed else 1e-4),
        explained,
        batch=32,
    )
