import itertools
import re
from collections import OrderedDict
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted_weights import Residual
from torch import nn
from weights import ACTIVATIONS, plain

import wellposed as wp
from launched import on_ranks
from networks import Transformer, batch, classify, images, mlp, resnet, sequences
from wellposed.weights.pretrained import is_trained


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softsign])
@pytest.mark.parametrize("shown", [True, False])
def test_a_deep_network_that_failed_holds_afterwards(activation, shown):
    model, data = mlp(depth=16, width=64, activation=activation), batch()
    assert not wp.check_signals(classify(model)).ok
    wp.initialize(model, data if shown else None)
    assert wp.check_signals(classify(model)).ok
    assert wp.check_weights(classify(model)).ok


@pytest.mark.parametrize(
    ("scheme", "deviation"),
    [("he", (2 / 300) ** 0.5), ("lecun", 300**-0.5), ("glorot", (2 / 700) ** 0.5), ("orthogonal", (2 / 300) ** 0.5)],
)
def test_schemes_have_their_deviation(scheme, deviation):
    model = nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Linear(400, 4))
    plan = wp.initialize(model, torch.randn(8, 300), scheme=scheme)
    assert plan.rows[0].target == pytest.approx(deviation)
    assert model[0].weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert plan.rows[0].achieved == pytest.approx(deviation, rel=0.02)


def test_orthogonal_rows_are_orthogonal():
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 4))
    wp.initialize(model, scheme="orthogonal")
    gram = (model[0].weight @ model[0].weight.T).detach().numpy()
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(20), atol=1e-5)


@given(seed=st.integers(0, 2**31))
def test_a_layer_s_weights_depend_on_seed_and_name_alone(seed):
    def weights(depth):
        model = mlp(depth=depth)
        wp.initialize(model, seed=seed)
        return model[0].weight.detach().clone()

    assert torch.equal(weights(2), weights(4))
    assert not torch.equal(weights(2), torch.zeros(()))


def test_convolution_fans():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(8, 6, 4, stride=2), nn.ReLU(), nn.Conv2d(6, 2, 1)
    )
    rows = wp.initialize(model, torch.randn(2, 4, 9, 9), scheme="he").rows
    # Along an axis each of 7 places reaches 4 of the 16 outputs.
    assert 2 / rows[0].target ** 2 == pytest.approx(2 * 9)
    assert 2 / rows[1].target ** 2 == pytest.approx(8 * (7 * 4 / 16) ** 2)


def test_what_is_deliberate_is_left_alone_and_listed():
    model = resnet()
    model[0].weight.requires_grad_(False)
    nn.init.zeros_(model[1].conv2.weight)
    frozen = model[0].weight.clone()
    plan = wp.initialize(model, images()[0])
    assert torch.equal(frozen, model[0].weight)
    assert not model[1].conv2.weight.any()
    assert plan.left_alone == {
        "0.weight": "frozen", "0.bias": "as its weight: frozen",
        "1.conv2.weight": "zero on purpose",
    }  # fmt: skip
    assert "left alone: zero on purpose" in str(plan)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.initialize(mlp(), scheme="best"), "there is no scheme 'best'"),
        (
            lambda: wp.initialize({"w": 1}),
            "takes a torch.nn.Module, a pytree of JAX arrays or a dictionary of NumPy arrays, not a dict",
        ),
        (
            lambda: wp.initialize(nn.Sequential(nn.BatchNorm1d(3))),
            "no Linear, Conv or other layer with weights was seen",
        ),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()


DEEP = ["relu", "gelu", "silu", "tanh", "sigmoid", "softplus", "selu", "hardswish", "tanhshrink"]


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_plain_network_keeps_size_gradient_and_what_tells_inputs_apart(name):
    torch.manual_seed(0)
    depth, x = 60, torch.randn(128, 64)
    model = plain(ACTIVATIONS[name], depth)
    wp.initialize(model, x)
    trace = wp.trace(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, torch.arange(128) % 10)))
    sites = trace.compared
    assert sites[0].gradient / sites[-1].gradient == pytest.approx(1, abs=0.9)
    for site in sites:
        assert site.forward.rms == pytest.approx(sites[0].forward.rms, rel=1e-3)
        assert site.forward.similarity < 0.5


def test_pairs_cancel_what_is_even():
    """phi(u) - phi(-u) = u for ReLU: the whole network is linear at first."""
    model = plain(nn.ReLU, 30)
    wp.initialize(model)
    a, b = torch.randn(2, 8, 64)
    assert torch.allclose(model(a) + model(b), model(a + b), atol=1e-4)


def test_outputs_reach_their_targets_in_two_passes():
    model, calls = mlp(depth=12, width=48, activation=nn.GELU), itertools.count()  # a list would be put back

    def count(*_):
        next(calls)

    model.register_forward_pre_hook(count)
    x = batch()[0] * 3 + 1
    plan = wp.initialize(model, x, scheme="calibrated")
    assert next(calls) == 2
    sizes = []
    for module in model:
        x = module(x)
        if isinstance(module, nn.Linear):
            sizes.append(x.square().mean().sqrt().item())
    assert sizes == pytest.approx([1.0] * 13, rel=1e-3)
    assert [row.reached for row in plan.rows] == pytest.approx([1.0] * 13, rel=1e-3)


def test_every_parameter_is_classified_and_nothing_else_is_changed():
    model = Transformer()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state, mode = torch.get_rng_state(), model.training
    plan = wp.initialize(model, sequences()[0])
    names = {name for name, _ in model.named_parameters()}
    assert names == set(plan.values) | set(plan.left_alone) | set(plan.kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training == mode
    assert all(torch.equal(buffers[name], buffer) for name, buffer in model.named_buffers())


def test_a_dry_run_changes_nothing():
    model = mlp(depth=20)
    before = [parameter.clone() for parameter in model.parameters()]
    plan = wp.initialize(model, batch(), dry_run=True)
    assert all(map(torch.equal, before, model.parameters()))
    assert "looks-linear" in str(plan)
    assert plan.rows[0].reached is None


def test_a_failing_pass_leaves_the_weights_as_they_were():
    class Once(nn.Sequential):
        calls = itertools.count()

        def forward(self, x):
            if next(self.calls):
                raise RuntimeError("out of order")
            return super().forward(x)

    model = Once(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(RuntimeError, match="out of order"):
        wp.initialize(model, batch()[0])
    assert all(map(torch.equal, before, model.parameters()))


def test_what_a_pass_changes_of_the_model_is_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head, self.seen, self.last = nn.Linear(16, 8), nn.Linear(8, 4), [], torch.zeros(())
            self.draw = np.random.default_rng(0)

        def forward(self, x):
            self.seen.append(float(x.mean()) + self.draw.normal())
            self.last += 1
            x.mul_(1.0)
            return self.head(self.layer(x).relu())

    model = Counting()
    wp.initialize(model, batch()[0], dry_run=True)
    assert (model.seen, float(model.last)) == ([], 0.0)
    assert model.draw.normal() == np.random.default_rng(0).normal()


def test_lstm_gates():
    model = nn.LSTM(12, 20, 2, bidirectional=True)
    plan = wp.initialize(model, torch.randn(5, 3, 12))
    forget = model.bias_ih_l0.detach()
    assert forget[20:40].tolist() == [1.0] * 20
    assert not forget[:20].any()
    assert not model.bias_hh_l0.any()
    for gate in model.weight_hh_l1_reverse.detach().chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(20), atol=1e-5)
    assert {row.rule for row in plan.rows} == {"recurrent"}


def test_embeddings_tied_and_not():
    class Tied(nn.Module):
        def __init__(self, tied):
            super().__init__()
            self.tokens, self.head = nn.Embedding(30, 64, padding_idx=0), nn.Linear(64, 30, bias=False)
            if tied:
                self.head.weight = self.tokens.weight

        def forward(self, x):
            return self.head(torch.tanh(self.tokens(x)))

    for tied, size in ((True, 1 / 8), (False, 1.0)):
        model = Tied(tied)
        wp.initialize(model, torch.randint(30, (8, 5)))
        assert model.tokens.weight[1:].std().item() == pytest.approx(size, rel=0.1)
        assert not model.tokens.weight[0].any()


def test_trained_weights_are_left_alone():
    model, (x, y) = mlp(depth=3, width=64), batch(rows=256)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    before = model[2].weight.clone()
    plan = wp.initialize(model, x)
    assert plan.left_alone["2.weight"] == "trained: its values are not as any scheme draws them"
    assert torch.equal(before, model[2].weight)


@pytest.mark.parametrize(
    "draw", [nn.init.normal_, nn.init.uniform_, nn.init.orthogonal_, nn.init.trunc_normal_, nn.init.ones_]
)
def test_no_draw_is_taken_for_training(draw):
    for shape in ((64, 64), (300, 40), (40, 300)):
        weight = draw(torch.empty(shape))
        assert not is_trained(weight.numpy()[None])


def test_before_a_normalisation_the_size_stays_what_it_was():
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    size = model[0].weight.square().mean().sqrt().item()
    plan = wp.initialize(model, batch())
    assert plan.rows[0].rule == "as large"
    assert plan.rows[0].why.endswith("1 / (3 fan_in), PyTorch's default")
    assert model[0].weight.square().mean().sqrt().item() == pytest.approx(size, rel=0.05)
    assert plan.kept == {"1.weight": "of a normalisation", "1.bias": "of a normalisation"}


@pytest.mark.parametrize("scheme", ["he", "orthogonal", "looks-linear", "auto", "calibrated"])
def test_the_same_seed_gives_the_same_weights(scheme):
    class Wrapped(nn.Module):
        """As DistributedDataParallel wraps a model."""

        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x)

    def weights(build, dtype=torch.float32, wrap=False):
        model = build().to(dtype)
        wp.initialize(Wrapped(model) if wrap else model, seed=5, scheme=scheme)
        return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def forwards():
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def backwards():  # built last layer first
        layers = [nn.Linear(32, 2), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(8, 32)]
        return nn.Sequential(*reversed(layers))

    def on_meta():
        with torch.device("meta"):
            return forwards()

    def unset():
        model = forwards()
        for number, parameter in enumerate(model.parameters()):
            nn.init.constant_(parameter, float("nan") if number % 2 else 0.0)
        return model

    mine = weights(forwards)
    for other in (weights(backwards), weights(on_meta), weights(unset), weights(forwards, wrap=True)):
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    rounded = weights(forwards, torch.bfloat16)
    assert all(torch.equal(mine[name].bfloat16(), rounded[name]) for name in mine)


def test_biases_at_the_edge_of_chaos_do_not_depend_on_what_wraps_the_model():
    own, inside = mlp(depth=3, activation=nn.Tanh), mlp(depth=3, activation=nn.Tanh)
    wp.initialize(own, batch())
    wp.initialize(nn.Sequential(OrderedDict(module=inside)), batch())
    assert own[0].bias.any()
    assert all(map(torch.equal, own.parameters(), inside.parameters()))


def test_a_model_on_meta_is_given_memory_and_statistics_but_no_unknown_buffers():
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    x = torch.randn(16, 3, 8, 8)
    state = torch.get_rng_state()
    with pytest.raises(wp.InputError, match=r"parameter '0.weight' is on the meta device.*\n\nHint: model.to_empty"):
        wp.initialize(model, dry_run=True)
    wp.initialize(model, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert model[1].running_var.eq(1).all()
    with torch.device("meta"):
        model.register_buffer("frequencies", torch.zeros(3))
    with pytest.raises(
        wp.InputError, match="buffer 'frequencies' is on the meta device, and what it should hold is not known"
    ):
        wp.initialize(model)


def test_fixup_and_gpt2_by_branches():
    def build():
        torch.manual_seed(0)
        return Residual(count=9)

    model = build()
    wp.initialize(model, torch.randn(32, 64), scheme="fixup")
    assert not model.outer[3].weight.any()
    assert not model.head.weight.any()
    assert model.inner[3].weight.std().item() == pytest.approx((2 / 48) ** 0.5 * 9**-0.5, rel=0.1)
    model = build()
    wp.initialize(model, torch.randn(32, 64), scheme="gpt2")
    assert model.outer[3].weight.std().item() == pytest.approx(0.02 / 3, rel=0.1)
    assert model.inner[3].weight.std().item() == pytest.approx(0.02, rel=0.1)
    model = build()
    rows = {row.layer: row for row in wp.initialize(model, torch.randn(32, 64)).rows}
    assert rows["outer.3"].output == pytest.approx(1 / 3)
    assert rows["outer.3"].why.startswith("ends one of 9 residual branches: 1 / sqrt(9)")


def test_delta_orthogonal_is_at_the_middle_of_the_kernel():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1))
    wp.initialize(model, torch.randn(2, 4, 6, 6), scheme="delta-orthogonal")
    weight = model[0].weight.detach()
    middle = weight[:, :, 1, 1].clone()
    assert torch.allclose(middle @ middle.T, (middle @ middle.T)[0, 0] * torch.eye(4), atol=1e-5)
    weight[:, :, 1, 1] = 0
    assert not weight.any()


def test_siren_is_uniform():
    model = mlp(depth=3, width=64)
    wp.initialize(model, batch(), scheme="siren")
    assert model[0].weight.abs().max().item() == pytest.approx(1 / 16, rel=0.05)
    assert model[2].weight.abs().max().item() == pytest.approx((6 / 64) ** 0.5 / 30, rel=0.05)


# --- JAX -----------------------------------------------------------------------------------------


class Holder:
    """A pytree of one's own, with something in it that is no array."""

    def __init__(self, layers, activation):
        self.layers, self.activation = layers, activation

    def __call__(self, x):
        for weight, bias in self.layers[:-1]:
            x = self.activation(x @ weight + bias)
        return x @ self.layers[-1][0] + self.layers[-1][1]


jax.tree_util.register_pytree_node(
    Holder, lambda h: ((h.layers,), h.activation), lambda activation, layers: Holder(layers[0], activation)
)


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu, jax.nn.silu, jax.nn.gelu])
def test_a_jax_pytree_is_planned_as_a_torch_model_is(activation):
    widths = [16, *[24] * 14, 4]
    layers = [(jnp.ones((into, out)), jnp.ones(out)) for into, out in itertools.pairwise(widths)]
    model, x = Holder(layers, activation), jnp.asarray(batch()[0].numpy())
    plan = wp.initialize(model, lambda model: model(x))
    twin = mlp(
        depth=14,
        width=24,
        activation={
            jnp.tanh: nn.Tanh,
            jax.nn.relu: nn.ReLU,
            jax.nn.silu: nn.SiLU,
            jax.nn.gelu: partial(nn.GELU, "tanh"),
        }[activation],
    )
    mirror = wp.initialize(twin, batch()[0])
    assert [row.rule for row in plan.rows] == [row.rule for row in mirror.rows]
    assert [row.output for row in plan.rows] == pytest.approx([row.output for row in mirror.rows])
    assert isinstance(plan.params, Holder)
    assert not np.array_equal(plan.params.layers[0][0], layers[0][0])
    assert float(model.layers[0][0][0, 0]) == 1.0  # the given arrays stay as they are
    z = x
    for (weight, bias), row in zip(plan.params.layers, plan.rows, strict=True):
        z = z @ weight + bias
        assert float(jnp.sqrt(jnp.mean(z**2))) == pytest.approx(row.output, rel=1e-3)
        z = activation(z)


def test_a_pytree_without_a_function_is_asked_for_one():
    with pytest.raises(wp.InputError, match=r"does not say what its weights do\n\nHint: give a function of it"):
        wp.initialize({"w": jnp.ones((3, 3))})
    with pytest.raises(wp.InputError, match="batch is a function of them that runs the model, not a ndarray"):
        wp.initialize({"w": jnp.ones((3, 3))}, np.ones(3))


# --- NumPy ---------------------------------------------------------------------------------------


def _handwritten(activation, columns, depth=14):
    """A dictionary of arrays and its forward pass; examples as rows, or as columns."""
    random = np.random.default_rng(0)
    widths = [16, *[24] * depth, 4]
    params = {}
    for number, (into, out) in enumerate(itertools.pairwise(widths), 1):
        params[f"W{number}"] = random.normal(size=(out, into) if columns else (into, out))
        params[f"b{number}"] = np.ones((out, 1) if columns else out)

    def forward(p, h):
        outputs = []
        for number in range(1, depth + 2):
            outputs.append(p[f"W{number}"] @ h + p[f"b{number}"] if columns else h @ p[f"W{number}"] + p[f"b{number}"])
            h = activation(outputs[-1])
        return outputs

    return params, forward


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize(
    ("activation", "twin"),
    [
        (np.tanh, nn.Tanh),
        (lambda z: np.maximum(z, 0), nn.ReLU),
        (lambda z: 1 / (1 + np.exp(-z)), nn.Sigmoid),
        (lambda z: z * (z > 0), nn.ReLU),
    ],
    ids=["tanh", "relu", "sigmoid", "relu by a mask"],
)
def test_a_dictionary_of_arrays_is_planned_as_a_torch_model_is(activation, twin, columns):
    params, forward = _handwritten(activation, columns)
    own, x = dict(params), batch()[0].double().numpy()
    x = x.T if columns else x
    plan = wp.initialize(params, lambda p: forward(p, x)[-1])
    mirror = wp.initialize(mlp(depth=14, width=24, activation=twin), batch()[0])
    assert [row.rule for row in plan.rows] == [row.rule for row in mirror.rows]
    assert [row.output for row in plan.rows] == pytest.approx([row.output for row in mirror.rows])
    assert plan.params is params
    assert all(params[name] is own[name] for name in own)  # in place
    sizes = [np.sqrt(np.mean(output**2)) for output in forward(params, x)]
    assert sizes == pytest.approx([row.output for row in plan.rows], rel=1e-6)
    assert set(params) == set(plan.values)


@pytest.mark.parametrize(
    ("params", "function", "words"),
    [
        ({"w": np.ones((3, 3))}, None, r"does not say what its weights do\n\nHint: give a function of it"),
        ({"w": np.ones((3, 3))}, 3, "batch is a function of it that runs the model, not a int"),
        (
            {"w": np.ones((3, 3), dtype=int)},
            lambda p: p["w"],
            "parameter 'w' has dtype int64; weights are floating-point",
        ),
        ({"w": np.ones((3, 3))}, lambda p: p["v"], "the function could not be run on the arrays: KeyError: 'v'"),
    ],
)
def test_a_dictionary_that_shows_nothing_gets_one_clear_message(params, function, words):
    with pytest.raises(wp.InputError, match=words):
        wp.initialize(params, function)


# --- over ranks ----------------------------------------------------------------------------------


def test_two_ranks_with_shards_of_a_model_hold_the_weights_of_the_whole_one():
    done = on_ranks(2, str(Path(__file__).with_name("sharded.py")))
    assert done.stdout.strip() == "same", done.stderr[-2000:]


# --- models and batches out of the ordinary ------------------------------------------------------


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(16, 64) * 0.01), nn.Parameter(torch.randn(64))
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.out = nn.Linear(64, 4)

    def forward(self, x):
        return self.out(torch.tanh(x @ self.w + self.b)) * self.temperature


def test_a_bias_that_is_added_by_hand_is_the_products():
    model, x = Functional(), batch()[0]
    plan = wp.initialize(model, x)
    assert plan.biases["w"] == "b"
    assert (x @ model.w + model.b).square().mean().sqrt().item() == pytest.approx(plan.rows[0].output, rel=1e-4)
    assert set(plan.left_alone) == {"temperature"}


def test_a_model_that_fails_in_its_second_pass_is_as_it_was_and_says_why():
    model, x = Functional(), batch()[0]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    passes = iter([None, RuntimeError("boom")])

    def fail(*_):
        error = next(passes)
        if error is not None:
            raise error

    model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="boom"):
        wp.initialize(model, x)
    assert all(map(torch.equal, before, model.parameters()))


def test_what_is_frozen_stays_whatever_else_has_no_values():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32, device="meta"), nn.ReLU(), nn.Linear(32, 4))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    plan = wp.initialize(model, batch()[0])
    assert torch.equal(before, model[0].weight)
    assert plan.left_alone == {"0.weight": "frozen", "0.bias": "frozen"}


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.gamma = nn.Linear(16, 4), nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.linear(x) * self.gamma


def test_a_parameter_on_meta_without_any_rule_is_named():
    with torch.device("meta"):
        model = Scaled()
    with pytest.raises(
        wp.InputError, match="parameter 'gamma' was on the meta device, and what it should hold is not known"
    ):
        wp.initialize(model, batch()[0])


@pytest.mark.parametrize(
    "optimizer", [partial(torch.optim.Adam, lr=1e-3), partial(torch.optim.SGD, lr=0.1, momentum=0.9)]
)
def test_a_trained_model_is_left_alone_and_a_new_head_is_not(optimizer):
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    centres, y = torch.randn(4, 16), torch.randint(4, (512,))
    x = centres[y] + 0.5 * torch.randn(512, 16)
    steps = optimizer(model.parameters())
    for _ in range(200):
        steps.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        steps.step()
    before = model(x)
    assert not wp.initialize(model, x).rows
    assert torch.equal(before, model(x))
    model[4] = nn.Linear(64, 7)
    assert [row.parameter for row in wp.initialize(model, x).rows] == ["4.weight"]


def test_the_same_seed_gives_the_same_weights_before_a_normalisation_again_and_again():
    def build(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))

    one, other, x = build(0), build(1), torch.randn(8, 3, 8, 8)
    wp.initialize(one, x)
    for _ in range(5):
        wp.initialize(other, x)
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_a_bias_that_cannot_follow_leaves_its_output_unfitted():
    model, x = mlp(depth=3), batch()[0]
    model[2].bias.requires_grad_(False)
    row = wp.initialize(model, x).rows[1]
    assert row.output is None
    assert row.why.endswith("its bias is frozen, so its output is not fitted")


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_projected_lstm_and_an_embedding_that_renormalises_itself():
    assert "weight_hr_l0" in wp.initialize(nn.LSTM(12, 20, proj_size=6), torch.randn(7, 5, 12)).values
    model = nn.Sequential(nn.Embedding(20, 16, max_norm=1.0), nn.Linear(16, 3))
    before = model[0].weight.clone()
    wp.initialize(model, torch.randint(20, (8,)), dry_run=True)
    assert torch.equal(before, model[0].weight)


class Force(nn.Module):
    """Differentiates an energy on its way."""

    def __init__(self):
        super().__init__()
        self.inside, self.out = nn.Linear(16, 8), nn.Linear(8, 1)

    def forward(self, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.out(torch.tanh(self.inside(x))).sum(), x, create_graph=True)[0]


def test_a_model_that_differentiates_is_run_with_a_graph():
    assert len(wp.initialize(Force(), batch()[0]).rows) == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.initialize(mlp(), seed=-1), "seed must be a whole number from 0 on, not -1"),
        (lambda: wp.initialize(mlp(), scheme=["he"]), "there is no scheme ['he']"),
        (lambda: wp.initialize(mlp(), batch()[0] * float("nan")), "what `0` reads of the batch holds NaN or infinity"),
        (lambda: wp.initialize(mlp(), batch()[0][:0]), "the batch holds an empty tensor, of shape (0, 16)"),
        (lambda: wp.initialize(torch.jit.script(nn.Linear(3, 3))), "compiled by TorchScript"),
        (lambda: wp.initialize({"w": jnp.ones((3, 3))}, lambda p: None), "returned no floating-point array"),
        (lambda: wp.initialize({"w": np.ones((3, 3))}, lambda p: np.ones((2, 3)).dot(p["w"])), "was seen at work"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_what_cannot_be_initialised_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=re.escape(words)):
        call()


def test_numpy_dot_is_seen_and_a_read_only_array_is_frozen():
    random = np.random.default_rng(0)
    params, x = {"w": random.normal(size=(16, 8)), "o": random.normal(size=(8, 3))}, random.normal(size=(64, 16))
    params["o"].flags.writeable = False
    plan = wp.initialize(params, lambda p: np.dot(np.maximum(np.dot(x, p["w"]), 0), p["o"]))
    assert [row.parameter for row in plan.rows] == ["w"]
    assert plan.left_alone == {"o": "frozen"}


def test_a_jax_embedding_that_is_the_head_too_is_small():
    ids, key = jnp.arange(48).reshape(3, 16), jax.random.key(0)
    params = {"wte": jax.random.normal(key, (100, 64)), "w": jax.random.normal(key, (64, 64))}

    def logits(p):
        return jnp.tanh(p["wte"][ids] @ p["w"]) @ p["wte"].T

    plan = wp.initialize(params, logits)
    assert {row.parameter: row.rule for row in plan.rows} == {"wte": "embedding", "w": "he"}
    assert float(jnp.std(logits(plan.params))) < 1


class Language(nn.Module):
    """Tokens and positions added, the head tied to the tokens."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(50, 64), nn.Embedding(12, 64)
        self.inside, self.head = nn.Linear(64, 64), nn.Linear(64, 50, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        return self.head(torch.tanh(self.inside(self.tokens(ids) + self.places(torch.arange(ids.shape[1])))))


def test_positions_do_not_drown_tokens_that_are_tied_to_the_head():
    model = Language()
    wp.initialize(model, torch.randint(50, (8, 12)))
    assert model.places.weight.std().item() == pytest.approx(model.tokens.weight.std().item(), rel=0.1)
    assert model.tokens.weight.std().item() == pytest.approx(1 / 8, rel=0.1)
