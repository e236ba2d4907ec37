"""WP405 to WP411: what a problem's structure is, each rule with what it must find and what it must not accuse."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp
from wellposed.backends.torch.reshapes import stands_for_a_permutation

V, T, D = 11, 12, 16


def found(problem, rule):
    """The findings of one rule that are more than holds."""
    return [f for f in wp.check_objective(problem).findings if f.rule == rule and f.found]


def verdict(problem, rule):
    (finding,) = [f for f in wp.check_objective(problem).findings if f.rule == rule]
    return finding.verdict.value


def tokens(rows=16, length=T, low=0, seed=0):
    return torch.randint(low, V, (rows, length), generator=torch.Generator().manual_seed(seed))


class Attention(nn.Module):
    """One block; `mask` makes [T, T] of what may be seen, `positions` what is added to the embedding."""

    def __init__(self, mask=None, positions=True, shifts=False):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.place = nn.Embedding(V, D), nn.Embedding(64, D)
        self.qkv, self.head = nn.Linear(D, 3 * D), nn.Linear(D, V)
        self.mask, self.positions, self.shifts = mask, positions, shifts

    def forward(self, x):
        if self.shifts:
            x = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        h = self.embedding(x)
        if self.positions:
            h = h + self.place.weight[: x.shape[1]]
        q, k, v = self.qkv(h).chunk(3, -1)
        allowed = None if self.mask is None else self.mask(x.shape[1])
        return self.head(h + F.scaled_dot_product_attention(q, k, v, attn_mask=allowed))


def causal(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


def prefix(length):
    return causal(length) | (torch.arange(length) < 4)


def by_position(outputs, targets):
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-100)


def language(model, ahead=1, loss=by_position):
    x = tokens(length=T + 2)
    return wp.TorchProblem(model, loss, (x[:, :T], x[:, ahead : T + ahead]))


class TestTheFuture:
    def test_it_is_seen_without_a_mask(self):
        (finding,) = found(language(Attention()), "WP405")
        assert (finding.verdict, finding.cause, finding.where) == (wp.Verdict.FAILS, "future-leak", "head")
        assert "The targets at each position are the next position's of `inputs`" in finding.message
        assert "the model can read off what it is asked for" in finding.message

    def test_a_mask_a_direction_and_padding_on_the_left_hide_it(self):
        class Convolution(nn.Module):
            def __init__(self, left, right):
                super().__init__()
                self.pad, self.c = (left, right), nn.Conv1d(3, 3, 3)

            def forward(self, x):
                return self.c(F.pad(x, self.pad))

        x = torch.randn(16, 3, T + 1, generator=torch.Generator().manual_seed(0))
        assert verdict(language(Attention(causal)), "WP405") == "holds"
        for sides, expected in (((2, 0), "holds"), ((1, 1), "fails")):
            problem = wp.TorchProblem(Convolution(*sides), nn.MSELoss(), (x[..., :-1], x[..., 1:]))
            assert verdict(problem, "WP405") == expected

    def test_a_prefix_that_nothing_is_asked_of_may_be_seen(self):
        x = tokens(length=T + 1)
        wanted = x[:, 1:].clone()
        wanted[:, :3] = -100
        assert verdict(wp.TorchProblem(Attention(prefix), by_position, (x[:, :-1], wanted)), "WP405") == "holds"

    def test_whoever_is_asked_for_labels_may_look_where_it_likes(self):
        x = tokens()
        labels = torch.randint(0, V, x.shape)
        assert verdict(wp.TorchProblem(Attention(), by_position, (x, labels)), "WP405") == "not applicable"

    @pytest.mark.parametrize("apart", [True, False])
    def test_documents_in_one_row_do_not_see_each_other(self, apart):
        class Packed(Attention):
            def forward(self, ids, documents):
                h = self.embedding(ids) + self.place.weight[: ids.shape[1]]
                q, k, v = self.qkv(h).chunk(3, -1)
                allowed = causal(ids.shape[1]).expand(len(ids), -1, -1)
                if apart:
                    allowed = allowed & (documents[:, :, None] == documents[:, None, :])
                return self.head(h + F.scaled_dot_product_attention(q, k, v, attn_mask=allowed))

        x, documents = (
            tokens(length=T + 1),
            (torch.arange(T) >= 5).long().add(torch.arange(T) >= 8).expand(16, -1).contiguous(),
        )
        inputs = {"ids": x[:, :-1], "documents": documents}
        problem = wp.TorchProblem(Packed(), by_position, (inputs, x[:, 1:]))
        assert [f.cause for f in found(problem, "WP405")] == ([] if apart else ["document-leak"])


class TestTargets:
    @pytest.mark.parametrize(
        ("ahead", "cause", "words"),
        [
            (0, "not-shifted", "which the model is given there: it learns to copy"),
            (2, "shifted-twice", "the element in between is never asked for"),
        ],
    )
    def test_of_another_position_are_named(self, ahead, cause, words):
        (finding,) = found(language(Attention(causal), ahead), "WP406")
        assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, cause)
        assert words in finding.message

    def test_the_next_element_is_right_wherever_the_shift_is_made(self):
        x = tokens()

        def shifting(outputs, targets):
            return by_position(outputs[:, :-1], targets[:, 1:])

        assert verdict(language(Attention(causal)), "WP406") == "holds"
        assert verdict(wp.TorchProblem(Attention(causal), shifting, (x, x)), "WP406") == "holds"
        assert verdict(wp.TorchProblem(Attention(causal, shifts=True), by_position, (x, x)), "WP406") == "holds"

    def test_shifts_in_the_model_and_in_the_loss_are_two(self):
        x = tokens()

        def shifting(outputs, targets):
            return by_position(outputs[:, :-1], targets[:, 1:])

        (finding,) = found(wp.TorchProblem(Attention(causal, shifts=True), shifting, (x, x)), "WP406")
        assert finding.cause == "shifted-twice"

    def test_what_copies_with_a_look_at_everything_is_no_fault(self):
        x = tokens()
        assert verdict(wp.TorchProblem(Attention(), by_position, (x, x)), "WP406") == "not applicable"

    def test_numbers_are_told_too(self):
        class Recurrent(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.rnn, self.out = nn.GRU(1, D), nn.Linear(D, 1)

            def forward(self, x):  # time first
                return self.out(self.rnn(x)[0])

        x = torch.randn(T + 1, 20, 1, generator=torch.Generator().manual_seed(0))
        given = wp.TorchProblem(Recurrent(), nn.MSELoss(), (x[:-1], x[:-1]))
        assert [f.cause for f in found(given, "WP406")] == ["not-shifted"]
        likely = wp.TorchProblem(
            Recurrent(), lambda o, y: (torch.log(1 + (o - y) ** 2)).mean(), (x[:-1], x[1:])
        )  # no sum of squares
        assert verdict(likely, "WP406") == "holds"


class TestPadding:
    def data(self, length=20):
        g = torch.Generator().manual_seed(0)
        x, lengths = torch.randint(1, V, (32, length), generator=g), torch.randint(3, length - 2, (32,), generator=g)
        x[torch.arange(length)[None] >= lengths[:, None]] = 0
        return x, lengths

    @pytest.mark.parametrize("ignored", [True, False])
    def test_in_the_loss(self, ignored):
        x, _ = self.data()
        loss = lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=0 if ignored else -100)  # noqa: E731
        problem = wp.TorchProblem(Attention(), loss, (x, x))
        causes = [f.cause for f in found(problem, "WP407")]
        assert ("padding-in-loss" in causes) is not ignored

    @pytest.mark.parametrize("way", ["right", "inverted", "ignored"])
    def test_masks(self, way):
        class Pooled(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.embedding, self.head = nn.Embedding(V, D), nn.Linear(D, 3)

            def forward(self, ids, mask):
                kept = {"right": mask, "inverted": 1 - mask, "ignored": torch.ones_like(mask)}[way][..., None]
                return self.head((self.embedding(ids) * kept).sum(1) / kept.sum(1).clamp(min=1))

        x, lengths = self.data()
        mask = (torch.arange(x.shape[1])[None] < lengths[:, None]).long()
        problem = wp.TorchProblem(
            Pooled(), nn.CrossEntropyLoss(), ({"ids": x, "mask": mask}, torch.randint(3, (len(x),)))
        )
        expected = {"right": [], "inverted": ["mask-inverted"], "ignored": ["mask-ignored"]}[way]
        assert [f.cause for f in found(problem, "WP407")] == expected

    @pytest.mark.parametrize("packed", [True, False])
    def test_the_last_state(self, packed):
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.embedding = nn.Embedding(V, D)
                self.rnn, self.head = nn.LSTM(D, D, batch_first=True), nn.Linear(D, 3)

            def forward(self, x):
                outputs, (last, _) = self.rnn(self.embedding(x))
                if packed:
                    last = outputs[torch.arange(len(x)), (x != 0).sum(1) - 1][None]
                return self.head(last[0])

        x, _ = self.data(40)
        problem = wp.TorchProblem(Last(), nn.CrossEntropyLoss(), (x, torch.randint(3, (len(x),))))
        assert [f.cause for f in found(problem, "WP407")] == ([] if packed else ["read-at-padding"])


class TestOrder:
    @pytest.mark.parametrize("positions", [True, False])
    def test_targets_that_depend_on_it_need_it(self, positions):
        x = tokens(32)
        problem = wp.TorchProblem(Attention(positions=positions), by_position, (x, x.roll(1, 1)))
        assert [f.cause for f in found(problem, "WP408")] == ([] if positions else ["order-lost"])

    def test_a_set_needs_none(self):
        x = tokens(32)
        problem = wp.TorchProblem(Attention(positions=False), by_position, (x, (x + x.sum(1, keepdim=True)) % V))
        assert verdict(problem, "WP408") == "holds"

    @pytest.mark.parametrize(
        ("before", "after", "mixes"),
        [
            ((8, 4, 12, 6), (8, 12, 24), True),  # heads merged without a transpose
            ((8, 12, 4, 6), (8, 12, 24), False),
            ((8, 5, 5, 3), (8, 3, 5, 5), True),  # channels last, viewed as channels first
            ((2, 8, 6), (8, 12), True),  # states of two layers
            ((8, 12, 24), (8, 12, 4, 6), False),
            ((8, 12, 24), (96, 24), False),
            ((8, 1, 12), (8, 12, 1), False),
            ((8, 4, 12, 13), (8, 4, 13, 12), False),  # relative positions, shifted on purpose
            ((8, 1, 13, 12), (8, 1, 12, 13), False),
            ((8, 40, 6), (8, 6, 40), True),
            ((8, 12, 4, 6), (8, 4, 12, 6), True),  # heads and positions
            ((8, 16, 5, 6, 6), (40, 16, 36), True),  # frames and channels
        ],
    )
    def test_a_reshape_in_place_of_a_permutation(self, before, after, mixes):
        assert stands_for_a_permutation(before, after) is mixes

    def test_its_line_is_told(self):
        class Pixels(nn.Module):
            def __init__(self):
                super().__init__()
                self.c = nn.Conv2d(3, 2, 3)

            def forward(self, x):
                return self.c(x.reshape(len(x), 3, 6, 6)).mean((2, 3))

        problem = wp.TorchProblem(Pixels(), nn.CrossEntropyLoss(), (torch.randn(8, 6, 6, 3), torch.randint(2, (8,))))
        (finding,) = found(problem, "WP408")
        assert finding.cause == "reshape-mixes"
        assert "[8, 6, 6, 3] is reshaped to [8, 3, 6, 6]" in finding.message
        assert "x.reshape(len(x), 3, 6, 6)" in finding.message


class TestTerms:
    x, y = torch.randn(24, 6, generator=torch.Generator().manual_seed(0)), torch.randn(24, 6)

    def problem(self, loss):
        torch.manual_seed(0)
        return wp.TorchProblem(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)), loss, (self.x, self.y))

    def test_a_number_is_no_term(self):
        (finding,) = found(self.problem(lambda o, y: F.mse_loss(o, y) + 0.5 * o.abs().mean().item()), "WP409")
        assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "cut-term")
        assert "no gradient passes through it" in finding.message
        assert ".item()" in finding.message

    @pytest.mark.parametrize("graph", [True, False])
    def test_a_penalty_needs_a_graph(self, graph):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))

        def loss(model):
            x = self.x.clone().requires_grad_(True)
            outputs = model(x)
            (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=graph, retain_graph=True)
            return F.mse_loss(outputs, self.y) + slope.pow(2).mean()

        causes = [f.cause for f in found(wp.TorchProblem(model, loss), "WP409")]
        assert causes == ([] if graph else ["penalty-not-in-gradient"])

    def test_a_sum_drowns_a_mean(self):
        summed = self.problem(lambda o, y: F.mse_loss(o, y) + o.pow(4).sum())
        (finding,) = found(summed, "WP409")
        assert (finding.verdict, finding.cause) == (wp.Verdict.SUSPECT, "drowned-term")
        weighed = self.problem(lambda o, y: F.mse_loss(o, y) + 1e-3 * o.pow(2).sum())
        assert verdict(weighed, "WP409") == "holds"

    def test_a_loss_of_constants_is_told(self):
        (finding,) = found(self.problem(lambda o, y: F.mse_loss(o, y) + F.mse_loss(y, self.x)), "WP409")
        assert finding.cause == "constant-term"

    def test_what_only_changes_the_size_of_a_gradient_is_meant(self):
        def halved(o, y):
            loss = F.mse_loss(o, y)
            return 0.5 * loss + 0.5 * loss.detach()

        assert verdict(self.problem(halved), "WP409") == "holds"
        assert verdict(self.problem(nn.MSELoss()), "WP409") == "not applicable"


class TestReach:
    def test_a_normalisation_before_the_last_activation(self):
        level = torch.rand(32, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
        x = level + 0.1 * torch.randn(32, 1, 8, 8)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)]
        fixed = nn.Sequential(*layers, nn.InstanceNorm2d(1, affine=True), nn.Tanh())
        (finding,) = found(wp.TorchProblem(fixed, nn.L1Loss(), (x, 0.9 * x)), "WP410")
        assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "cannot-reach")
        assert "`instance_norm` at the end of the model fixes the mean and spread" in finding.message
        assert (
            verdict(wp.TorchProblem(nn.Sequential(*layers, nn.Tanh()), nn.L1Loss(), (x, 0.9 * x)), "WP410") == "holds"
        )

    @pytest.mark.parametrize("axis", [1, -1])
    def test_a_softmax_over_one_number(self, axis):
        class Pooled(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.score, self.head = nn.Linear(5, 1), nn.Linear(5, 3)

            def forward(self, x):
                return self.head((self.score(x).softmax(axis) * x).sum(1))

        problem = wp.TorchProblem(Pooled(), nn.CrossEntropyLoss(), (torch.randn(9, 4, 5), torch.randint(3, (9,))))
        assert [f.cause for f in found(problem, "WP410")] == (["softmax-over-one"] if axis == -1 else [])


class TestModes:
    def problem(self, model, rows=32):
        torch.manual_seed(0)
        return wp.TorchProblem(model, nn.CrossEntropyLoss(), (3 * torch.randn(rows, 6) + 2, torch.randint(3, (rows,))))

    def network(self, **options):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, **options), nn.ReLU(), nn.Linear(8, 3))

    def test_training_in_evaluation_mode(self):
        (finding,) = found(self.problem(self.network().eval()), "WP411")
        assert (finding.verdict, finding.cause, finding.where) == (wp.Verdict.FAILS, "eval-mode", "1")

    def test_statistics_of_data_may_be_used(self):
        model = self.network()
        for _ in range(50):
            model(3 * torch.randn(32, 6) + 2)
        assert verdict(self.problem(model.eval()), "WP411") == "holds"
        assert verdict(self.problem(self.network()), "WP411") == "holds"

    @pytest.mark.parametrize("momentum", [0.0, 0.99])
    def test_running_statistics_that_cannot_follow(self, momentum):
        assert [f.cause for f in found(self.problem(self.network(momentum=momentum)), "WP411")] == ["statistics-lag"]

    def test_statistics_of_two_examples(self):
        assert [f.cause for f in found(self.problem(self.network(), rows=2), "WP411")] == ["tiny-batch"]

    @pytest.mark.parametrize(("training", "cause"), [(True, "dropout-always"), (False, "dropout-never"), (None, "")])
    def test_dropout_with_a_mode_of_its_own(self, training, cause):
        class Dropped(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

            def forward(self, x):
                return self.b(F.dropout(self.a(x), 0.3, training=self.training if training is None else training))

        assert [f.cause for f in found(self.problem(Dropped()), "WP411")] == ([cause] if cause else [])


class TestBroadcasts:
    def test_a_row_against_a_column_is_named_with_its_line(self):
        x = torch.randn(16, 6)
        advantage = torch.randn(16, 1)
        model = nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(-1))
        problem = wp.TorchProblem(model, lambda o, a: -(o[:, 0].exp() * a).mean(), (x, advantage))
        (finding,) = found(problem, "WP401")
        assert finding.cause == "broadcast"
        assert "A product of shapes [16] and [16, 1] is broadcast to [16, 16]" in finding.message
        assert "o[:, 0].exp() * a" in finding.message

    def test_pairs_may_be_made_on_purpose(self):
        x, y = torch.randn(16, 6), torch.randn(16)

        def ranked(o, y):
            s = o[:, 0]
            return F.softplus(-(s[:, None] - s) * torch.sign(y[:, None] - y)).mean()

        assert not found(wp.TorchProblem(nn.Linear(6, 1), ranked, (x, y)), "WP401")


def test_where_nothing_is_seen_of_a_structure_the_rules_do_not_apply():
    problem = wp.FunctionProblem(lambda p: float((p["w"] ** 2).sum()), lambda p: {"w": 2 * p["w"]}, {"w": 1.0})
    told = {f.rule: f.verdict.value for f in wp.check_objective(problem).findings}
    assert {told[rule] for rule in ("WP405", "WP406", "WP407", "WP408", "WP409", "WP410", "WP411")} == {
        "not applicable"
    }
    assert math.isfinite(len(told))


class TestAfterSteps:
    """What only shows once it has trained: running statistics that are not those of the data."""

    def problem(self, frozen):
        torch.manual_seed(0)
        layers = nn.BatchNorm1d(8)
        model = nn.Sequential(nn.Linear(4, 8), layers, nn.ReLU(), nn.Linear(8, 2))
        if frozen:  # written back by something else after each pass
            layers.register_forward_hook(lambda module, _i, _o: setattr(module, "running_mean", torch.full((8,), 3.0)))
        x = torch.randn(64, 4)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        return wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, (x[:, 0] > 0).long()), optimizer=optimizer)

    @pytest.mark.parametrize(("frozen", "causes"), [(False, []), (True, ["statistics-lag"])])
    def test_evaluation_mode_is_far_from_training_mode(self, frozen, causes):
        problem = self.problem(frozen)
        before = {name: buffer.clone() for name, buffer in problem.model.named_buffers()}
        report = wp.checkup(problem, only="WP411".__eq__, after_steps=60)
        assert [f.cause for f in report.findings if f.rule == "WP411" and f.found] == causes
        assert all(torch.equal(buffer, before[name]) for name, buffer in problem.model.named_buffers())
        assert problem.model.training


def test_a_sum_that_grows_in_place_is_taken_apart():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(32, 6), torch.randint(3, (32,))

    def grown(*, lost):
        def loss(model):
            value = nn.functional.cross_entropy(model(x), y)
            penalty = model[0].weight.square().sum()
            value += 0.1 * (penalty.detach() if lost else penalty)
            value *= 0.5
            return value

        return wp.TorchProblem(model, loss, inputs=x, targets=y)

    found = {lost: wp.check_objective(grown(lost=lost)).findings for lost in (False, True)}
    assert [f.verdict for f in found[False] if f.rule == "WP409"] == [wp.Verdict.HOLDS]
    assert [f.verdict for f in found[True] if f.rule == "WP409"] == [wp.Verdict.FAILS]


def test_a_count_among_the_inputs_is_no_data():
    torch.manual_seed(0)

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x, count):
            return self.layer(x) / count

    batch = ({"x": torch.randn(32, 6), "count": torch.tensor(3.0)}, torch.randint(3, (32,)))
    report = wp.checkup(wp.TorchProblem(Counting(), nn.functional.cross_entropy, batch))
    assert report.ok


class Tagger(nn.Module):
    def __init__(self, *, batch_first):
        super().__init__()
        self.words = nn.Embedding(30, 8)
        self.lstm, self.out = nn.LSTM(8, 12, batch_first=batch_first), nn.Linear(12, 4)

    def forward(self, tokens, beside):
        return self.out(self.lstm(self.words(tokens))[0]).transpose(1, 2)


@pytest.mark.parametrize("beside", ["lengths", "mask"])
def test_a_recurrent_layer_over_the_batch_is_seen_beside_lengths_or_a_mask(beside):
    lengths = torch.tensor([9, 7, 4, 9, 6, 3, 8, 5, 9, 2, 6, 7])
    mask = torch.arange(9) < lengths[:, None]
    tokens = torch.randint(1, 30, (12, 9)) * mask
    tags = torch.randint(4, (12, 9)).masked_fill(~mask, -100)
    for batch_first in (False, True):
        batch = (tokens, lengths if beside == "lengths" else mask), tags
        report = wp.check_objective(wp.TorchProblem(Tagger(batch_first=batch_first), nn.CrossEntropyLoss(), batch))
        found = next(one for one in report.findings if one.rule == "WP404")
        if batch_first:
            assert found.verdict is wp.Verdict.HOLDS
        else:
            assert found.verdict is wp.Verdict.FAILS
            assert "LSTM with batch_first=False runs over the batch" in found.message
