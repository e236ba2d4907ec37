"""WP401 to WP404: losses that do not fit, learning rates, parameters out of reach, outputs of other inputs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam

import wellposed as wp
from networks import HEALTHY, batch, mlp
from test_signals_rules import verdict

torch.manual_seed(0)  # for what is built while tests are collected
FAILS, SUSPECT, HOLDS, UNDECIDED = wp.Verdict.FAILS, wp.Verdict.SUSPECT, wp.Verdict.HOLDS, wp.Verdict.UNDECIDED
NOT_APPLICABLE = wp.Verdict.NOT_APPLICABLE


def inputs(rows=64):
    return torch.randn(rows, 10)


def network(*end, out=4):
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, out), *end)


def classes(rows=64):
    return torch.randint(4, (rows,))


def yes_or_no(rows=64):
    return torch.randint(2, (rows, 1)).float()


def judged(rule, model, loss, targets, x=None, **options):
    return verdict(
        wp.check_objective(wp.TorchProblem(model, loss, (inputs() if x is None else x, targets), **options)), rule
    )


# --- WP401 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "loss", "targets"),
    [
        (network(), nn.CrossEntropyLoss(), classes()),
        (network(nn.LogSoftmax(1)), nn.NLLLoss(), classes()),
        (network(nn.LogSoftmax(1)), nn.CrossEntropyLoss(), classes()),  # the logarithm of a softmax is its own softmax
        (network(), nn.CrossEntropyLoss(), F.one_hot(classes(), 4).float()),
        (network(out=1), nn.BCEWithLogitsLoss(), yes_or_no()),
        (network(nn.Sigmoid(), out=1), nn.BCELoss(), yes_or_no()),
        (network(out=1), nn.MSELoss(), torch.randn(64, 1)),
        (network(nn.Tanh(), out=1), nn.MSELoss(), torch.rand(64, 1)),
        (network(nn.ReLU(), out=1), nn.L1Loss(), torch.rand(64, 1)),
        (network(), lambda out, y: F.cross_entropy(out[:, :4], y), classes()),
    ],
)
def test_losses_that_fit_hold(model, loss, targets):
    assert judged("WP401", model, loss, targets).verdict is HOLDS


@pytest.mark.parametrize(
    ("model", "loss", "targets", "cause", "words"),
    [
        (network(nn.Softmax(1)), nn.CrossEntropyLoss(), classes(), "double-softmax", "the loss can never fall below 0.744"),
        (network(nn.Softmax(0)), nn.CrossEntropyLoss(), classes(), "wrong-softmax-axis", "columns sum to 1, and rows do not"),
        (network(nn.Tanh()), nn.CrossEntropyLoss(), classes(), "bounded-scores", "scores between -1 and 1, of tanh"),
        (network(nn.ReLU()), nn.CrossEntropyLoss(), classes(), "rectified-scores", "it cuts off the score of their own class"),
        (network(), nn.NLLLoss(), classes(), "missing-log-softmax", "no logarithms of probabilities"),
        (network(nn.Softmax(1)), nn.NLLLoss(), classes(), "missing-log-softmax", "what it gets are probabilities"),
        (
            network(nn.Softmax(1)),
            nn.KLDivLoss(reduction="batchmean"),
            torch.randn(64, 4).log_softmax(1),
            "argument-order",
            "it gets probabilities first and logarithms second",
        ),
        (network(nn.Softmax(1), out=1), nn.BCELoss(), yes_or_no(), "one-unit-softmax", "every output is 1 whatever the inputs are"),
        (network(out=1), nn.CrossEntropyLoss(), torch.zeros(64).long(), "one-unit-softmax", "a single score per example"),
        (network(out=1), nn.BCELoss(), yes_or_no(), "missing-sigmoid", "takes probabilities, and the outputs go from"),
        (network(nn.Sigmoid(), out=1), nn.BCEWithLogitsLoss(), yes_or_no(), "double-sigmoid", "the loss can never fall below 0."),
        (network(out=1), nn.BCEWithLogitsLoss(), 2 * yes_or_no() - 1, "target-range", "go from -1 to 1: the loss has no lower bound"),
        (network(out=1), nn.MSELoss(), torch.randn(64), "broadcast", "They are broadcast to [64, 64]"),
        (network(out=1), lambda out, y: ((out - y) ** 2).mean(), torch.randn(64), "broadcast", "every output is held against every target"),
        (network(out=1), nn.BCEWithLogitsLoss(), yes_or_no()[:, 0], "shapes", "takes one target per score"),
        (network(), nn.CrossEntropyLoss(), classes() + 1, "class-range", "They seem to be counted from 1."),
        (network(), nn.CrossEntropyLoss(), F.one_hot(classes(), 4), "one-hot", "takes class indices, and got rows of whole numbers"),
        (network(), nn.CrossEntropyLoss(), classes().float(), "target-dtype", "takes class indices, and the targets are real numbers"),
        (network(nn.ReLU(), out=1), nn.MSELoss(), torch.randn(64, 1), "target-range", "lie beyond what relu can reach (0 to inf)"),
        (network(), nn.CrossEntropyLoss(), classes(63), "lengths", "Outputs have shape [64, 4], targets [63] of int64"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_losses_that_do_not_fit_fail_with_their_cause(model, loss, targets, cause, words):
    found = judged("WP401", model, loss, targets)
    assert (found.verdict, found.cause, found.where) == (FAILS, cause, "loss")
    assert words in found.message


def test_squared_error_on_classes_is_suspect():
    assert judged("WP401", network(nn.Sigmoid(), out=1), nn.MSELoss(), yes_or_no()).verdict is SUSPECT


def test_a_loss_that_raises_elsewhere_is_the_users_error():
    with pytest.raises(ZeroDivisionError):
        judged("WP401", network(), lambda out, y: 1 / 0, classes())


def test_an_unknown_loss_is_not_judged():
    found = judged("WP401", network(), lambda out, y: out.square().mean(), classes())
    assert (found.verdict, found.message) == (NOT_APPLICABLE, "No known loss function was called.")


# --- WP402 ---------------------------------------------------------------------------------------


def stepped(optimizer, rate, dtype=torch.float32, **options):
    model = network().to(dtype)
    return judged(
        "WP402",
        model,
        nn.CrossEntropyLoss(),
        classes(),
        inputs().to(dtype),
        optimizer=optimizer(model.parameters(), lr=rate, **options),
    )


@pytest.mark.parametrize(
    ("optimizer", "rate"), [(SGD, 0.1), (SGD, 1e-3), (Adam, 1e-3), (Adam, 1e-2), (torch.optim.AdamW, 1e-4)]
)
def test_usual_learning_rates_hold(optimizer, rate):
    assert stepped(optimizer, rate).verdict is HOLDS


def test_too_large_a_rate_fails_with_the_curvature_and_a_rate_that_works():
    found = stepped(SGD, 300.0)
    assert (found.verdict, found.cause) == (FAILS, "too-large")
    evidence = {entry.quantity: entry.value for entry in found.evidence}
    assert evidence["learning rate times the largest eigenvalue of the Hessian"] > 2
    assert found.remedies[0].code.startswith("lr=")


def test_an_overshoot_at_first_is_suspect():
    assert stepped(Adam, 1.0).verdict in (SUSPECT, FAILS)


def test_a_rate_that_rounding_swallows_fails_and_a_tiny_one_is_suspect():
    found = stepped(SGD, 1e-9)
    assert (found.verdict, found.cause) == (FAILS, "rounded-away")
    assert "smaller than the gaps between numbers of float32" in found.message
    assert (stepped(SGD, 1e-6, torch.float64).verdict, stepped(SGD, 1e-6, torch.float64).cause) == (
        SUSPECT,
        "too-small",
    )


def test_maximising_is_suspect():
    assert stepped(SGD, 0.01, maximize=True).cause == "ascent"


def test_the_rate_of_a_schedule_that_starts_at_zero_is_that_of_its_end():
    model = network()
    optimizer = Adam(model.parameters(), lr=1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 100)
    assert optimizer.param_groups[0]["lr"] == 0
    assert judged("WP402", model, nn.CrossEntropyLoss(), classes(), optimizer=optimizer).verdict is HOLDS


def test_without_an_optimizer_nothing_is_judged_and_with_one_it_stays_as_it_was():
    assert judged("WP402", network(), nn.CrossEntropyLoss(), classes()).verdict is NOT_APPLICABLE
    model = network()
    optimizer = Adam(model.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    judged("WP402", model, nn.CrossEntropyLoss(), classes(), optimizer=optimizer)
    assert all(map(torch.equal, before, model.parameters()))
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 1.0


# --- WP403 ---------------------------------------------------------------------------------------


class Listed(nn.Module):
    """Keeps a layer in a plain list."""

    def __init__(self):
        super().__init__()
        self.layers, self.out = [nn.Linear(10, 10)], nn.Linear(10, 4)

    def forward(self, x):
        return self.out(torch.relu(self.layers[0](x)))


class Unused(nn.Module):
    def __init__(self, detached=False):
        super().__init__()
        self.first, self.second, self.detached = nn.Linear(10, 10), nn.Linear(10, 4), detached

    def forward(self, x):
        return self.second(self.first(x).detach() if self.detached else x)


def test_layers_in_a_plain_list_fail_unless_the_optimizer_knows_them():
    found = judged("WP403", Listed(), nn.CrossEntropyLoss(), classes())
    assert (found.verdict, found.cause) == (FAILS, "unregistered")
    model = Listed()
    optimizer = SGD([*model.parameters(), *model.layers[0].parameters()], lr=0.1)
    assert judged("WP403", model, nn.CrossEntropyLoss(), classes(), optimizer=optimizer).verdict is HOLDS


def test_parameters_that_the_optimizer_does_not_know():
    model = network()
    found = judged("WP403", model, nn.CrossEntropyLoss(), classes(), optimizer=SGD(network().parameters(), lr=0.1))
    assert (found.verdict, found.cause) == (FAILS, "not-in-optimizer")
    found = judged("WP403", model, nn.CrossEntropyLoss(), classes(), optimizer=SGD(model[0].parameters(), lr=0.1))
    assert (found.verdict, found.where) == (SUSPECT, "2.weight")
    assert "2 of 4 parameters and not `2.weight`, `2.bias`" in found.message


@pytest.mark.parametrize(("detached", "cause"), [(False, "unused"), (True, "detached")])
def test_layers_that_get_no_gradient_are_suspect(detached, cause):
    found = judged("WP403", Unused(detached), nn.CrossEntropyLoss(), classes())
    assert (found.verdict, found.cause) == (SUSPECT, cause)
    assert "`first.weight`, `first.bias` get no gradient" in found.message


# --- WP404 ---------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.inside, self.out = nn.GRU(10, 16, batch_first=batch_first), nn.Linear(16, 4)

    def forward(self, x):
        return self.out(self.inside(x)[0][:, -1])


class Reshaped(nn.Module):
    """Channels last by a view, which mixes everything up."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(10, 4)

    def forward(self, x):
        return self.out(x.t().reshape(x.shape[0], 10))


def test_a_recurrent_layer_over_the_batch_fails():
    x = torch.randn(64, 7, 10)
    found = judged("WP404", Recurrent(batch_first=False), nn.CrossEntropyLoss(), classes(), x)
    assert (found.verdict, found.cause) == (FAILS, "rows-mixed")
    assert "GRU with batch_first=False runs over the batch" in found.message
    assert judged("WP404", Recurrent(batch_first=True), nn.CrossEntropyLoss(), classes(), x).verdict is HOLDS


def test_rows_mixed_by_a_reshape_are_suspect():
    assert judged("WP404", Reshaped(), nn.CrossEntropyLoss(), classes()).verdict is SUSPECT


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(10, 4)

    def forward(self, x):
        return self.out(torch.ones_like(x))


def test_outputs_that_ignore_the_inputs_fail_and_a_head_of_zeros_does_not():
    found = judged("WP404", Constant(), nn.CrossEntropyLoss(), classes())
    assert (found.verdict, found.cause) == (FAILS, "ignored")
    model = network()
    nn.init.zeros_(model[2].weight)
    assert judged("WP404", model, nn.CrossEntropyLoss(), classes()).verdict is not FAILS


def test_batch_normalisation_does_not_mix_what_it_is_given_in_use():
    model = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    assert judged("WP404", model, nn.CrossEntropyLoss(), classes()).verdict is HOLDS
    assert model.training


class Sampling(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(10, 4)

    def forward(self, x):
        return self.out(x + torch.randn_like(x))


def test_a_model_that_draws_in_use_mixes_nothing():
    assert judged("WP404", Sampling(), nn.CrossEntropyLoss(), classes()).verdict is HOLDS


# --- what a fresh reader broke --------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule", [torch.optim.lr_scheduler.ConstantLR, lambda o, _: torch.optim.lr_scheduler.LinearLR(o)]
)
def test_a_schedule_does_not_make_a_copy_step_the_users_optimizer(schedule):
    model, x, y = nn.Linear(10, 1), inputs(), torch.randn(64, 1)
    optimizer = SGD(model.parameters(), lr=100.0)
    schedule(optimizer, 1.0)
    F.mse_loss(model(x), y).backward()
    before = model.weight.detach().clone()
    found = judged("WP402", model, nn.MSELoss(), y, x, optimizer=optimizer)
    assert (found.verdict, found.cause) == (FAILS, "too-large")
    assert torch.equal(before, model.weight)


@pytest.mark.parametrize(
    "loss",
    [lambda o, t: 1 - (o.argmax(1) == t).float().mean(), lambda o, t: F.mse_loss(o.argmax(1).float(), t.float())],
)
def test_a_loss_without_a_graph_is_detached(loss):
    model = network()
    report = wp.check_objective(wp.TorchProblem(model, loss, (inputs(), classes()), optimizer=Adam(model.parameters())))
    assert (verdict(report, "WP403").verdict, verdict(report, "WP403").cause) == (FAILS, "detached")
    assert verdict(report, "WP402").verdict is UNDECIDED


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.inside, self.out = nn.Embedding(30, 32), nn.LSTM(32, 32), nn.Linear(32, 30)

    def forward(self, ids):
        return self.out(self.inside(self.tokens(ids))[0])


def test_steps_along_the_first_axis_are_no_examples():
    ids = torch.randint(30, (11, 16))
    found = judged(
        "WP404", Sequence(), lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()), ids[1:], ids[:-1]
    )
    assert found.verdict is NOT_APPLICABLE


def masked(out, y):
    kept = (y >= 0).float()
    return (F.binary_cross_entropy_with_logits(out, y, reduction="none") * kept).sum() / kept.sum()


def over_the_image(out, y):
    return F.kl_div(F.log_softmax(out.flatten(1), 1).view(-1, 2, 2), y, reduction="batchmean")


def nearest(out, y):
    return (out.view(64, 2, 1, 2) - y[:, None]).square().sum(-1).min(2).values.mean()


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (masked, torch.randint(-1, 2, (64, 4)).float()),
        (over_the_image, torch.softmax(torch.randn(64, 4), 1).view(64, 2, 2)),
        (nearest, torch.randn(64, 7, 2)),
        (lambda out, y: F.mse_loss(out[:, :1] - out[:, 0], y[:, None] - y[None]), torch.randn(64)),
    ],
    ids=["masked targets", "distributions over an image", "nearest of a set", "differences of pairs"],
)
def test_losses_of_their_own_kind_are_not_blamed(loss, targets):
    assert judged("WP401", network(), loss, targets).verdict in (HOLDS, NOT_APPLICABLE)


def test_what_the_optimizer_does_not_know_is_not_taken_for_rounded_away():
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    assert (
        judged("WP402", model, nn.CrossEntropyLoss(), classes(), optimizer=Adam(model[4].parameters())).verdict is HOLDS
    )


def test_a_learning_rate_of_zero_fails_and_whole_numbers_of_another_size_are_named():
    assert stepped(SGD, 0.0).message == "The learning rate is 0: no step changes anything."
    found = judged("WP401", network(), nn.CrossEntropyLoss(), classes().int())
    assert found.cause == "target-dtype"
    found = judged("WP401", network(nn.Softmax(0)), lambda out, y: F.nll_loss(out.log(), y), classes())
    assert found.cause == "wrong-softmax-axis"


# --- all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_problems_are_silent(name):
    assert not [f for f in wp.check_objective(HEALTHY[name]()).findings if f.verdict in (FAILS, SUSPECT)]


def test_where_the_loss_has_no_value_the_rest_says_so():
    report = wp.checkup(wp.TorchProblem(mlp(), nn.CrossEntropyLoss(), (batch()[0], batch()[1] + 100)))
    failing = [finding for finding in report.findings if finding.verdict is FAILS]
    assert [finding.cause for finding in failing] == ["class-range"]
    assert verdict(report, "WP501").message.startswith("The loss has no value: it raised IndexError: Target")
