"""WP405 to WP409 on problems of other shapes: images in raster order, prefixes, forecasts, named data, several terms."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp

V, T, D = 11, 12, 16


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def causes(problem, rule):
    report = wp.checkup(problem, only=rule.__eq__)
    return [f.cause for f in report.findings if f.rule == rule and f.found]


class Masked(nn.Conv2d):
    """A convolution that sees what comes before, and its own place where `own`."""

    def __init__(self, entering, leaving, *, own):
        super().__init__(entering, leaving, 3, padding=1)
        allowed = torch.ones(3, 3)
        allowed[1, 1 + own :] = 0
        allowed[2] = 0
        self.register_buffer("allowed", allowed)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.allowed, self.bias, padding=1)


class TestImages:
    """Pixels that are asked for row by row."""

    levels = torch.randint(0, 4, (24, 6, 6), generator=generator())

    @pytest.mark.parametrize(("own", "expected"), [(False, []), (True, ["not-shifted"])])
    def test_each_pixel_from_those_before(self, own, expected):
        torch.manual_seed(0)
        net = nn.Sequential(Masked(1, 8, own=own), nn.ReLU(), Masked(8, 8, own=True), nn.ReLU(), nn.Conv2d(8, 4, 1))
        images = (self.levels[:, None].float() - 1.5) / 1.1
        assert causes(wp.TorchProblem(net, nn.CrossEntropyLoss(), (images, self.levels)), "WP406") == expected

    def test_an_autoencoder_sees_them_all(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, 2))
        images = torch.randn(24, 1, 6, 6, generator=generator())
        for rule in ("WP405", "WP406"):
            assert causes(wp.TorchProblem(net, nn.MSELoss(), (images, images)), rule) == []

    @pytest.mark.parametrize(("ahead", "expected"), [(1, []), (0, ["not-shifted"])])
    def test_a_grid_of_codes(self, ahead, expected):
        class Grid(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.rnn, self.head = (
                    nn.Embedding(4, D),
                    nn.GRU(D, D, batch_first=True),
                    nn.Linear(D, 4),
                )

            def forward(self, codes):
                return self.head(self.rnn(self.embedding(codes.flatten(1)))[0]).transpose(1, 2)

        torch.manual_seed(0)
        length = 36 - ahead
        loss = lambda o, y: F.cross_entropy(o[:, :, :length], y.flatten(1)[:, ahead:])  # noqa: E731
        assert causes(wp.TorchProblem(Grid(), loss, (self.levels, self.levels)), "WP406") == expected


class Recurrent(nn.Module):
    def __init__(self, features, outputs, *, both=False, last=0, prefix=0):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.GRU(features, D, batch_first=True, bidirectional=both)
        self.head, self.last = nn.Linear(D * (1 + both), outputs), last
        self.register_buffer("prefix", torch.randn(1, prefix, features, generator=generator(1)))

    def forward(self, x):
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        return self.head(self.rnn(x)[0])[:, -self.last :]


class TestForecasts:
    """Outputs for the last positions alone."""

    series = torch.randn(32, 24, 2, generator=generator()).cumsum(1)

    def test_what_comes_after_the_window(self):
        problem = wp.TorchProblem(Recurrent(2, 2, last=4), nn.MSELoss(), (self.series[:, :20], self.series[:, 20:]))
        assert causes(problem, "WP405") == causes(problem, "WP406") == []

    def test_what_the_window_ends_with(self):
        x = self.series[:, :20]
        assert causes(wp.TorchProblem(Recurrent(2, 2, last=4, both=True), nn.MSELoss(), (x, x[:, 16:])), "WP405") == [
            "future-leak"
        ]
        assert causes(wp.TorchProblem(Recurrent(2, 2, last=4), nn.MSELoss(), (x, x[:, 16:])), "WP406") == [
            "not-shifted"
        ]

    @pytest.mark.parametrize(("shift", "expected"), [(1, []), (2, ["shifted-twice"])])
    def test_behind_a_prefix(self, shift, expected):
        x = self.series[:, :20]
        loss = lambda o, y: F.mse_loss(o[:, 5 : 25 - shift], y[:, shift:])  # noqa: E731
        problem = wp.TorchProblem(Recurrent(2, 2, prefix=5), loss, (x, x))
        assert causes(problem, "WP406") == expected
        assert causes(problem, "WP405") == []


class TestCopies:
    x = torch.randn(48, 6, generator=generator())

    def net(self, *sizes):
        torch.manual_seed(0)
        layers = [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.Tanh())]
        return nn.Sequential(*layers[:-1])

    def test_the_number_asked_for_is_an_input(self):
        (finding,) = [
            f
            for f in wp.check_objective(
                wp.TorchProblem(self.net(6, 16, 1), lambda o, y: F.mse_loss(o[:, 0], y), (self.x, self.x[:, 3]))
            ).findings
            if f.rule == "WP406"
        ]
        assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "target-is-input")
        assert "one of `inputs`, in every example" in finding.message

    def test_a_bottleneck_is_no_copy(self):
        assert causes(wp.TorchProblem(self.net(6, 3, 6), nn.MSELoss(), (self.x, self.x)), "WP406") == []
        wide = self.net(6, 32, 6)
        assert causes(wp.TorchProblem(wide, nn.MSELoss(), (self.x, self.x)), "WP406") == ["target-is-input"]

    def test_nor_is_what_another_term_keeps_from_it(self):
        wide = self.net(6, 32, 6)
        sparse = lambda o, y: F.mse_loss(o, y) + 0.1 * o.abs().mean()  # noqa: E731
        assert causes(wp.TorchProblem(wide, sparse, (self.x, self.x)), "WP406") == []

    def test_nor_what_noise_hides(self):
        noisy = nn.Sequential(nn.Dropout(0.5), self.net(6, 32, 6))
        masked = self.x * (torch.rand(self.x.shape, generator=generator(2)) > 0.3)
        assert causes(wp.TorchProblem(self.net(6, 32, 6), nn.MSELoss(), (masked, self.x)), "WP406") == []
        assert noisy.training


class TestOrder:
    x = torch.randint(0, V, (16, T), generator=generator())

    class Encoded(nn.Module):
        def __init__(self, axis):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head, self.axis = nn.Embedding(V, D), nn.Linear(D, 3), axis
            self.register_buffer("encoding", torch.randn(64, D, generator=generator(1)))

        def forward(self, x):
            h = self.embedding(x)
            encoding = self.encoding[: h.shape[self.axis]]
            return self.head(torch.tanh(h + (encoding if self.axis else encoding[:, None])).mean(1))

    @pytest.mark.parametrize(("axis", "expected"), [(1, []), (0, ["by-place-in-batch"])])
    def test_an_encoding_along_the_examples(self, axis, expected):
        y = torch.randint(0, 3, (16,), generator=generator())
        assert causes(wp.TorchProblem(self.Encoded(axis), nn.CrossEntropyLoss(), (self.x, y)), "WP408") == expected

    def test_a_layout_with_time_first_is_none(self):
        torch.manual_seed(0)

        class Steps(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.rnn, self.head = nn.Embedding(V, D), nn.GRU(D, D), nn.Linear(D, V)

            def forward(self, x):
                return self.head(self.rnn(self.embedding(x))[0])

        x = self.x.T
        loss = lambda o, y: F.cross_entropy(o[:-1].flatten(0, 1), y[1:].flatten())  # noqa: E731
        assert causes(wp.TorchProblem(Steps(), loss, (x, x)), "WP408") == []

    def test_a_table_of_pairs_needs_no_order(self):
        torch.manual_seed(0)
        loss = lambda o, y: F.cross_entropy(o[:, :-1].flatten(0, 1), y[:, 1:].flatten())  # noqa: E731
        assert causes(wp.TorchProblem(nn.Embedding(V, V), loss, (self.x, self.x)), "WP408") == []


class TestPadding:
    length = 16
    lengths = torch.randint(4, 14, (24,), generator=generator())
    x = torch.randint(1, V, (24, 16), generator=generator()).masked_fill(torch.arange(16) >= lengths[:, None], 0)

    class Attending(nn.Module):
        def __init__(self, *, inverted):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head, self.inverted = nn.Embedding(V, D), nn.Linear(2 * D, 3), inverted

        def forward(self, x):
            """[length, examples]"""
            h = self.embedding(x.T)
            left_out = (x.T != 0) if self.inverted else (x.T == 0)
            scores = (h @ h.transpose(1, 2)).masked_fill(left_out[:, None], -1e9)
            return self.head(torch.cat([h, scores.softmax(-1) @ h], -1)).transpose(0, 1)

    @pytest.mark.parametrize(("inverted", "expected"), [(False, []), (True, ["mask-inverted"])])
    def test_a_mask_that_the_model_makes_with_time_first(self, inverted, expected):
        y = (self.x % 3).masked_fill(self.x == 0, -100).T
        loss = lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=-100)  # noqa: E731
        assert causes(wp.TorchProblem(self.Attending(inverted=inverted), loss, (self.x.T, y)), "WP407") == expected

    class ReadAt(nn.Module):
        def __init__(self, *, end):
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.head, self.end = nn.GRU(3, D, batch_first=True), nn.Linear(D, 3), end

        def forward(self, x, lengths):
            h = self.rnn(x)[0]
            at = torch.full_like(lengths, x.shape[1] - 1) if self.end else lengths - 1
            return self.head(h[torch.arange(len(x)), at])

    @pytest.mark.parametrize(("end", "expected"), [(True, []), (False, ["read-at-padding"])])
    def test_padding_in_front_and_a_state_read_too_early(self, end, expected):
        x = torch.randn(24, 16, 3, generator=generator())
        x[torch.arange(16) < 16 - self.lengths[:, None]] = 0
        y = torch.randint(0, 3, (24,), generator=generator())
        problem = wp.TorchProblem(self.ReadAt(end=end), nn.CrossEntropyLoss(), ((x, self.lengths), y))
        assert causes(problem, "WP407") == expected


class TestNamedData:
    """A loss of the model alone that says which tensors are its inputs and targets."""

    ids = torch.randint(0, V, (12, T), generator=generator())

    class Language(nn.Module):
        def __init__(self, both=False):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(V, D), nn.Linear(D * (1 + both), V)
            self.rnn = nn.GRU(D, D, batch_first=True, bidirectional=both)

        def forward(self, x):
            return {"scores": self.head(self.rnn(self.embedding(x))[0])}

    def problem(self, ahead=1, *, both=False):
        ids = self.ids.clone()

        def loss(model):
            return F.cross_entropy(model(ids)["scores"][:, :-ahead].flatten(0, 1), ids[:, ahead:].flatten())

        return wp.TorchProblem(self.Language(both), loss, inputs=ids, targets=ids)

    def test_sequences_are_judged(self):
        assert causes(self.problem(), "WP405") == causes(self.problem(), "WP406") == []
        assert causes(self.problem(2), "WP406") == ["shifted-twice"]
        assert causes(self.problem(both=True), "WP405") == ["future-leak"]

    def test_nothing_of_it_is_changed(self):
        problem = self.problem()
        ids, where = problem.batch[0], problem.batch[0].data_ptr()
        before, weights = ids.clone(), [p.clone() for p in problem.model.parameters()]
        wp.checkup(problem)
        assert torch.equal(ids, before)
        assert ids.data_ptr() == where
        assert all(torch.equal(p, w) for p, w in zip(problem.model.parameters(), weights, strict=True))
        assert not problem.model._forward_hooks

    def test_inputs_are_judged(self):
        x, y = 50 + torch.randn(64, 3, generator=generator()), torch.randn(64, 1, generator=generator(1))
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        problem = wp.TorchProblem(model, lambda model: F.mse_loss(model(x), y), inputs=x, targets=y)
        assert "WP101" in [f.rule for f in wp.check_inputs(problem).findings if f.found]

    def test_what_nobody_has_named_may_belong_to_the_rows(self):
        x, noise = torch.randn(32, 3, generator=generator()), torch.randn(32, 3, generator=generator(1))
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
        problem = wp.TorchProblem(model, lambda model: F.mse_loss(model(x + noise), noise), inputs=x, targets=noise)
        assert causes(problem, "WP408") == []

    def test_two_calls_of_the_model(self):
        real, fake = self.ids, self.ids.flip(0)

        def loss(model):
            guide = model(fake)["scores"].detach()
            scores = model(real)["scores"]
            return F.cross_entropy(scores[:, :-1].flatten(0, 1), real[:, 1:].flatten()) + 0.0 * guide.sum()

        problem = wp.TorchProblem(self.Language(both=True), loss, inputs=real, targets=real)
        assert causes(problem, "WP405") == ["future-leak"]

    def test_data_given_twice_and_to_another_loss_are_refused(self):
        x = torch.randn(4, 3)
        model = nn.Linear(3, 1)
        with pytest.raises(wp.InputError, match="data are given twice: as batch, and as inputs or targets"):
            wp.TorchProblem(model, lambda model: model(x).sum(), (x, x), inputs=x)
        with pytest.raises(
            wp.InputError, match="name the data of a loss of one argument, the model; this loss takes more"
        ):
            wp.TorchProblem(model, lambda outputs, targets: outputs.sum(), inputs=x)


class TestReports:
    x, y = torch.randn(24, 6, generator=generator()), torch.randn(24, 6, generator=generator(1))

    def problem(self, *, graph):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))

        def loss(model):
            x = self.x.clone().requires_grad_(True)
            outputs = model(x)
            (slope,) = torch.autograd.grad(outputs.sum(), x, create_graph=graph, retain_graph=True)
            return F.mse_loss(outputs, self.y) + slope.pow(2).mean()

        return wp.TorchProblem(model, loss)

    def test_what_a_lost_term_makes_wrong_follows_from_it(self):
        report = wp.checkup(self.problem(graph=False))
        assert [root.rule for root, _ in report.roots if root.verdict is wp.Verdict.FAILS] == ["WP409"]
        assert "WP501" in [f.rule for f in report.findings if f.follows == "WP409"]

    def test_terms_are_a_table_and_bars(self):
        report = wp.checkup(self.problem(graph=True))
        (figure,) = [figure for figure in report.figures if figure.name == "terms"]
        assert [panel.series[0].mark for panel in figure.panels] == ["bars", "bars", "bars"]
        table = str(report).split("Terms of the loss")[1].splitlines()
        assert table[0].split() == ["value", "gradient", "cosine"]
        assert [row.split()[0] for row in table[1:3]] == ["1", "2"]
        assert table[1].split()[1] == "mse_loss,"
        without = wp.checkup(self.problem(graph=False))
        assert "none" in str(without).split("Terms of the loss")[1]

    def test_terms_that_oppose_each_other(self):
        torch.manual_seed(0)
        model = nn.Linear(6, 6)
        loss = lambda o, y: 3 * F.mse_loss(o, y) - F.mse_loss(o, y)  # noqa: E731
        (figure,) = [f for f in wp.checkup(wp.TorchProblem(model, loss, (self.x, self.y))).figures if f.name == "terms"]
        assert figure.panels[2].series[0].y == pytest.approx((1.0, -1.0))

    def test_a_picture_of_who_sees_whom(self):
        report = wp.checkup(TestNamedData().problem(both=True))
        (figure,) = [figure for figure in report.figures if figure.name == "dependence"]
        assert "WP405" in figure.rules
        assert "before it." in figure.text
        (panel,) = figure.panels
        assert all(max(series.y[: int(series.label.split()[1])]) > 1e-3 for series in panel.series)
        right = wp.checkup(TestNamedData().problem())
        (figure,) = [figure for figure in right.figures if figure.name == "dependence"]
        assert "by nothing before it" in figure.text


class TestWhatIsNotAccused:
    """Right programs that were once taken for others."""

    ids = torch.randint(0, V, (16, T + 1), generator=generator())

    def language(self, model, ids=None, **inputs):
        ids = self.ids if ids is None else ids
        loss = lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten())  # noqa: E731
        given = {"x": ids[:, :-1], **inputs} if inputs else ids[:, :-1]
        return wp.TorchProblem(model, loss, (given, ids[:, 1:]))

    def silent(self, problem, *rules):
        report = wp.checkup(problem, only=lambda rule: rule in rules)
        assert [(f.rule, f.cause) for f in report.findings if f.found] == []

    def test_positions_that_are_given(self):
        class Given(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.embedding, self.places, self.head = nn.Embedding(V, D), nn.Embedding(64, D), nn.Linear(2 * D, V)

            def forward(self, x, places):
                h = self.embedding(x) + self.places(places)
                return self.head(torch.cat([h, (h @ h.mT).softmax(-1) @ h], -1))

        x = self.ids
        loss = lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten())  # noqa: E731
        inputs = {"x": x, "places": torch.arange(T + 1).expand(16, -1).contiguous()}
        self.silent(wp.TorchProblem(Given(), loss, (inputs, x.roll(1, 1))), "WP408")

    def test_a_state_that_is_carried_from_pass_to_pass(self):
        class Stateful(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.embedding, self.rnn, self.head = (
                    nn.Embedding(V, D),
                    nn.GRU(D, D, batch_first=True),
                    nn.Linear(D, V),
                )
                self.state = None

            def forward(self, x):
                y, state = self.rnn(self.embedding(x), self.state)
                self.state = state.detach()
                return self.head(y)

        self.silent(self.language(Stateful()), "WP405", "WP406", "WP408")

    def test_numbers_of_rows_and_columns_are_no_documents(self):
        class Placed(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.embedding, self.columns = nn.Embedding(V, D), nn.Embedding(4, D)
                self.rnn, self.head = nn.GRU(D, D, batch_first=True), nn.Linear(D, V)

            def forward(self, x, columns):
                return self.head(self.rnn(self.embedding(x) + self.columns(columns))[0])

        columns = (torch.arange(T) % 4).expand(16, -1).contiguous()
        self.silent(self.language(Placed(), columns=columns), "WP405")

    def test_the_entropy_of_a_target_that_is_held(self):
        torch.manual_seed(0)
        model = nn.Linear(6, 4)
        x, y = torch.randn(24, 6, generator=generator()), torch.randint(0, 4, (24,), generator=generator())

        def loss(model):
            with torch.no_grad():
                q = model(x).softmax(1)
            log_p = model(x + 0.1).log_softmax(1)
            apart = (q * q.log()).sum(1).mean() - (q * log_p).sum(1).mean()
            return F.cross_entropy(model(x), y) + apart

        self.silent(wp.TorchProblem(model, loss), "WP409")

    def test_returns_that_outputs_are_weighed_by(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 4), nn.Softmax(1))
        x, returns = torch.randn(24, 6, generator=generator()), torch.randn(24, 4, generator=generator(1))
        self.silent(wp.TorchProblem(model, lambda o, r: -(o * r).sum(1).mean(), (x, returns)), "WP410")

    def test_features_of_one_number(self):
        torch.manual_seed(0)
        x, y = torch.randn(16, 1, generator=generator()), torch.randn(16, 1, generator=generator(1))

        class Fourier(nn.Module):
            def __init__(self):
                super().__init__()
                self.rates, self.head = nn.Parameter(torch.randn(16)), nn.Linear(16, 1)

            def forward(self, x):
                return self.head(torch.sin(x * self.rates))

        self.silent(wp.TorchProblem(Fourier(), nn.MSELoss(), (x, y)), "WP401")

    def test_a_set_whose_elements_depend_on_each_other(self):
        class Centred(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.inner, self.outer = nn.Linear(2, D), nn.Linear(2 * D, 2)

            def forward(self, x):
                h = torch.tanh(self.inner(x))
                return self.outer(torch.cat([h, h.mean(1, keepdim=True).expand_as(h)], -1))

        x = torch.randn(64, 8, 2, generator=generator())
        self.silent(wp.TorchProblem(Centred(), nn.MSELoss(), (x, x - x.mean(1, keepdim=True))), "WP408")

    def test_a_code_between_input_and_output(self):
        torch.manual_seed(0)
        codec = nn.Sequential(nn.Linear(8, 2), nn.Tanh(), nn.Linear(2, 8))
        x = torch.randn(24, 10, 8, generator=generator())
        self.silent(wp.TorchProblem(codec, nn.MSELoss(), (x, x)), "WP406")

    def test_periods(self):
        phase = torch.rand(32, 1, generator=generator()) * 6.28
        series = torch.sin(torch.arange(36) * 6.2831853 / 12 + phase)[..., None] * torch.ones(2)
        series = series + torch.randn(32, 1, 2, generator=generator())
        torch.manual_seed(0)
        problem = wp.TorchProblem(Recurrent(2, 2, last=8), nn.MSELoss(), (series[:, :24], series[:, 24:32]))
        self.silent(problem, "WP405", "WP406")
