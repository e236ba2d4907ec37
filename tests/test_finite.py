"""WP207: the first operation that made NaN or infinity, forward or backward, with its cause."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wellposed as wp

RULE = "WP207"


class Between(nn.Module):
    """Two layers and something between them."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.middle = nn.Linear(4, 6), nn.Linear(6, 3), middle

    def forward(self, x):
        return self.second(self.middle(torch.tanh(self.first(x))))


class Named(nn.Module):
    def forward(self, h):
        return torch.log(F.relu(h))


def torch_problem(middle):
    random = torch.Generator().manual_seed(0)
    return wp.TorchProblem(
        Between(middle), nn.CrossEntropyLoss(), (torch.randn(8, 4, generator=random), torch.arange(8) % 3)
    )


def of(problem):
    (finding,) = [finding for finding in wp.check_signals(problem).findings if finding.rule == RULE]
    return finding


TORCH = {
    "logarithm of 0": (lambda h: torch.log(F.relu(h)), "log", "log-of-zero", "forward"),
    "logarithm of a negative": (lambda h: torch.log(h), "log", "log-of-negative", "forward"),
    "log1p": (lambda h: torch.log1p(h - 3), "log1p", "log-of-negative", "forward"),
    "x / 0": (lambda h: h / F.relu(h), "div", "division-by-zero", "forward"),
    "0 / 0": (lambda h: (h - h) / (h - h), "div", "division-by-zero", "forward"),
    "reciprocal": (lambda h: torch.reciprocal(F.relu(h)), "reciprocal", "division-by-zero", "forward"),
    "rsqrt": (lambda h: h * torch.rsqrt(F.relu(h)), "rsqrt", "division-by-zero", "forward"),
    "exp": (lambda h: torch.exp(1000 * h), "exp", "overflow", "forward"),
    "softmax by hand": (
        lambda h: torch.exp(999 * h) / torch.exp(999 * h).sum(-1, keepdim=True),
        "exp",
        "overflow",
        "forward",
    ),
    "expm1": (lambda h: torch.expm1(1000 * h), "expm1", "overflow", "forward"),
    "float16": (lambda h: (h.half() * 60000 * 4).float(), "mul", "overflow", "forward"),
    "float16 product": (
        lambda h: (300 * h.half() @ (300 * h.half().T) @ h.half()).float(),
        "mm",
        "overflow",
        "forward",
    ),
    "square": (lambda h: (1e30 * h) ** 2, "pow", "overflow", "forward"),
    "root of a negative": (lambda h: torch.sqrt(h), "sqrt", "root-of-negative", "forward"),
    "fractional power": (lambda h: h**0.5, "pow", "root-of-negative", "forward"),
    "masked row": (
        lambda h: F.softmax(h.masked_fill(torch.ones_like(h, dtype=torch.bool), -torch.inf), -1),
        "softmax",
        "masked-row",
        "forward",
    ),
    "masked row, added": (
        lambda h: F.log_softmax(h + torch.full_like(h, -torch.inf), -1),
        "log_softmax",
        "masked-row",
        "forward",
    ),
    "arccosine beyond 1": (lambda h: torch.acos(2 + h), "acos", "out-of-domain", "forward"),
    "deviation of one": (lambda h: h / h[:1].var(0), "var", "one-value", "forward"),
    "root at 0": (lambda h: torch.where(h > 0, h, torch.sqrt(0 * h)), "SqrtBackward", "root-at-zero", "backward"),
    "norm at 0": (
        lambda h: h + (h - h.detach()).pow(2).sum(-1, keepdim=True).sqrt(),
        "SqrtBackward",
        "root-at-zero",
        "backward",
    ),
    "arccosine at 1": (lambda h: torch.acos(1 + 0 * h), "AcosBackward", "out-of-domain", "backward"),
    "logarithm behind where": (
        lambda h: torch.where(h.abs() >= 0, h, torch.log(0 * h.abs())),
        "LogBackward",
        "log-of-zero",
        "backward",
    ),
    "power at 0": (lambda h: h + (0 * h).pow(0.5), "PowBackward", "root-at-zero", "backward"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TORCH)
def test_torch(name):
    middle, operation, cause, way = TORCH[name]
    finding = of(torch_problem(middle))
    assert finding.verdict is wp.Verdict.FAILS
    assert f"In the {way} pass `{operation}" in finding.message
    assert finding.cause == cause


FINE = {
    "a mask of minus infinity": lambda h: F.softmax(h.masked_fill(torch.arange(6) > 3, -torch.inf), -1),
    "attention": lambda h: F.scaled_dot_product_attention(h[None, None], h[None, None], h[None, None], is_causal=True)[
        0, 0
    ],
    "infinity that where leaves out": lambda h: torch.where(h > 0, h, torch.log(F.relu(h)).detach().clamp_min(-9)),
    "infinity that is clamped": lambda h: torch.log(F.relu(h).detach()).clamp(-5, 5) + h,
    "max with minus infinity": lambda h: torch.maximum(h, torch.full_like(h, -torch.inf)),
}


@pytest.mark.parametrize("name", FINE)
def test_infinity_on_purpose_is_no_fault(name):
    assert of(torch_problem(FINE[name])).verdict is wp.Verdict.HOLDS


def test_module_line_and_range_are_named():
    finding = of(torch_problem(Named()))
    assert finding.where == "middle"
    assert "`log` in `middle` is the first to make infinity (line " in finding.message
    assert "`return torch.log(F.relu(h))`" in finding.message
    assert "The logarithm of 0. Its input runs from 0 to 0." in finding.message
    assert [evidence.quantity for evidence in finding.evidence] == [
        "smallest number that went in",
        "largest number that went in",
    ]


JAX = {
    "logarithm of 0": (lambda h: jnp.log(jax.nn.relu(h)), "log", "log-of-zero", "forward"),
    "x / 0": (lambda h: h / jax.nn.relu(h), "div", "division-by-zero", "forward"),
    "exp": (lambda h: jnp.exp(1000 * h), "exp", "overflow", "forward"),
    "masked row": (lambda h: jax.nn.softmax(jnp.where(h < 99, -jnp.inf, h)), "sub", "masked-row", "forward"),
    "root at 0": (lambda h: jnp.where(h > 0, h, jnp.sqrt(0 * h)), "sqrt", "root-at-zero", "backward"),
    "norm at 0": (lambda h: h + jnp.linalg.norm(0 * h, axis=1, keepdims=True), "sqrt", "root-at-zero", "backward"),
}


def jax_problem(middle):
    random = np.random.default_rng(0)
    X, W = random.standard_normal((8, 4)).astype("f4"), random.standard_normal((4, 3)).astype("f4")
    return wp.JaxProblem(lambda p, x: jnp.mean(middle(x @ p["W"]) ** 2), {"W": W}, X)


@pytest.mark.parametrize("name", JAX)
def test_jax(name):
    middle, operation, cause, way = JAX[name]
    finding = of(jax_problem(middle))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, cause)
    assert f"In the {way} pass `{operation}` is the first" in finding.message


def test_jax_masks_are_no_fault():
    random = np.random.default_rng(0)
    X, W = random.standard_normal((8, 4)).astype("f4"), random.standard_normal((4, 3)).astype("f4")
    problem = wp.JaxProblem(
        lambda p, x: jax.nn.softmax(jnp.where(jnp.arange(3) > 1, -jnp.inf, x @ p["W"])).var(), {"W": W}, X
    )
    assert of(problem).verdict is wp.Verdict.HOLDS


@pytest.mark.filterwarnings("ignore")
def test_numpy_names_the_line_by_its_own_errors():
    params = {"w": np.array([1.0, 0.0, -2.0])}
    forward = of(wp.FunctionProblem(lambda p: np.log(np.abs(p["w"])).sum(), lambda p: {"w": 1 / p["w"]}, params))
    assert forward.cause == "log-of-zero"
    backward = of(
        wp.FunctionProblem(
            lambda p: np.sqrt(np.abs(p["w"])).sum(), lambda p: {"w": 0.5 / np.sqrt(np.abs(p["w"]))}, params
        )
    )
    assert backward.cause == "division-by-zero"
    assert "In the backward pass `divide by zero encountered in divide` in `w`" in backward.message
    assert "line " in backward.message


def test_a_softmax_over_the_heads_of_a_masked_attention_is_a_masked_row():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.qk, self.out = nn.Linear(6, 8), nn.Linear(6, 3)

        def forward(self, x):
            q = self.qk(x).unflatten(-1, (2, 4)).transpose(1, 2)
            scores = q @ q.transpose(-1, -2) / 2
            scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
            return self.out(scores.softmax(1).mean(1) @ x).mean(1)

    problem = wp.TorchProblem(Attending(), nn.CrossEntropyLoss(), (torch.randn(8, 5, 6), torch.randint(3, (8,))))
    found = next(one for one in wp.checkup(problem).findings if one.rule == "WP207")
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "masked-row")
    assert not [one for one in wp.checkup(problem).findings if one.rule == "WP205" and one.found]
