"""What costs nothing is a note and no suspicion; its twin that costs something is suspect or fails."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from test_signals_rules import verdict
from wellposed import testing
from wellposed.backends.torch.float64_copy import _grouped_mm

HOLDS, SUSPECT, FAILS = wp.Verdict.HOLDS, wp.Verdict.SUSPECT, wp.Verdict.FAILS
DOUBLE = torch.float64


def draws(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.randint(4, (32,), generator=torch.Generator().manual_seed(2))


def posed(model, x=None):
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (draws(32, 16) if x is None else x, LABELS))


# --- layers that start alike ---------------------------------------------------------------------------


class Copies(nn.Module):
    def __init__(self, *, residual, copied=True):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.head, self.residual = (
            nn.ModuleList(nn.Linear(16, 16) for _ in range(5)),
            nn.Linear(16, 4),
            residual,
        )
        for layer in self.layers[1:] if copied else ():
            layer.load_state_dict(self.layers[0].state_dict())

    def forward(self, x):
        for layer in self.layers:
            x = x + 0.4 * layer(x).tanh() if self.residual else layer(x).tanh()
        return self.head(x)


@pytest.mark.parametrize(("residual", "expected"), [(True, SUSPECT), (False, HOLDS)])
def test_copies_are_suspect_in_branches_and_a_note_one_after_another(residual, expected):
    found = verdict(wp.check_weights(posed(Copies(residual=residual))), "WP302")
    assert (found.verdict, found.cause) == (expected, "copied-layers")
    assert "start with the same weights (4 layers repeat another's)" in found.message
    assert verdict(wp.check_weights(posed(Copies(residual=residual, copied=False))), "WP302").cause == ""


# --- parameters that do nothing ------------------------------------------------------------------------


class Idle(nn.Module):
    """`idle` is never called; `dropped` layers are left out of a step with that chance; a detached part stands elsewhere."""

    def __init__(self, idle=0, dropped=0.0):
        super().__init__()
        torch.manual_seed(3)
        self.body, self.head, self.aside = nn.Linear(16, 32), nn.Linear(32, 4), nn.Linear(16, 32)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        self.idle = nn.Linear(idle, 1) if idle else None
        self.dropped = dropped

    def forward(self, x):
        h = self.body(x).tanh() + self.aside(x) + 0.1 * self.aside(x).detach()
        for layer in self.layers:
            if torch.rand(()) >= self.dropped:
                h = h + layer(h).tanh()
        return self.head(h)


@pytest.mark.parametrize(("idle", "expected"), [(2000, SUSPECT), (40, HOLDS)])
def test_what_is_unused_is_suspect_by_its_share(idle, expected):
    found = verdict(wp.check_objective(posed(Idle(idle))), "WP403")
    assert (found.verdict, found.cause, found.where) == (expected, "unused", "idle.weight")
    assert found.message == "`idle.weight`, `idle.bias` get no gradient: the loss does not depend on them."


def test_layers_that_are_left_out_at_random_are_not_unused():
    problem = posed(Idle(dropped=0.5))
    before = torch.get_rng_state()
    for rule in ("WP403", "WP505"):
        found = verdict(wp.checkup(problem), rule)
        assert (found.verdict, found.cause) == (HOLDS, ""), found
    assert torch.equal(torch.get_rng_state(), before)


# --- mixtures of experts -------------------------------------------------------------------------------


class Experts(nn.Module):
    def __init__(self, sharpness=1.0):
        super().__init__()
        torch.manual_seed(4)
        self.router, self.head = nn.Linear(16, 4, bias=False), nn.Linear(16, 4)
        self.experts = nn.Parameter(0.3 * draws(4, 16, 16, seed=5))
        self.sharpness = sharpness

    def forward(self, x):
        chance = torch.softmax(
            self.router(x) * self.sharpness if self.sharpness == 1 else self.router(self.sharpness * x), -1
        )
        weight, chosen = chance.flatten(0, 1).max(-1)
        order = chosen.argsort(stable=True)
        rows = x.flatten(0, 1)[order]
        ends = torch.bincount(chosen, minlength=4).cumsum(0).to(torch.int32)
        made = torch._grouped_mm(rows, self.experts, offs=ends)
        back = torch.empty_like(made).index_copy(0, order, made) * weight[:, None]
        return self.head((x.flatten(0, 1) + back).unflatten(0, x.shape[:2]).mean(1))


def test_a_router_is_no_attention_and_experts_are_checked_in_float64():
    report = wp.checkup(posed(Experts(sharpness=60.0), draws(32, 5, 16)))
    assert report.problem.checked_in == "float64"
    assert verdict(report, "WP205").cause != "attention-not-scaled"
    assert report.ok


@pytest.mark.parametrize(
    ("a", "b", "ends"),
    [((8, 16), (3, 16, 8), [3, 3, 8]), ((8, 16), (3, 16, 8), [2, 4, 6]), ((16, 8), (8, 16), [3, 3, 8]),
     ((3, 16, 8), (3, 8, 16), None), ((3, 8, 16), (16, 8), [3, 3, 8])],
)  # fmt: skip
def test_the_grouped_product_written_out_is_torch_s(a, b, ends):
    one, two = draws(*a), draws(*b, seed=2)
    offsets = None if ends is None else torch.tensor(ends, dtype=torch.int32)
    theirs = torch._grouped_mm(one, two, offs=offsets)
    last = theirs.shape[0] if ends is None or len(a) == 3 or len(b) == 2 else ends[-1]
    torch.testing.assert_close(_grouped_mm(one, two, offsets)[:last], theirs[:last])


@pytest.mark.parametrize("seed", range(4))
def test_jumps_beside_the_point_are_no_wrong_gradient_where_float64_is_not_to_be_had(seed):
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(seed)
            self.front, self.gate, self.experts = (
                nn.Linear(16, 16),
                nn.Linear(16, 8),
                nn.ModuleList(nn.Linear(16, 4) for _ in range(8)),
            )

        def forward(self, x):
            if x.dtype is DOUBLE:
                raise RuntimeError("a kernel for float32 alone")
            h = self.front(x).tanh()
            chance, chosen = self.gate(3 * h).softmax(-1).max(-1)
            every = torch.stack([expert(h) for expert in self.experts], 1)
            return chance[:, None] * every[torch.arange(len(h)), chosen]

    x, labels = draws(512, 16, seed=seed), torch.randint(4, (512,), generator=torch.Generator().manual_seed(seed))
    report = wp.check_gradients(wp.TorchProblem(Routed(), nn.CrossEntropyLoss(), (x, labels)))
    assert report.ok, str(report)


# --- a loss whose terms cancel -------------------------------------------------------------------------


def test_a_float64_copy_is_known_where_the_terms_of_a_loss_cancel():
    advantage = draws(64)
    advantage = (advantage - advantage.mean()) / advantage.std()

    def loss(outputs, weight):
        ratio = (outputs[:, 0] - outputs[:, 0].detach()).exp()
        return -(ratio * weight).mean()

    problem = wp.TorchProblem(
        nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)), loss, (draws(64, 16), advantage)
    )
    assert abs(problem.value(problem.theta())) < 1e-7
    assert problem.precise().dtype == "float64"


# --- the residual stream -------------------------------------------------------------------------------


class Stream(nn.Module):
    """`rescaled`: each branch ends in a normalisation that is written out, which no module shows."""

    def __init__(self, rescaled, scale=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.head = nn.ModuleList(nn.Linear(32, 32) for _ in range(8)), nn.Linear(32, 4)
        self.embed, self.rescaled, self.scale = nn.Linear(16, 32), rescaled, scale
        nn.init.normal_(self.embed.weight, std=0.005)

    def forward(self, x):
        h = self.embed(x)
        for layer in self.layers:
            branch = layer(h / h.square().mean(-1, keepdim=True).add(1e-9).sqrt()) * self.scale
            h = h + (branch * branch.square().mean(-1, keepdim=True).add(1e-9).rsqrt() if self.rescaled else branch)
        return self.head(h)


def test_a_small_embedding_before_normalised_branches_is_no_growth():
    assert verdict(wp.check_weights(posed(Stream(rescaled=True))), "WP306").verdict is HOLDS


# --- units that are dead -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 2])
def test_all_units_dead_is_told_as_that_and_nothing_else(place):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    nn.init.constant_(model[place].bias, -50.0)
    report = wp.checkup(posed(model))
    first = report.findings[0]
    assert (first.rule, first.where) == ("WP204", str(place))
    assert "units dead for the whole batch: 64 of 64" in " ".join(str(report).split())
    assert all(finding.follows for finding in report.findings if finding.found and finding is not first)
    assert not any(word in str(report) for word in ("detach", "sigmoid"))


# --- remedies that are carried out ---------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = getattr(nn, kind)(8, 32, batch_first=True), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize(("kind", "cause"), [("RNN", "forgets"), ("LSTM", "gates-closed"), ("GRU", "gates-closed")])
def test_the_remedy_for_a_short_horizon_makes_it_long_enough(kind, cause):
    import math

    model, x = Recurrent(kind), draws(32, 150, 8)
    found = verdict(wp.check_signals(posed(model, x)), "WP208")
    assert (found.verdict, found.cause) == (SUSPECT, cause)
    exec(found.remedies[0].code, {"rnn": model.rnn, "steps": 150, "torch": torch, "nn": nn, "math": math})
    assert verdict(wp.check_signals(posed(model, x)), "WP208").verdict is HOLDS


# --- differences that cost nothing ---------------------------------------------------------------------


class Off(torch.autograd.Function):
    @staticmethod
    def forward(context, x, part):
        context.save_for_backward(x)
        context.part = part
        return x**3

    @staticmethod
    def backward(context, cotangent):
        return 3 * context.saved_tensors[0] ** 2 * cotangent * (1 + context.part), None


def cube(part):
    return lambda x: Off.apply(x, part)


@pytest.mark.parametrize(
    ("part", "expected", "cause"), [(0.0, HOLDS, ""), (1e-9, HOLDS, "slight"), (1e-6, FAILS, "scale")]
)
def test_a_difference_of_next_to_nothing_is_a_note(part, expected, cause):
    found = verdict(wp.gradcheck(cube(part), draws(6).to(DOUBLE).requires_grad_()), "WP501")
    assert (found.verdict, found.cause) == (expected, cause)


def test_a_difference_that_torch_would_not_see_passes_a_drop_in_check_with_a_warning():
    x = draws(6).to(DOUBLE).requires_grad_()
    with pytest.warns(
        testing.WithinTolerance, match=r"within the tolerances \(rtol=1e-05, and no tolerance was given\)"
    ):
        assert testing.gradcheck(cube(1e-6), x)
    with pytest.raises(AssertionError, match="gradient wrong"):
        testing.gradcheck(cube(1e-4), x)


def test_a_drop_in_check_is_of_the_inputs_alone():
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(draws(6, seed=2).to(DOUBLE))

        def forward(self, x):
            return x * Off.apply(self.weight, 0.1)

    layer, x = Wrong(), draws(6).to(DOUBLE).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert testing.gradcheck(layer, x)
        assert testing.gradgradcheck(layer, x)
    assert not wp.gradcheck(layer, x).ok


def test_a_function_s_gradient_fails_with_the_line_of_what_it_leaves_out():
    def centred(x):
        return (x - x.detach().mean()) ** 2

    found = verdict(wp.gradcheck(centred, draws(6).to(DOUBLE).requires_grad_()), "WP501")
    assert (found.verdict, found.cause) == (FAILS, "detached")
    assert found.message.startswith("The gradient leaves out what passes the detach() at test_notes.py:")


# --- numbers near the ends of float64 ------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e300, 1.7e308])
def test_inputs_near_the_ends_of_float64_are_checked_and_drawn(size, tmp_path):
    x = size * np.random.default_rng(0).uniform(0.5, 1, (40, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        wp.check_inputs(x).to_html(tmp_path / "report.html")
        for bound in (x, np.full((40, 3), size)):
            assert np.isfinite(wp.Standardizer(early_stop=0.01).fit(bound).mean_).all()


@pytest.mark.parametrize(("size", "words"), [(1e300, "their squares overflow"), (1e-300, "their squares vanish")])
def test_what_cannot_be_decorrelated_is_said(size, words):
    with pytest.raises(wp.InputError, match=words):
        wp.Standardizer(whiten="zca").fit(size * np.random.default_rng(0).standard_normal((50, 3)))


JSON = [
    ("count", [True, 50]), ("m2", [-5.0, 1.0]), ("m2", [1e999, 1.0]), ("unit", [10**9, 0]), ("unit", [0.5, 0]),
    ("min", [9e9, 0.0]), ("shift", [1.0]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values"), JSON)
def test_moments_that_nobody_wrote_are_refused(name, values):
    plain = wp.Moments.of(np.random.default_rng(0).standard_normal((50, 2))).to_dict()
    assert wp.Moments.from_dict(plain).count.tolist() == [50, 50]
    with pytest.raises(wp.InputError, match="no JSON that"):
        wp.Moments.from_dict(plain | {name: values})


@pytest.mark.parametrize(
    ("name", "values"),
    [("exponent", 10**12), ("exponent", True), ("sum", [1.5, 2.0]), ("squares", ["-7", "1"]), ("count", [0.5, 2])],
)
def test_exact_moments_that_nobody_wrote_are_refused(name, values):
    plain = wp.Moments.of(np.arange(12.0).reshape(6, 2), reproducible=True).to_dict()
    with pytest.raises(wp.InputError, match="no JSON that"):
        wp.Moments.from_dict(plain | {name: values})
