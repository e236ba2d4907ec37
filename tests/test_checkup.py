"""The check-up as a whole: quick and full, at first and after some steps, and the rules that it asks first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed.checks.order import order
from wellposed.findings import Finding, Verdict

FAILS, SUSPECT, HOLDS = Verdict.FAILS, Verdict.SUSPECT, Verdict.HOLDS


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def classes(rows=32, features=10, number=4):
    return torch.randn(rows, features), torch.randint(number, (rows,))


def network(width=32, features=10, number=4):
    return nn.Sequential(
        nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, number)
    )


def found(report, rule):
    return next(finding for finding in report.findings if finding.rule == rule)


class Doubled(torch.autograd.Function):
    """The identity, with twice its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def test_a_quick_look_takes_fewer_evaluations_and_comes_to_the_same():
    counts = np.zeros(2)
    for seed in range(6):
        torch.manual_seed(seed)
        problem = wp.TorchProblem(network(), nn.CrossEntropyLoss(), classes())
        quick, close = wp.checkup(problem, only=lambda rule: rule.startswith("WP5")), wp.check_gradients(problem)
        assert quick.ok
        assert close.ok
        assert quick.evaluations < close.evaluations
        counts += quick.evaluations, close.evaluations
    assert counts[0] < counts[1] / 1.5


@pytest.mark.parametrize("where", [1, 3])
def test_a_quick_look_finds_what_a_close_one_finds(where):
    layers = list(network())

    class Wrong(nn.Module):
        def forward(self, x):
            return Doubled.apply(x)

    layers.insert(where + 1, Wrong())
    problem = wp.TorchProblem(nn.Sequential(*layers), nn.CrossEntropyLoss(), classes())
    assert found(wp.checkup(problem), "WP501").verdict is FAILS


def test_a_large_model_is_checked_on_the_first_rows_and_says_so():
    model = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), classes(16, 1000, 10)))
    assert report.ok
    assert "gradient checked in float64 on the first 4 rows" in " ".join(str(report).split())


def test_a_model_made_for_one_size_of_batch_is_checked_on_all_of_it():
    class Sixteen(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))

        def forward(self, x):
            return self.layers(x.view(16, 1000))

    report = wp.checkup(wp.TorchProblem(Sixteen(), nn.CrossEntropyLoss(), classes(16, 1000, 10)))
    assert report.ok
    assert "rows" not in report.problem.checked_in


def test_nan_that_comes_only_after_some_steps_is_found_there():
    """log(1 - p) of a p that reaches 1 once the network is sure."""

    def loss(outputs, targets):
        p = torch.sigmoid(outputs[:, 0])
        return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()

    x = torch.randn(64, 3)
    model = nn.Linear(3, 1)
    problem = wp.TorchProblem(
        model, loss, (x, (x[:, 0] > 0).float()), optimizer=torch.optim.SGD(model.parameters(), 500.0)
    )
    assert found(wp.checkup(problem), "WP207").verdict is HOLDS
    later = found(wp.checkup(problem, after_steps=20, only=lambda rule: rule == "WP207"), "WP207")
    assert (later.verdict, later.cause) == (FAILS, "log-of-zero")
    assert later.message.startswith("After ")
    # Where something fails at first, what it leads to is not asked for.
    assert found(wp.checkup(problem, after_steps=20), "WP402").verdict is FAILS
    assert found(wp.checkup(problem, after_steps=20), "WP207").verdict is HOLDS


def test_weights_are_as_before_after_a_full_check_up():
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    report = wp.checkup(
        wp.TorchProblem(model, nn.CrossEntropyLoss(), classes(), optimizer=torch.optim.Adam(model.parameters(), 1e-3)),
        full=True,
    )
    assert report.ok
    assert all(torch.equal(parameter, kept) for parameter, kept in zip(model.parameters(), before, strict=True))


# --- rules -------------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, scaled):
        super().__init__()
        self.embedding, self.out = nn.Linear(8, 64), nn.Linear(64, 4)
        self.scale = 8.0 if scaled else 1.0

    def forward(self, x):
        h = nn.functional.layer_norm(self.embedding(x), (64,))
        weights = torch.softmax(h @ h.transpose(1, 2) / self.scale, dim=-1)
        return self.out((weights @ h).mean(1))


def test_attention_that_is_not_scaled_is_saturated():
    batch = torch.randn(16, 12, 8), torch.randint(4, (16,))
    sharp = found(wp.check_signals(wp.TorchProblem(Attention(False), nn.CrossEntropyLoss(), batch)), "WP205")
    assert (sharp.verdict, sharp.cause) == (FAILS, "attention-not-scaled")


def test_attention_from_usual_projections_holds():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.Linear(8, 32), layer, nn.Flatten(), nn.Linear(32 * 12, 4))
    report = wp.check_signals(
        wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(16, 12, 8), torch.randint(4, (16,))))
    )
    assert not found(report, "WP205").found


@pytest.mark.parametrize(("scale", "verdict"), [(1.0, HOLDS), (100.0, SUSPECT), (1e5, FAILS)])
def test_targets_of_another_size_than_outputs(scale, verdict):
    x = torch.randn(64, 10)
    problem = wp.TorchProblem(network(number=1), nn.MSELoss(), (x, scale * x[:, :1]))
    told = found(wp.check_weights(problem), "WP305")
    assert told.verdict is verdict
    assert told.cause == ("" if verdict is HOLDS else "targets-too-large")


def test_the_scale_of_cosines_is_no_failure():
    """Cosines times 64, as in ArcFace: the loss is large at first, and no weight makes it smaller."""

    class Cosines(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.centres = nn.Linear(10, 16), nn.Linear(16, 4, bias=False)

        def forward(self, x):
            f, w = nn.functional.normalize(self.features(x)), nn.functional.normalize(self.centres.weight)
            return 64 * nn.functional.linear(f, w)

    told = found(wp.check_weights(wp.TorchProblem(Cosines(), nn.CrossEntropyLoss(), classes())), "WP305")
    assert told.verdict is not FAILS


def test_weight_decay_that_outweighs_the_gradient_is_suspect():
    def told(decay):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.01, weight_decay=decay)
        return found(
            wp.check_objective(wp.TorchProblem(model, nn.CrossEntropyLoss(), classes(), optimizer=optimizer)), "WP402"
        )

    assert told(5e-4).verdict is HOLDS
    assert (told(2.0).verdict, told(2.0).cause) == (SUSPECT, "decay")


def test_an_optimizer_whose_arithmetic_fails_is_named():
    model = network().half()
    x, y = classes()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model[0].weight.data[0] = 0.0  # a unit without gradient: 0 / (0 + eps), and eps is 0 in float16
    model[0].bias.data[0] = -1.0
    problem = wp.TorchProblem(
        model, lambda out, t: nn.functional.cross_entropy(out.float(), t), (x.half(), y), optimizer=optimizer
    )
    told = found(wp.check_objective(problem), "WP402")
    assert (told.verdict, told.cause) == (FAILS, "not-finite")


def test_class_weights_the_wrong_way_round_are_suspect():
    x, y = torch.randn(100, 10), torch.cat([torch.zeros(80), torch.ones(20)]).long()

    def told(weights):
        return found(
            wp.check_objective(wp.TorchProblem(network(number=2), nn.CrossEntropyLoss(torch.tensor(weights)), (x, y))),
            "WP401",
        )

    assert (told([0.8, 0.2]).verdict, told([0.8, 0.2]).cause) == (SUSPECT, "class-weights")
    assert told([0.2, 0.8]).verdict is HOLDS
    assert told([0.5, 0.5]).verdict is HOLDS


class Hard(nn.Module):
    """An argmax between two parts, or a straight-through estimator of a rounding."""

    def __init__(self, through):
        super().__init__()
        self.first, self.second, self.through = nn.Linear(10, 6), nn.Linear(6, 4), through

    def forward(self, x):
        h = 3 * self.first(x)
        if self.through:
            return self.second(h + (h.round() - h).detach())
        return self.second(nn.functional.one_hot(h.argmax(1), 6).float())


def test_parameters_in_front_of_an_argmax_are_used_and_get_no_gradient():
    report = wp.checkup(wp.TorchProblem(Hard(False), nn.CrossEntropyLoss(), classes()))
    told = found(report, "WP403")
    assert (told.verdict, told.cause, told.where) == (FAILS, "detached", "first.weight")
    assert report.findings[0].rule == "WP403"


def test_a_straight_through_estimator_does_not_fail():
    assert wp.checkup(wp.TorchProblem(Hard(True), nn.CrossEntropyLoss(), classes())).ok


def test_a_target_that_is_held_in_the_loss_holds_with_one_line():
    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets) + (outputs - outputs.detach().roll(1, 0)).square().mean()

    report = wp.checkup(wp.TorchProblem(network(), loss, classes()))
    told = found(report, "WP501")
    assert (told.verdict, told.cause) == (HOLDS, "detached")
    assert "leaves out what passes the detach() at test_checkup.py:" in told.message
    assert told.message.endswith("; the rest agrees with the loss.")
    assert "leaves out" in str(report)


def test_findings_that_may_follow_from_each_other_are_ordered_all_the_same():
    """WP201 with the cause detached may follow from WP505, and WP505 from WP201."""
    told = [Finding("WP201", FAILS, "", cause="detached"), Finding("WP505", FAILS, "", cause="unused")]
    assert [(finding.rule, finding.follows) for finding in order(told)] == [("WP201", ""), ("WP505", "")]


# --- what looks odd and is meant ---------------------------------------------------------------


def verdicts(report, rule):
    return {finding.verdict for finding in report.findings if finding.rule == rule and finding.found}


def test_the_step_of_a_critic_does_not_fail_for_the_generator_that_it_holds():
    generator, critic = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    real, z = torch.randn(32, 8), torch.randn(32, 4)
    judge = nn.functional.binary_cross_entropy_with_logits

    def loss(critic):
        return judge(critic(real), torch.ones(32, 1)) + judge(critic(generator(z).detach()), torch.zeros(32, 1))

    assert wp.checkup(wp.TorchProblem(critic, loss)).ok


def test_the_step_of_a_generator_leaves_the_critic_to_its_own_optimizer():
    generator, critic = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    z = torch.randn(32, 4)
    optimizer = torch.optim.Adam(generator.parameters(), 1e-3)
    problem = wp.TorchProblem(
        generator,
        lambda g: nn.functional.binary_cross_entropy_with_logits(critic(g(z)), torch.ones(32, 1)),
        optimizer=optimizer,
    )
    assert not found(wp.check_objective(problem), "WP403").found


def test_hard_gumbel_softmax_does_not_fail():
    class Choice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(10, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.second(nn.functional.gumbel_softmax(self.first(x), hard=True))

    report = wp.checkup(wp.TorchProblem(Choice(), nn.CrossEntropyLoss(), classes()))
    assert FAILS not in verdicts(report, "WP501")


class Round(torch.autograd.Function):
    """A rounding, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


def test_a_straight_through_function_is_suspect_at_most():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(10, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.second(Round.apply(4 * self.first(x)) / 4)

    report = wp.check_gradients(wp.TorchProblem(Quantised(), nn.CrossEntropyLoss(), classes()))
    assert FAILS not in verdicts(report, "WP501")


def test_a_teacher_under_no_grad_that_no_optimizer_knows_is_suspect_at_most():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = network(), network()

        def forward(self, x):
            with torch.no_grad():
                aim = self.teacher(x)
            return self.student(x), aim

    model = Pair()
    optimizer = torch.optim.Adam(model.student.parameters(), 1e-3)
    x, _ = classes()
    problem = wp.TorchProblem(model, lambda out, _: (out[0] - out[1]).square().mean(), (x, x), optimizer=optimizer)
    assert FAILS not in verdicts(wp.checkup(problem), "WP505")


def test_inputs_to_differentiate_by_are_nobody_s_parameters():
    critic = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    x, _ = classes()

    def penalised(critic):
        at = x.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
        return critic(x).mean() + (slope.norm(dim=1) - 1).square().mean()

    assert "out-of-reach" not in {finding.cause for finding in wp.checkup(wp.TorchProblem(critic, penalised)).findings}


def test_low_rank_adapters_start_slowly_by_design():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(10, 4).requires_grad_(False)
            self.down, self.up = nn.Linear(10, 2, bias=False), nn.Linear(2, 4, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x):
            return self.base(x) + self.up(self.down(x))

    model = Adapted()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 2e-4)
    assert not found(
        wp.check_objective(wp.TorchProblem(model, nn.CrossEntropyLoss(), classes(), optimizer=optimizer)), "WP402"
    ).found


# --- sizes and data of every kind --------------------------------------------------------------


def test_gradients_that_vanish_beyond_float64_are_told_and_do_not_crash():
    layers = [part for _ in range(250) for part in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(8, 3)).double()
    x, y = torch.randn(16, 8).double(), torch.randint(3, (16,))
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y)))
    assert found(report, "WP201").verdict is FAILS


def test_a_gradient_that_underflows_is_not_called_cut():
    layers = [part for _ in range(150) for part in (nn.Linear(8, 8), nn.Sigmoid())]
    report = wp.check_signals(
        wp.TorchProblem(nn.Sequential(*layers, nn.Linear(8, 3)), nn.CrossEntropyLoss(), classes(16, 8, 3))
    )
    told = found(report, "WP201")
    assert (told.verdict, told.cause) == (FAILS, "dtype")
    assert "smaller than float32 can hold" in told.message


@pytest.mark.parametrize("spoil", ["narrow", "huge", "nan"])
def test_pictures_of_odd_inputs_stop_nothing(spoil):
    x, y = torch.randn(32, 10).double() * 100, torch.randint(4, (32,))
    x[:, 0] = 0.3
    x[::2, 0] = {"narrow": 0.1 + 0.2, "huge": 1e30, "nan": float("nan")}[spoil]
    report = wp.checkup(wp.TorchProblem(network().double(), nn.CrossEntropyLoss(), (x, y)))
    assert report.plot()
    assert report._repr_html_()


class Look(torch.autograd.Function):
    """An embedding whose backward pass overwrites where a row is read twice."""

    @staticmethod
    def forward(ctx, w, i):
        ctx.save_for_backward(i)
        ctx.shape = w.shape
        return w[i]

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        back = g.new_zeros(ctx.shape)
        back[i] = g
        return back, None


def test_a_large_model_with_a_backward_pass_of_its_own_is_checked_on_all_rows():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.out = nn.Parameter(0.1 * torch.randn(20000, 64)), nn.Linear(64, 3)

        def forward(self, i):
            return self.out(Look.apply(self.w, i))

    problem = wp.TorchProblem(Words(), nn.CrossEntropyLoss(), (torch.arange(64) % 48, torch.randint(3, (64,))))
    assert found(wp.checkup(problem), "WP501").verdict is FAILS


def test_scores_cast_to_float32_before_the_loss_stay_wide_in_a_float64_copy():
    """Else the loss is a stair along slopes as small as these, which would look wrong."""

    class Faint(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.faint = network(), nn.Parameter(torch.full((4,), 1e-3))

        def forward(self, x):
            return self.body(x) + 1e-5 * self.faint

    for cast in (
        lambda out: out.float(),
        lambda out: out.to(torch.float32),
        lambda out: out.log_softmax(1, dtype=torch.float32),
    ):
        problem = wp.TorchProblem(
            Faint(), lambda out, t, cast=cast: nn.functional.cross_entropy(cast(out), t), classes()
        )
        report = wp.checkup(problem)
        assert found(report, "WP501").verdict is HOLDS
        assert report.problem.checked_in == "float64"


def test_where_nothing_is_left_to_learn_a_clamp_of_the_loss_does_not_fail():
    """BCELoss divides by p (1 - p), but by 1e-12 at least: beyond that its gradient is not that of its value."""
    x = torch.cat([torch.randn(16, 4) + 4, torch.randn(16, 4) - 4])
    y = torch.cat([torch.ones(16, 1), torch.zeros(16, 1)])
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
    problem = wp.TorchProblem(model, nn.BCELoss(), (x, y), optimizer=torch.optim.Adam(model.parameters(), 0.05))
    report = wp.check_gradients(problem, after_steps=300)
    wrong = found(report, "WP501")
    assert wrong.verdict is SUSPECT
    assert wrong.message.startswith("After 300 steps: ")
    assert "nothing is left to learn" in wrong.message


def test_a_wrong_gradient_that_trains_is_still_wrong_after_some_steps():
    problem = wp.TorchProblem(
        nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4)),
        lambda outputs, targets: nn.functional.cross_entropy(Doubled.apply(outputs), targets),
        classes(),
    )
    assert found(wp.check_gradients(problem, after_steps=20), "WP501").verdict is FAILS
