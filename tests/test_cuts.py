"""Deliberate stop-gradients hold, with one line; what is wrong beside one fails; what is never meant fails."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import wellposed as wp
from test_signals_rules import verdict
from wellposed.backends.torch.float64_copy import Wide

HOLDS, FAILS = wp.Verdict.HOLDS, wp.Verdict.FAILS


def net(*sizes):
    torch.manual_seed(0)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def draws(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X, Y, NEXT = draws(32, 8), torch.randint(4, (32,), generator=torch.Generator().manual_seed(2)), draws(32, 8, seed=3)


def dqn(model):
    with torch.no_grad():
        target = draws(32, seed=4) + 0.9 * model(NEXT).amax(1)
    return functional.mse_loss(model(X).gather(1, Y[:, None]).squeeze(1), target)


def actor_critic(model):
    logits, value = model(X).split([3, 1], 1)
    advantage = draws(32, seed=5) - value.squeeze(1)
    chosen = functional.log_softmax(logits, 1).gather(1, (Y % 3)[:, None]).squeeze(1)
    return -(chosen * advantage.detach()).mean() + advantage.square().mean()


def reinforce_with_numbers(model):
    outputs = model(X)
    weights = [draws(32, seed=5)[row].item() - outputs[row, 3].item() for row in range(8)]
    chosen = functional.log_softmax(outputs[:, :3], 1)[:, 0]
    return -sum(weight * chosen[row] for row, weight in enumerate(weights)) / 8 + outputs[:, 3].square().mean()


def straight_through(model):
    h = model[0](X)
    return functional.cross_entropy(model[2](h + (h.round() - h).detach()), Y)


def quantised(model):
    h, codes = model[0](X), draws(5, 16, seed=6)
    nearest = codes[torch.cdist(h, codes).argmin(1)]
    return functional.cross_entropy(model[2](h + (nearest - h).detach()), Y) + 0.25 * functional.mse_loss(h, nearest)


def two_views(model):
    one, other = model(X), model(X + 0.1)
    return (
        -functional.cosine_similarity(one, other.detach()).mean()
        - functional.cosine_similarity(other, one.detach()).mean()
    )


def through_data(model):
    h = model[0](X)
    return functional.cross_entropy(model[2](torch.tanh(h) * torch.sigmoid(h.data)), Y)


MEANT = [dqn, actor_critic, reinforce_with_numbers, straight_through, quantised, two_views, through_data]


@pytest.mark.parametrize("loss", MEANT, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("verb", [wp.check_gradients, wp.checkup])
def test_what_is_cut_on_purpose_holds_with_one_line(loss, verb):
    report = verb(wp.TorchProblem(net(8, 16, 4), loss))
    found = verdict(report, "WP501")
    assert report.ok
    assert (found.verdict, found.cause) == (HOLDS, "detached")
    assert found.message.startswith("The gradient leaves out what passes the ")
    assert "test_cuts.py:" in found.message
    assert not [finding for finding in report.findings if finding.found and finding.rule.startswith("WP5")]


class Scaled(torch.autograd.Function):
    """y = 2 x with a backward pass that is 5 % too large."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2.1 * g


@pytest.mark.parametrize("loss", [dqn, actor_critic, two_views], ids=lambda loss: loss.__name__)
def test_an_error_beside_a_cut_is_found(loss):
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net(8, 16, 4)

        def forward(self, x):
            return self.body[2](Scaled.apply(torch.tanh(self.body[0](x))))

    found = next(f for f in wp.check_gradients(wp.TorchProblem(Wrong(), loss)).findings if f.rule == "WP501")
    assert (found.verdict, found.where) == (FAILS, "Scaled.backward")


def number_as_a_term(model):
    return functional.cross_entropy(model(X), Y) + 0.1 * sum(p.square().sum() for p in model.parameters()).item()


def through_numpy(model):
    h = model[0](X)
    return functional.cross_entropy(model[2](torch.tanh(h)), Y) + float(h.detach().numpy().std())


@pytest.mark.parametrize("loss", [number_as_a_term, through_numpy], ids=lambda loss: loss.__name__)
def test_a_term_that_is_a_number_fails(loss):
    report = wp.check_gradients(wp.TorchProblem(net(8, 16, 4), loss))
    found = verdict(report, "WP501")
    assert (found.verdict, found.cause) == (FAILS, "detached")
    assert "A term of the loss is a number without a gradient" in found.message
    assert "test_cuts.py:" in found.message


class Inside(nn.Module):
    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.way = nn.Linear(8, 16), nn.Linear(16, 4), way

    def forward(self, x):
        return self.last(self.way(torch.tanh(self.first(x))))


WAYS = {
    "numpy": lambda h: torch.from_numpy(h.detach().numpy() * 2).to(h.dtype),
    "tolist": lambda h: torch.tensor(h.tolist(), dtype=h.dtype),
    "detach": lambda h: h.detach(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("options", [{}, {"full": True}, {"after_steps": 2}], ids=str)
def test_a_parameter_whose_whole_gradient_is_cut_fails(way, options):
    model = Inside(way)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), (X, Y), optimizer=optimizer), **options)
    cut = [finding for finding in report.findings if finding.verdict is FAILS and finding.cause == "detached"]
    assert {finding.rule for finding in cut} & {"WP403", "WP505"}


@pytest.mark.parametrize(
    "edit",
    [
        lambda y: y.data.clamp_(max=1),
        lambda y: y.detach().mul_(2),
        lambda y: y.detach().numpy().clip(max=1, out=y.detach().numpy()),
    ],
)
def test_an_edit_behind_the_back_of_autograd_is_named(edit):
    def way(h):
        y = h.exp()
        edit(y)
        return y

    report = wp.check_gradients(wp.TorchProblem(Inside(way), nn.CrossEntropyLoss(), (X, Y)))
    found = next(f for f in report.findings if f.rule == "WP501")
    assert found.verdict is FAILS


def test_a_shortened_embedding_holds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 6, max_norm=1.0), nn.Flatten(), nn.Linear(24, 4))
    tokens = torch.randint(20, (32, 4), generator=torch.Generator().manual_seed(7))
    before = model[0].weight.detach().clone()
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), (tokens, Y)))
    assert report.ok
    assert verdict(report, "WP501").verdict is HOLDS
    assert torch.equal(model[0].weight, before)


def test_without_a_cut_there_is_no_line():
    found = verdict(wp.check_gradients(wp.TorchProblem(net(8, 16, 4), nn.CrossEntropyLoss(), (X, Y))), "WP501")
    assert (found.verdict, found.cause) == (HOLDS, "")


def test_stops_in_jax_are_held_too():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    key = jax.random.key(0)
    params = {"w": jax.random.normal(key, (8, 4)) / 3, "v": jax.random.normal(key, (4, 3))}
    x, after = jax.random.normal(key, (32, 8)), jax.random.normal(jax.random.key(1), (32, 8))

    def values(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    def loss(p, wrong=False):
        target = jax.lax.stop_gradient(1.0 + 0.9 * values(p, after).max(1))
        return jnp.mean((values(p, x)[:, 0] - target) ** 2)

    report = wp.check_gradients(wp.JaxProblem(loss, params))
    assert report.ok
    assert (
        verdict(report, "WP501").message
        == "The gradient leaves out what passes the stop_gradient; the rest agrees with the loss."
    )


def test_an_edit_in_place_of_a_trained_weight_is_known_by_its_line():
    class Decayed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x):
            with torch.no_grad():
                self.layer.weight.mul_(0.999)
            return self.layer(x)

    problem = wp.TorchProblem(Decayed(), nn.CrossEntropyLoss(), (X, Y % 3))
    with problem.preserved():
        held = problem.held(problem.theta())
    assert [(cut.what, cut.where.partition(":")[0]) for cut in held.cuts] == [("an edit in place", "test_cuts.py")]


class Softplus(torch.autograd.Function):
    """By NumPy, with a right backward pass."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return torch.from_numpy(np.logaddexp(0, x.detach().numpy()))

    @staticmethod
    def backward(context, g):
        (x,) = context.saved_tensors
        return g * torch.sigmoid(x)


class ByNumPy(nn.Linear):
    def forward(self, x):
        return Softplus.apply(super().forward(x))


@pytest.mark.parametrize("hooked", [0, 2])
def test_what_a_function_does_in_its_forward_pass_is_no_cut(hooked):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), ByNumPy(8, 8), nn.Linear(8, 3))
    model[hooked].weight.register_hook(lambda g: g / 2)
    batch = (torch.randn(32, 8), torch.randint(3, (32,)))
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch))
    found = [finding for finding in report.findings if finding.rule == "WP501" and finding.found]
    assert [(finding.where, finding.cause) for finding in found] == [(f"{hooked}.weight", "scale")]


class Drawing(nn.Module):
    """A network of a mean and a deviation, and what is drawn from them."""

    def __init__(self, draw):
        super().__init__()
        self.body, self.out, self.draw = net(8, 16, 8), nn.Linear(4, 4), draw

    def forward(self, x):
        mean, deviation = self.body(x).chunk(2, -1)
        deviation = functional.softplus(deviation)
        return mean, deviation, self.draw(mean, deviation)


def autoencoded(model):
    mean, deviation, drawn = model(X)
    return functional.mse_loss(model.out(drawn), X[:, :4]) + 0.1 * (mean**2 + deviation**2 - deviation.log()).mean()


def rewarded_by_hand(model):
    mean, deviation, action = model(X)
    score = -(((action - mean) / deviation) ** 2) / 2 - deviation.log()
    rewarded = (score.sum(-1) * (1 - action.detach().square().sum(-1))).mean()
    return functional.mse_loss(model.out(X[:, :4]), X[:, 4:]) - rewarded


def rolled_out(model):
    """The action moves on what it acts upon, beside its score."""
    state, total = X, 0.0
    for _ in range(3):
        mean, deviation = model.body(state).chunk(2, -1)
        policy = torch.distributions.Normal(mean, functional.softplus(deviation))
        action = policy.sample()
        state = torch.cat([state[:, 4:], (state[:, 4:] + 0.1 * action).clamp(-2, 2)], -1)
        total = total - (policy.log_prob(action).sum(-1) * (1 - state.detach().square().sum(-1))).mean()
    return total + functional.mse_loss(model.out(X[:, :4]), X[:, 4:])


def shifted_and_scaled(mean, deviation):
    return mean + deviation * torch.randn_like(mean)


@pytest.mark.parametrize("verb", [wp.check_gradients, wp.checkup])
@pytest.mark.parametrize("draw", [torch.normal, lambda mean, std: torch.distributions.Normal(mean, std).sample()])
def test_a_draw_that_a_decoder_reads_and_no_gradient_passes(draw, verb):
    found = verdict(verb(wp.TorchProblem(Drawing(draw), autoencoded)), "WP504")
    assert (found.verdict, found.cause) == (wp.Verdict.SUSPECT, "sampled")
    assert "test_cuts.py:" in found.message
    if draw is torch.normal:
        assert found.message.endswith("loss alone. mean + std * torch.randn_like(mean) lets it pass.")


@pytest.mark.parametrize(
    ("draw", "loss"),
    [
        (shifted_and_scaled, autoencoded),
        (lambda mean, std: torch.distributions.Normal(mean, std).rsample(), autoencoded),
        (torch.normal, rewarded_by_hand),
        (torch.normal, rolled_out),
        (lambda mean, std: torch.normal(mean, std).detach(), rewarded_by_hand),
        (lambda mean, std: torch.distributions.Normal(mean, std).sample(), rewarded_by_hand),
    ],
)
def test_a_draw_that_lets_it_pass_or_is_scored_is_right(draw, loss):
    report = wp.check_gradients(wp.TorchProblem(Drawing(draw), loss))
    assert not [finding for finding in report.findings if finding.found], str(report)


@pytest.mark.parametrize("shape", [((3, 4), (4,)), ((3, 4), ()), ((), (3, 4)), ((2, 1), (1, 5))])
def test_numbers_drawn_in_float64_are_those_of_float32_without_its_rounding(shape):
    mean, std = torch.randn(shape[0]), torch.rand(shape[1]) + 0.1
    if not shape[0]:
        mean = float(mean)
    if not shape[1]:
        std = float(std)
    torch.manual_seed(1)
    single = torch.normal(mean, std)
    torch.manual_seed(1)
    with Wide():
        double = torch.normal(*(one.double() if isinstance(one, torch.Tensor) else one for one in (mean, std)))
    assert double.dtype is torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-6, atol=1e-7)
