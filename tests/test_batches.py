"""A batch in whatever form people have one, a loss that uses another, and JAX models with more than arrays in them."""

from __future__ import annotations

import inspect
from collections import UserDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wellposed as wp

cross_entropy = nn.CrossEntropyLoss()


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, image, scale=1.0):
        return self.head(scale * image)


class Whole(Named):
    def forward(self, batch):
        return self.head(batch["pixels"])


class Both(Named):
    def forward(self, left, right):
        return self.head(left + right)


class Pair(Named):
    def forward(self, pair):
        left, right = pair
        return self.head(left + right)


class Takes(Named):
    def forward(self, image, **_others):
        return self.head(image)


def data(rows=12):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(rows, 5, generator=draw), torch.randint(3, (rows,), generator=draw)


X, Y = data()


def of_key(name):
    return lambda outputs, batch: cross_entropy(outputs, batch[name])


class Weighed(Pair):
    def forward(self, pair, weight=0.5):
        return super().forward(pair) * weight


def test_what_a_model_was_called_with_is_said_where_it_raises():
    problem = wp.TorchProblem(Weighed(), cross_entropy, ((X, X), Y))
    with pytest.raises(wp.InputError) as raised:
        wp.checkup(problem)
    said = str(raised.value)
    assert "too many values to unpack (expected 2), at line " in said
    assert "`left, right = pair`" in said
    assert (
        "By shapes, it was called as loss(model([12, 5], [12, 5]), [12]); a model that takes its inputs as one" in said
    )
    assert wp.checkup(wp.TorchProblem(Weighed(), cross_entropy, (((X, X),), Y))).ok


@pytest.mark.parametrize(
    ("model", "loss", "batch"),
    [
        (nn.Linear(5, 3), cross_entropy, [X, Y]),
        (Pair(), cross_entropy, ((0.25 * X, 0.75 * X), Y)),
        (Both(), cross_entropy, ((0.25 * X, 0.75 * X), Y)),
        (Both(), cross_entropy, ({"left": 0.25 * X, "right": 0.75 * X}, Y)),
        (Whole(), cross_entropy, ({"pixels": X, "id": torch.arange(12)}, Y)),
        (nn.Linear(5, 3), cross_entropy, (X.double().numpy(), Y.numpy())),
        (nn.Linear(5, 3), cross_entropy, DataLoader(TensorDataset(X, Y), 12)),
        (nn.Linear(5, 3), cross_entropy, {"x": X, "label": Y}),
        (nn.Linear(5, 3), cross_entropy, UserDict(features=X, targets=Y)),
        (Named(), cross_entropy, {"image": X, "target": Y}),
        (Named(), of_key("target"), {"image": X, "target": Y, "number": torch.arange(12)}),
        (Takes(), cross_entropy, {"image": X, "labels": Y, "more": X}),
        (Whole(), of_key("class"), {"pixels": X, "class": Y, "number": torch.arange(12)}),
        (Both(), cross_entropy, (X, 0 * X, Y)),
        (Both(), cross_entropy, DataLoader(TensorDataset(X, 0 * X, Y), 12)),
        (Both(), cross_entropy, [{"left": X, "right": 0 * X}, Y]),
    ],
)
def test_a_batch_in_every_form_is_the_same_pair(model, loss, batch):
    state = torch.get_rng_state()
    problem = wp.TorchProblem(model, loss, batch)
    assert torch.equal(torch.get_rng_state(), state)
    head = model if isinstance(model, nn.Linear) else model.head
    assert problem.value(problem.theta()) == pytest.approx(float(cross_entropy(head(X), Y).detach()), rel=1e-6)


def test_an_object_of_another_kind_goes_to_both():
    class Graph:
        x, y = X, Y

        def to(self, _device):
            return self

        def __iter__(self):
            yield from (("x", X), ("y", Y))

    class OfGraphs(Named):
        def forward(self, graph):
            return self.head(graph.x)

    problem = wp.TorchProblem(OfGraphs(), lambda outputs, graph: cross_entropy(outputs, graph.y), Graph())
    assert wp.check_gradients(problem).ok


def test_the_order_of_a_loader_and_the_users_arrays_are_left():
    loader, model = DataLoader(TensorDataset(X, Y), 4, shuffle=True), nn.Linear(5, 3)
    torch.manual_seed(3)
    expected = [batch[1].tolist() for batch in loader]
    torch.manual_seed(3)
    wp.TorchProblem(model, cross_entropy, loader)
    assert [batch[1].tolist() for batch in loader] == expected


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (
            ((X, Y) for _ in range(2)),
            "batch is a generator, which can be read only once\n\nHint: give the loader itself",
        ),
        (X, r"not a tensor of shape \(12, 5\)\n\nHint: \(x, x\) where the inputs are the targets"),
        (None, "must be a pair"),
        ((X,), "must be a pair"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), "batch is a DataLoader without any batch in it"),
    ],
)
def test_what_is_no_batch_is_refused(batch, said):
    with pytest.raises(wp.InputError, match=said):
        wp.TorchProblem(nn.Linear(5, 3), cross_entropy, batch)


def test_names_that_the_model_does_not_know_are_told():
    with pytest.raises(wp.InputError, match=r"forward knows none of the names in the batch \(p, q, r\)"):
        wp.TorchProblem(Both(), cross_entropy, {"p": X, "q": X, "r": Y})


def use_of(loss, batch, **named):
    torch.manual_seed(0)
    problem = wp.TorchProblem(nn.Linear(5, 3), loss, batch, **named)
    (finding,) = (f for f in wp.check_objective(problem).findings if f.rule == "WP404")
    return finding.verdict, finding.cause


def test_a_loss_that_uses_another_batch_is_said():
    others, classes = data()
    classes = classes.roll(5)
    assert use_of(cross_entropy, (X, Y)) == (wp.Verdict.HOLDS, "")
    assert use_of(lambda outputs, _: cross_entropy(outputs, classes), (X, Y)) == (wp.Verdict.HOLDS, "targets-unused")
    assert use_of(lambda model: cross_entropy(model(X), Y), (X, Y))[1] == ""
    elsewhere = use_of(lambda model: cross_entropy(model(others.clone() + 1), classes), (X, Y))
    assert elsewhere == (wp.Verdict.SUSPECT, "batch-unused")


@pytest.mark.parametrize("targets", [Y, torch.zeros(12, 3)])
def test_a_loss_that_rebuilds_its_inputs_or_has_targets_for_nothing_is_no_fault(targets):
    verdict, _ = use_of(lambda outputs, _: outputs.square().mean(), (X, targets))
    assert verdict is wp.Verdict.HOLDS


@jax.tree_util.register_pytree_node_class
class Layer:
    """As models of libraries are: a function, a counter, a key, a mask and a flag among the leaves."""

    def __init__(self, *leaves):
        self.leaves = leaves

    def tree_flatten(self):
        return self.leaves, None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)

    def __call__(self, x):
        weight, bias, activation, steps, key, mask, scale, training = self.leaves
        assert training
        assert steps == 3
        assert key is not None
        assert activation is jnp.tanh
        weights = jax.nn.softmax(mask, axis=-1)
        return activation(scale * (x @ weight + bias)) @ weights


def test_floating_point_arrays_alone_are_parameters():
    key = jax.random.key(0)
    mask = jnp.where(jnp.tri(3) > 0, 0.0, -jnp.inf)
    model = Layer(0.5 * jnp.ones((5, 3)), jnp.zeros(3), jnp.tanh, jnp.array(3), key, mask, 1.0, True)
    x, y = jax.random.normal(key, (8, 5)), jnp.zeros((8, 3))

    def loss(model, x, y):
        return jnp.mean((model(x) - y) ** 2)

    problem = wp.JaxProblem(loss, model, x, y)
    assert [name.rpartition(".")[2] for name in problem.layout.names] == ["0", "1"]
    report = wp.check_gradients(problem)
    assert report.ok
    assert report.problem.parameters == 18
    assert inspect.unwrap(problem.loss) is loss


def test_numbers_of_python_are_parameters_of_a_plain_tree_and_not_of_a_librarys_module():
    plain = {"a": jnp.ones(2), "b": 0.5}
    loss = lambda p, x: jnp.sum(p["a"]) * p["b"] * x  # noqa: E731
    assert wp.JaxProblem(loss, plain, 2.0).layout.names == ("a", "b")

    class Module(dict):
        pass

    Module.__module__ = "equinox._module"
    jax.tree_util.register_pytree_with_keys(
        Module,
        lambda one: ([(jax.tree_util.DictKey(k), v) for k, v in one.items()], tuple(one)),
        lambda names, leaves: Module(zip(names, leaves, strict=True)),
    )
    assert wp.JaxProblem(loss, Module(plain), 2.0).layout.names == ("a",)


@pytest.mark.parametrize("params", [{"n": jnp.arange(3)}, {"f": jnp.tanh}, {"m": jnp.array([0.0, -jnp.inf])}])
def test_without_any_floating_point_array_it_is_told(params):
    with pytest.raises(wp.InputError, match="params holds no floating-point array"):
        wp.JaxProblem(lambda p: 0.0, params)


def test_a_weight_that_has_overflowed_is_no_mask():
    weights = {"w": jnp.asarray(np.array([0.1, 0.2, np.inf], np.float32))}
    with pytest.raises(wp.InputError, match="parameter 'w' contains NaN or infinity"):
        wp.JaxProblem(lambda p: jnp.sum(p["w"]), weights)


def test_a_bias_before_a_normalisation_leaves_nothing_undecided():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)]
    problem = wp.TorchProblem(
        nn.Sequential(*layers), cross_entropy, (torch.randn(16, 3, 8, 8), torch.randint(3, (16,)))
    )
    assert [f.rule for f in wp.check_gradients(problem).findings if f.verdict is wp.Verdict.UNDECIDED] == []


def test_standardized_tensors_are_tensors():
    made = wp.Standardizer().fit(X).transform(X)
    assert isinstance(made, torch.Tensor)
    assert made.dtype is torch.float32
    assert isinstance(wp.Standardizer().fit(X).transform(jnp.ones((2, 5))), jax.Array)
    assert isinstance(wp.Standardizer().fit(X).transform(np.ones((2, 5))), np.ndarray)


def test_a_loss_that_is_divided_in_place_shows_what_it_asks_of_the_outputs():
    """As trainers do with what a model computed itself."""

    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)

        def forward(self, tokens, labels):
            scores = self.head(self.embed(tokens))
            return {"loss": cross_entropy(scores.flatten(0, 1), labels.flatten()), "scores": scores}

    tokens = torch.randint(20, (6, 10), generator=torch.Generator().manual_seed(0))
    named = {"tokens": tokens, "labels": tokens.roll(-1, 1)}
    problem = wp.TorchProblem(Language(), lambda outputs, _: outputs["loss"].div_(2.0), (named, tokens))
    with problem.program() as program:
        assert [sent.outputs.shape for sent in program.all_sent] == [(6, 10, 20)]
