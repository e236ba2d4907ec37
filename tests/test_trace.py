"""`wp.trace`: what every layer makes and gets back, beside theory, whatever the style in which the network is written."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint
from zoo_own import OWN

import wellposed as wp
from networks import batch, classify, he, mlp, resnet
from networks import images as image_batch


def wide(activation, depth, width=256, gain=1.0, rows=64):
    layers = [module for _ in range(depth) for module in (nn.Linear(width, width), activation())]
    model = nn.Sequential(*layers, nn.Linear(width, 8))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, gain / width**0.5)
            nn.init.zeros_(module.bias)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(rows, width), torch.arange(rows) % 8))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.SiLU, nn.Softplus])
def test_growth_is_what_theory_expects(activation):
    trace = wp.trace(wide(activation, 20))
    sites = trace.trunk[:-1]
    measured = (sites[0].gradient / sites[-1].gradient) ** (1 / 19)
    expected = math.exp(np.mean(np.log([e.factor for e in trace.theory[:19]])))
    assert measured == pytest.approx(expected, rel=0.05)
    lengths = [(site.forward.rms, e.rms) for site, e in zip(sites, trace.theory, strict=False)]
    for is_, should_be in lengths:
        assert is_ == pytest.approx(should_be, rel=0.35)
    assert trace.depth.layers == 21


def test_batch_and_layer_normalisation_have_a_theory_too():
    for norm, factor in ((nn.BatchNorm1d, math.sqrt(0.5 / (0.5 - 1 / (2 * math.pi)))), (nn.LayerNorm, 1.0)):
        layers = [module for _ in range(12) for module in (nn.Linear(256, 256), norm(256), nn.ReLU())]
        model = he(nn.Sequential(*layers, nn.Linear(256, 8)))
        trace = wp.trace(classify(model, (torch.randn(128, 256), torch.arange(128) % 8)))
        assert all(e.factor == pytest.approx(factor, rel=0.05) for e in trace.theory[:11])
        sizes = [site.gradient for site in trace.trunk[:12]]
        assert (sizes[0] / sizes[-1]) ** (1 / 11) == pytest.approx(factor, rel=0.05)


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 9), shift=st.floats(-100, 100))
def test_sizes_are_those_of_numpy(seed, rows, shift):
    from wellposed.backends.measured import signal_of
    from wellposed.backends.torch.tracing.sizes import signal

    values = np.random.default_rng(seed).standard_normal((rows, 3, 4)) + shift
    values[values > 1] = 0
    ours, theirs = signal(torch.tensor(values)), signal_of(values)
    for field in ("mean_square", "norm", "zeros", "rows"):
        assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-12)
    assert ours.batch_variance == pytest.approx(theirs.batch_variance, rel=1e-9)
    flat = values.reshape(rows, -1)
    gram = flat @ flat.T
    pairs = (gram.sum() - np.trace(gram)) / (rows * (rows - 1))
    if np.trace(gram) > 0:
        assert ours.similarity == pytest.approx(pairs / (np.trace(gram) / rows), abs=1e-9)


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e200, 1e306])
def test_sizes_do_not_under_or_overflow(size):
    from wellposed.backends.torch.tracing.sizes import signal

    found = signal(torch.tensor([[size, 0.0], [size, size]], dtype=torch.float64))
    assert found.finite
    assert found.norm == pytest.approx(size * math.sqrt(1.5), rel=1e-3)


class Functional(nn.Module):
    """Weights used without modules, an in-place activation on a view, a tied head, a custom backward pass."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Parameter(torch.randn(16, 12) / 4)
        self.inner = nn.Parameter(torch.randn(12, 12) / 3)

    def forward(self, x):
        h = x @ self.embed
        h.view(-1, 12).relu_()
        h = Doubled.apply(torch.einsum("ni,ij->nj", h, self.inner))
        return F.linear(torch.tanh(h), self.embed)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def test_functional_style_is_seen_through_views_in_place_and_custom_functions():
    x, _ = batch()
    problem = wp.TorchProblem(Functional(), nn.MSELoss(), (x, x))
    trace = wp.trace(problem)
    assert [site.name for site in trace.sites] == ["embed", "inner", "embed"]
    kinds = [operation.kind for operation in trace.operations]
    assert kinds == ["linear", "activation", "linear", "activation", "linear"]
    assert trace.operations[3].inputs == (2,)  # behind the custom function
    hooked = {}
    outputs = []
    model = problem.model
    h = x @ model.embed
    outputs.append(h)
    g = torch.einsum("ni,ij->nj", torch.relu(h), model.inner)
    outputs.append(g)
    loss = F.mse_loss(F.linear(torch.tanh(2 * g), model.embed), x)
    for k, gradient in enumerate(torch.autograd.grad(loss, outputs)):
        hooked[k] = float(gradient.norm()) / math.sqrt(len(x))
    assert trace.operations[0].gradient.norm == pytest.approx(hooked[0], rel=1e-5)
    assert trace.operations[2].gradient.norm == pytest.approx(hooked[1], rel=1e-5)


def test_packed_attention_and_transformers_are_seen():
    trace = wp.trace(OWN["own encoder, norm first, 6"](0))
    names = {site.name for site in trace.sites}
    assert {
        "body.layers.3.self_attn",
        "body.layers.3.self_attn.out_proj",
        "body.layers.3.linear1",
        "head",
        "embed",
    } <= names
    assert len(trace.branches) == 12
    entropies = [operation.entropy for operation in trace.operations if operation.entropy is not None]
    assert len(entropies) == 6
    assert all(0.5 < entropy <= 1 for entropy in entropies)


def test_entropy_of_attention_is_that_of_its_rows():
    from wellposed.backends.torch.tracing.sizes import attention_entropy

    q, k = torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 8)
    p = torch.softmax((q @ k.transpose(-1, -2) / 8**0.5).double(), -1)
    assert attention_entropy(q, k) == pytest.approx(float((-(p * p.log()).sum(-1) / math.log(7)).mean()), rel=1e-5)
    p = torch.softmax(
        (q @ k.transpose(-1, -2) / 8**0.5).double().masked_fill(torch.ones(7, 7, dtype=torch.bool).triu(1), -torch.inf),
        -1,
    )
    rows = [
        float(-(row[: n + 1] * row[: n + 1].log()).sum() / math.log(n + 1))
        for head in p[0]
        for n, row in enumerate(head)
        if n
    ]
    assert attention_entropy(q, k, causal=True) == pytest.approx(np.mean(rows), rel=1e-5)
    assert attention_entropy(torch.randn(1, 1, 2000, 4), torch.randn(1, 1, 2000, 4)) is None


def test_checkpointing_is_seen():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x):
            h = checkpoint(lambda h: torch.relu(self.two(h)), torch.relu(self.one(x)), use_reentrant=False)
            return self.three(h)

    trace = wp.trace(classify(Checkpointed()))
    assert [site.name for site in trace.sites] == ["one", "two", "three"]
    assert trace.sites[0].gradient > 0


def test_a_residual_network_has_a_stream_and_branches():
    trace = wp.trace(classify(resnet(), image_batch()))
    assert [site.layer.kind for site in trace.trunk].count("add") == 4
    assert len(trace.branches) == 4
    assert all(0.1 < branch.share < 10 for branch in trace.branches)


def test_positions_that_are_no_signal_do_not_hide_the_trunk():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
            self.places, self.head = nn.Embedding(4, 16), nn.Linear(16, 4)

        def forward(self, x):
            for k, layer in enumerate(self.layers):
                x = torch.relu(layer(x)) + self.places(torch.tensor(k))
            return self.head(x)

    assert {"layers.0", "layers.1", "layers.2", "layers.3", "head"} <= {
        site.name for site in wp.trace(classify(Positions())).trunk
    }


def test_inputs_read_again_are_another_way():
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(16, 16), nn.Linear(32, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(torch.relu(self.two(torch.cat([torch.relu(self.one(x)), x], 1))))

    assert [site.name for site in wp.trace(classify(Again())).trunk] == ["one", "two", "head"]


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.3])
def test_lyapunov_exponents_of_a_linear_recurrence_are_its_logarithms(radius):
    model = nn.RNN(8, 12, bias=False, batch_first=True)
    nn.init.orthogonal_(model.weight_hh_l0).data.mul_(radius)
    # At inputs of zero the state stays where tanh has a slope of exactly 1.
    problem = wp.TorchProblem(
        model, lambda out, t: (out[0] + 1).square().mean(), (torch.zeros(4, 20, 8), torch.zeros(4))
    )
    (found,) = wp.trace(problem).recurrences
    assert found.steps == 20
    assert not found.last_only
    assert found.exponents == pytest.approx(np.full(4, math.log(radius)), abs=1e-6)


@pytest.mark.parametrize("kind", ["lstm, last", "gru, every step, 50 steps", "rnn, every step"])
def test_exponents_agree_with_the_gradient_over_time(kind):
    problem = OWN[f"own {kind}"](0)
    (found,) = wp.trace(problem).recurrences
    body, x = problem.model.body, problem.batch[0].double()
    body = body.double()
    states = [None]
    h = None
    for step in x.unbind(1)[:20]:
        _, h = body(step[:, None], h)
        states.append(h)
    last, first = (h[1], states[6][1]) if isinstance(h, tuple) else (h, states[6])
    gradient = torch.autograd.grad(last[0, 0] @ torch.randn(32, dtype=torch.float64), first)[0][0, 0]
    slope = math.log(float(gradient.norm())) / 14
    assert slope == pytest.approx(found.exponents[0], abs=0.15)
    problem.model.float()


def test_loops_by_hand_are_found_and_measured():
    trace = wp.trace(OWN["own rnn cells"](0))
    (loop,) = trace.loops
    assert (loop.name, len(loop.gradients)) == ("cell", 20)


def test_updates_are_those_of_the_optimizer():
    model = mlp()
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), batch(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
    trace = wp.trace(problem)
    for name, size in trace.parameters.items():
        assert trace.updates[name] == pytest.approx(0.1 * size.gradient / size.rms, rel=1e-3)
    assert "first update over weight" in str(trace)


def test_numpy_networks_show_their_layers_themselves():
    random = np.random.default_rng(0)
    X, params = random.standard_normal((32, 8)), {f"W{k}": random.standard_normal((8, 8)) / 8 for k in range(12)}

    def forward(p):
        hs = [X]
        for k in range(12):
            hs.append(np.tanh(hs[-1] @ p[f"W{k}"]))
        return hs

    def backward(p):
        hs = forward(p)
        d, out, shown = hs[-1] / hs[-1].size, {}, {}
        for k in reversed(range(12)):
            d = d * (1 - hs[k + 1] ** 2)
            out[f"W{k}"], shown[f"layer {k}"] = hs[k].T @ d, (np.arctanh(hs[k + 1]), d)
            d = d @ p[f"W{k}"].T
        return out, dict(reversed(shown.items()))

    problem = wp.FunctionProblem(
        lambda p: 0.5 * (forward(p)[-1] ** 2).mean(),
        lambda p: backward(p)[0],
        params,
        activations=lambda p: backward(p)[1],
    )
    report = wp.check_signals(problem)
    (found,) = [finding for finding in report.findings if finding.rule == "WP201"]
    assert found.verdict is wp.Verdict.FAILS
    assert wp.trace(problem).sites[3].name == "layer 3"
    plain = wp.FunctionProblem(lambda p: 0.5 * (forward(p)[-1] ** 2).mean(), lambda p: backward(p)[0], params)
    with pytest.raises(wp.InputError, match="shows no layers") as error:
        wp.trace(plain)
    assert "activations=" in str(error.value)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (lambda p: [1, 2], "must return a mapping"),
        (lambda p: {"a": "text"}, "for 'a'"),
        (lambda p: {"a": (np.zeros((3, 2)), np.zeros((2, 3)))}, "of the same shape"),
    ],
)
def test_activations_that_are_none_get_one_message(shown, words):
    problem = wp.FunctionProblem(
        lambda p: float(p["w"] @ p["w"]), lambda p: {"w": 2 * p["w"]}, {"w": np.ones(3)}, activations=shown
    )
    with pytest.raises(wp.InputError) as error:
        wp.trace(problem)
    assert words in str(error.value)


def test_jax_networks_are_traced_with_theory():
    keys = jax.random.split(jax.random.key(0), 10)
    params = [{"w": jax.random.normal(key, (128, 128)) / 128**0.5} for key in keys]

    def loss(params, x):
        for layer in params:
            x = jnp.tanh(x @ layer["w"])
        return jnp.mean((x - 1) ** 2)

    trace = wp.trace(wp.JaxProblem(loss, params, jax.random.normal(keys[0], (64, 128))))
    sizes = [site.gradient for site in trace.trunk]
    assert len(sizes) == 10
    expected = np.prod([e.factor for e in trace.theory[:8]])
    assert sizes[0] / sizes[8] == pytest.approx(expected, rel=0.2)
    assert trace.operations[1].flat.bounded


def test_a_trace_leaves_the_problem_as_it_was():
    model = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))
    problem = classify(model)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    wp.trace(problem)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_trace_reads_like_this(snapshot):
    torch.manual_seed(0)
    assert str(wp.trace(classify(resnet(), image_batch()))) == snapshot
    assert str(wp.trace(OWN["own mlp tanh 10, xavier"](0))) == snapshot
    assert str(wp.trace(OWN["own lstm, last"](0))) == snapshot


def test_what_is_no_problem_gets_one_message():
    with pytest.raises(wp.InputError, match="needs a problem, not a Sequential"):
        wp.trace(mlp())


def verdicts(problem):
    return {
        (f.rule, f.verdict, f.where) for f in wp.check_signals(problem).findings if f.rule not in ("WP204", "WP206")
    }


@given(seed=st.integers(0, 1000), gain=st.sampled_from([0.4, 1.0, 1.4, 2.5]), depth=st.sampled_from([4, 12]))
def test_neither_batch_order_nor_a_wrapping_module_changes_a_verdict(seed, gain, depth):
    torch.manual_seed(seed)
    model = he(mlp(depth=depth))
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.Linear):
                module.weight.mul_(gain)
    x, y = batch(seed=seed)
    plain = verdicts(classify(model, (x, y)))
    order = torch.randperm(len(x))
    assert verdicts(classify(model, (x[order], y[order]))) == plain
    wrapped = {
        (rule, verdict, where.removeprefix("0."))
        for rule, verdict, where in verdicts(classify(nn.Sequential(model), (x, y)))
    }
    assert wrapped == plain


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_width_changes_no_verdict(gain):
    found = []
    for width in (64, 256, 512):
        model = he(mlp(depth=16, width=width))
        with torch.no_grad():
            for module in model:
                if isinstance(module, nn.Linear):
                    module.weight.mul_(gain)
        found.append(verdicts(classify(model)))
    assert found[0] == found[1] == found[2]


# --- what a reviewer broke ---------------------------------------------------------------------


class ByState(nn.Module):
    """A classifier that reads a recurrent network's last state and not its outputs."""

    def __init__(self, kind, **options):
        super().__init__()
        self.body, self.head = kind(8, 24, batch_first=True, **options), nn.Linear(24, 4)

    def forward(self, x):
        _, state = self.body(x)
        return self.head((state[0] if isinstance(state, tuple) else state)[-1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_network_may_be_read_by_its_state(kind):
    problem = wp.TorchProblem(ByState(kind), nn.CrossEntropyLoss(), (torch.randn(8, 15, 8), torch.arange(8) % 4))
    report = wp.check_signals(problem)
    assert report.ok, str(report)
    (found,) = wp.trace(problem).recurrences
    assert found.last_only
    assert wp.trace(problem).sites[0].gradient > 0


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}])
def test_the_wildest_layer_and_direction_counts(options):
    model = nn.RNN(6, 64, batch_first=True, **options)
    wild = model.weight_hh_l1 if "num_layers" in options else model.weight_hh_l0_reverse
    nn.init.normal_(wild, 0, 0.5)
    problem = wp.TorchProblem(model, lambda out, t: out[0].square().mean(), (torch.randn(8, 80, 6), torch.zeros(8)))
    (found,) = [finding for finding in wp.check_signals(problem).findings if finding.rule == "WP208"]
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "chaotic")


def test_packed_sequences_are_undecided_with_the_reason():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 3, 2]), batch_first=True)
            return self.head(self.body(packed)[1][-1])

    report = wp.check_signals(wp.TorchProblem(Packed(), nn.CrossEntropyLoss(), (torch.randn(4, 5, 8), torch.arange(4))))
    assert report.ok, str(report)
    assert "reads packed sequences" in str(report).replace("\n           ", " ")


def test_tensors_without_rows_are_no_signal():
    problem = wp.TorchProblem(nn.Linear(8, 3), lambda m: m(torch.ones(4, 8)).sum() + m(torch.ones(0, 8)).sum())
    assert len(wp.trace(problem).sites) == 2
    assert wp.check_signals(problem).ok


@pytest.mark.parametrize("where", ["batch[0]", "0.weight"])
def test_nan_that_came_in_is_told(where):
    x, y = batch()
    model = mlp()
    problem = classify(model, (x, y))
    if where == "batch[0]":
        x[3, 3] = float("nan")
    else:
        model[0].weight.data[0, 0] = float("nan")
    (found,) = [finding for finding in wp.check_signals(problem).findings if finding.rule == "WP207"]
    assert (found.verdict, found.where) == (wp.Verdict.FAILS, where)
    assert f"it came in with `{where}`" in found.message


def test_a_cut_before_the_head_is_told():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(classes=8), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.body(x).detach())

    (found,) = [finding for finding in wp.check_signals(classify(Cut())).findings if finding.rule == "WP201"]
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "detached")
    assert "while `head` has one" in found.message


def test_behind_a_head_of_zeros_is_looked_after_a_step():
    sound, broken = he(mlp(depth=6)), mlp(depth=12, activation=nn.Sigmoid)
    for model in (sound, broken):
        nn.init.zeros_(model[-1].weight)
    assert wp.check_signals(classify(sound)).ok
    (found,) = [finding for finding in wp.check_signals(classify(broken)).findings if finding.rule == "WP201"]
    assert found.verdict is wp.Verdict.FAILS
    assert "small step" in found.message


def test_of_several_passes_one_is_shown():
    model = mlp(depth=5)
    near, far = batch()[0], batch(seed=1)[0] * 1e-4
    trace = wp.trace(wp.TorchProblem(model, lambda m: m(far).mean() - m(near).mean()))
    indices = [site.index for site in trace.trunk]
    assert len(indices) == 6
    assert max(indices) - min(indices) <= 11


def test_functions_of_jax_with_derivatives_of_their_own_keep_them():
    @jax.custom_jvp
    def straight(x):
        return jnp.sign(x)

    straight.defjvp(lambda primals, tangents: (jnp.sign(primals[0]), tangents[0]))
    params = {"a": jax.random.normal(jax.random.key(0), (8, 8)), "b": jax.random.normal(jax.random.key(1), (8, 8))}
    trace = wp.trace(
        wp.JaxProblem(lambda p, x: jnp.mean((straight(x @ p["a"]) @ p["b"] - 1) ** 2), params, jnp.ones((4, 8)))
    )
    assert trace.sites[0].gradient > 0


def test_rematerialised_networks_of_jax_are_seen():
    params = {"a": jnp.eye(8), "b": jnp.eye(8)}

    def loss(p, x):
        return jnp.mean(jax.checkpoint(lambda x: jnp.tanh(x @ p["a"]) @ p["b"])(x) ** 2)

    assert [site.name for site in wp.trace(wp.JaxProblem(loss, params, jnp.ones((4, 8)))).sites] == ["a", "b"]


def test_a_transformed_function_within_the_loss_is_left_alone():
    model = nn.Linear(8, 3)

    def loss(m):
        slopes = torch.func.vmap(torch.func.grad(lambda x: m(x).sum()))(torch.ones(4, 8))
        return slopes.square().mean() + m(torch.ones(4, 8)).square().mean()

    assert len(wp.trace(wp.TorchProblem(model, loss)).sites) == 1


def test_parameters_of_a_list_keep_their_numbers():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.ParameterList(nn.Parameter(torch.randn(16, 16) / 4) for _ in range(3))

        def forward(self, x):
            for w in self.W:
                x = torch.tanh(x @ w)
            return x

    assert [site.name for site in wp.trace(classify(Listed())).sites] == ["W.0", "W.1", "W.2"]


class Towers(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.one, self.two, self.head = he(mlp(depth=3, classes=8)), he(mlp(depth=6, classes=8)), nn.Linear(16, 4)
        self.two[4].weight.data.mul_(factor)

    def forward(self, x):
        return self.head(torch.cat([self.one(x), self.two(x)], 1))


def test_of_two_towers_the_deeper_is_followed():
    trace = wp.trace(classify(Towers(1.0)))
    assert [site.name for site in trace.trunk] == [*(f"two.{k}" for k in range(0, 13, 2)), "head"]
    (found,) = [finding for finding in wp.check_signals(classify(Towers(1e-5))).findings if finding.rule == "WP201"]
    assert (found.verdict, found.where) == (wp.Verdict.FAILS, "two.4")


def test_what_lies_aside_of_every_way_is_said_so():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(16, 4) for _ in range(5))

        def forward(self, x):
            return torch.cat([part(x) for part in self.parts], 1)

    (found,) = [finding for finding in wp.check_signals(classify(Wide())).findings if finding.rule == "WP201"]
    assert found.verdict is wp.Verdict.NOT_APPLICABLE
    assert "Of 5 weighted layers fewer than two lie on every way" in found.message


def test_an_output_that_the_loss_does_not_read_is_no_way():
    class Extra(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.aside, self.head = (nn.Linear(16, 16) for _ in range(4))

        def forward(self, x):
            h = torch.relu(self.one(x))
            return self.head(torch.relu(self.two(h))), self.aside(h).detach()

    problem = wp.TorchProblem(Extra(), lambda out, t: nn.functional.cross_entropy(out[0], t), batch())
    assert [site.name for site in wp.trace(problem).trunk] == ["one", "two", "head"]


def test_a_gradient_penalty_takes_a_pass_of_its_own():
    critic = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    real, fake = torch.randn(8, 8), torch.randn(8, 8)

    def loss(m):
        between = (0.5 * real + 0.5 * fake).requires_grad_()
        (slope,) = torch.autograd.grad(m(between).sum(), between, create_graph=True)
        return m(fake).mean() - m(real).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()

    problem = wp.TorchProblem(critic, loss)
    assert all(site.gradient > 0 for site in wp.trace(problem).trunk)
    assert wp.check_signals(problem).ok


def test_a_cell_used_step_by_step_is_one_layer():
    class Stepped(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(8, 24), nn.Linear(24, 4)

        def forward(self, x):
            h = None
            for step in x.unbind(1):
                h = self.cell(step, h)
            return self.head(h)

    problem = wp.TorchProblem(Stepped(), nn.CrossEntropyLoss(), (torch.randn(8, 20, 8), torch.arange(8) % 4))
    assert [site.name for site in wp.trace(problem).trunk] == ["cell", "head"]
    assert wp.check_signals(problem).ok


def _root_mean_square_norm(h):
    return h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + 1e-6)


def _layer_norm(h):
    return (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-6)


@pytest.mark.parametrize("norm", [_root_mean_square_norm, _layer_norm])
@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (jax.nn.gelu, "gelu_tanh"),
        (lambda h: h * jax.nn.sigmoid(1.702 * h), "quick_gelu"),
        (lambda h: jnp.maximum(h, 0) ** 2, "relu_squared"),
        (lambda h: jnp.where(h > 0, h, 0.3 * h), "elementwise"),
        (lambda h: jax.nn.elu(h.astype(jnp.float16)).astype(h.dtype), "elu"),
        (jax.nn.relu, "relu"),
        (jnp.square, "square"),
    ],
)
def test_activations_and_normalisations_of_jax_are_seen_in_however_many_equations_they_are_written(
    activation, name, norm
):
    keys = jax.random.split(jax.random.key(0), 4)
    params = {layer: jax.random.normal(key, (16, 16)) / 4 for layer, key in zip("abc", keys, strict=False)}

    def loss(p, x):
        return jnp.mean((norm(activation(x @ p["a"]) @ p["b"]) @ p["c"]) ** 2)

    x = jax.random.normal(keys[3], (8, 16))
    operations = wp.trace(wp.JaxProblem(loss, params, x)).operations
    assert [operation.kind for operation in operations] == ["linear", "activation", "linear", "norm", "linear"]
    made, z = operations[1], np.linspace(-2, 2, 9)
    assert made.function == name
    assert made.activation(z) == pytest.approx(np.asarray(activation(jnp.asarray(z, jnp.float32))), rel=2e-3, abs=2e-3)
    # The gradient at the activation is that of the loss by what it makes.
    behind = jax.grad(lambda h: jnp.mean((norm(h @ params["b"]) @ params["c"]) ** 2))(activation(x @ params["a"]))
    assert made.gradient.mean_square == pytest.approx(float(jnp.mean(behind**2)), rel=1e-4)
