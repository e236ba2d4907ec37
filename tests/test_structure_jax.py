"""WP401, WP402, WP404 to WP410 on JAX: the same rules by the same measurements, on the jaxpr."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wellposed as wp

V, D, T, N = 11, 16, 10, 12
rng = np.random.default_rng(0)


def weights(seed=0, *, features=0):
    draw = np.random.default_rng(seed)
    shapes = {"q": (D, D), "k": (D, D), "v": (D, D), "o": (D, V), "e": (V, D), "p": (T, D)}
    made = {name: draw.normal(size=shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    if features:
        made["i"] = draw.normal(size=(features, D)) / np.sqrt(features)
    return {name: jnp.asarray(array, jnp.float32) for name, array in made.items()}


def attended(p, h, allowed):
    scores = jnp.einsum("ntd,nsd->nts", h @ p["q"], h @ p["k"]) / 4
    return h + jax.nn.softmax(jnp.where(allowed, scores, -1e9), -1) @ (h @ p["v"])


def scores(p, ids, *, causal=True, positions=True):
    length = ids.shape[1]
    h = p["e"][ids] + (p["p"][:length] if positions else 0)
    allowed = jnp.tril(jnp.ones((length, length), bool)) if causal else jnp.ones((length, length), bool)
    return attended(p, h, allowed) @ p["o"]


def cross_entropy(z, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(z), y[..., None], -1).mean()


def tokens(length=T + 1, rows=N, low=0):
    return jnp.asarray(rng.integers(low, V, (rows, length)), jnp.int32)


def found(problem, rule):
    return [f for f in wp.checkup(problem, only=rule.__eq__).findings if f.rule == rule and f.found]


def verdict(problem, rule):
    (finding,) = [f for f in wp.checkup(problem, only=rule.__eq__).findings if f.rule == rule]
    return finding.verdict.value


class TestSequences:
    ids = tokens()

    def language(self, ahead=1, **how):
        def loss(p, ids):
            z = scores(p, ids[:, : T + 1 - ahead], **how)
            return cross_entropy(z, ids[:, ahead:])

        return wp.JaxProblem(loss, weights(), self.ids)

    def test_a_causal_model_is_right(self):
        for rule in ("WP405", "WP406"):
            assert verdict(self.language(), rule) == "holds"

    def test_the_future_is_seen_and_where_it_enters_is_told(self):
        (finding,) = found(self.language(causal=False), "WP405")
        assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "future-leak")
        assert "`args[0]`" in finding.message
        assert finding.where.startswith("line ")  # of the attention

    @pytest.mark.parametrize(("ahead", "cause"), [(2, "shifted-twice"), (0, "not-shifted")])
    def test_targets_are_at_another_offset(self, ahead, cause):
        def loss(p, ids):
            return cross_entropy(scores(p, ids[:, : T - 1]), ids[:, ahead : T - 1 + ahead])

        (finding,) = found(wp.JaxProblem(loss, weights(), self.ids), "WP406")
        assert finding.cause == cause

    def test_vmap_and_jit_change_nothing(self):
        @partial(jax.jit, static_argnums=2)
        def one(p, ids, causal):
            return scores(p, ids[None], causal=causal)[0]

        def loss(p, batch, causal):
            z = jax.vmap(one, (None, 0, None))(p, batch["ids"][:, :-1], causal)
            return cross_entropy(z, batch["ids"][:, 1:])

        right, wrong = (wp.JaxProblem(partial(loss, causal=c), weights(), {"ids": self.ids}) for c in (True, False))
        assert verdict(right, "WP405") == "holds"
        assert [f.cause for f in found(wrong, "WP405")] == ["future-leak"]

    def test_what_the_loss_closes_over_is_its_data(self):
        ids = self.ids

        def loss(p):
            return cross_entropy(scores(p, ids[:, :-1], causal=False), ids[:, 1:])

        assert [f.cause for f in found(wp.JaxProblem(loss, weights()), "WP405")] == ["future-leak"]

    def test_order_is_lost_without_positions(self):
        targets = jnp.asarray(np.roll(np.asarray(self.ids[:, :T]), 1, 1))  # each is asked for the one before

        def loss(p, x, y, positions):
            return cross_entropy(scores(p, x, causal=False, positions=positions), y)

        for positions, causes in ((True, []), (False, ["order-lost"])):
            problem = wp.JaxProblem(partial(loss, positions=positions), weights(), self.ids[:, :T], targets)
            assert [f.cause for f in found(problem, "WP408")] == causes

    def test_heads_that_are_merged_without_a_transposition(self):
        def loss(p, x, y, transposed):
            h = p["e"][x]
            heads = (h @ p["v"]).reshape(N, T, 4, D // 4).transpose(0, 2, 1, 3)
            heads = heads.transpose(0, 2, 1, 3) if transposed else heads
            return cross_entropy((h + heads.reshape(N, T, D)) @ p["o"], y)

        for transposed, causes in ((True, []), (False, ["reshape-mixes"])):
            problem = wp.JaxProblem(partial(loss, transposed=transposed), weights(), self.ids[:, :T], self.ids[:, 1:])
            told = found(problem, "WP408")
            assert [f.cause for f in told] == causes
        assert "heads.reshape(N, T, D)" in told[0].message


class TestPadding:
    lengths = jnp.asarray([3, 9, 5, 10, 4, 7, 6, 8, 3, 10, 5, 9])
    mask = jnp.arange(T) < lengths[:, None]
    ids = jnp.where(mask, tokens(T, low=1), 0)
    labels = jnp.asarray(rng.integers(0, V, N))

    def loss(self, p, ids, mask, labels, pooled, masked):
        allowed = mask[:, None, :] if masked else jnp.ones((1, 1, T), bool)
        h = attended(p, p["e"][ids] + p["p"], allowed)
        weight = mask[..., None] if pooled else jnp.ones((1, 1, 1))
        return cross_entropy((h * weight).sum(1) / (weight * jnp.ones_like(h[..., :1])).sum(1) @ p["o"], labels)

    def test_a_mask_is_used_everywhere_or_not(self):
        for pooled, masked, causes in (
            (True, True, []),
            (False, True, ["mask-ignored"]),
            (True, False, ["mask-ignored"]),
        ):
            loss = partial(self.loss, pooled=pooled, masked=masked)
            problem = wp.JaxProblem(loss, weights(), self.ids, self.mask.astype(jnp.int32), self.labels)
            assert [f.cause for f in found(problem, "WP407")] == causes

    def test_padding_in_the_loss(self):
        ids = jnp.where(jnp.arange(T) < jnp.minimum(self.lengths, 4)[:, None], self.ids, 0)

        def loss(p, ids, masked):
            z, y = scores(p, ids[:, :-1]), ids[:, 1:]
            each = -jnp.take_along_axis(jax.nn.log_softmax(z), y[..., None], -1)[..., 0]
            weight = (y != 0) if masked else jnp.ones_like(y)
            return (each * weight).sum() / weight.sum()

        for masked, causes in ((True, []), (False, ["padding-in-loss"])):
            assert [
                f.cause for f in found(wp.JaxProblem(partial(loss, masked=masked), weights(), ids), "WP407")
            ] == causes


class TestTheLoss:
    x = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 3, 32))
    real = jnp.asarray(rng.normal(size=(32, 3)), jnp.float32)
    p: ClassVar = {
        "w": jnp.asarray(rng.normal(size=(6, 16)) / 6**0.5, jnp.float32),
        "v": jnp.asarray(rng.normal(size=(16, 3)) / 4, jnp.float32),
        "b": jnp.zeros(3),
    }

    def model(self, p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"] + p["b"]

    def cause(self, loss, *args, rule="WP401"):
        return [f.cause for f in found(wp.JaxProblem(loss, self.p, *args), rule)]

    def test_scores_are_scores(self):
        assert self.cause(lambda p, x, y: cross_entropy(self.model(p, x), y), self.x, self.y) == []
        one_hot = jax.nn.one_hot(self.y, 3)
        assert (
            self.cause(lambda p, x, y: -(y * jax.nn.log_softmax(self.model(p, x))).sum(-1).mean(), self.x, one_hot)
            == []
        )

    def test_a_softmax_too_many(self):
        loss = lambda p, x, y: cross_entropy(jax.nn.softmax(self.model(p, x)), y)  # noqa: E731
        assert self.cause(loss, self.x, self.y) == ["double-softmax"]
        problem = wp.JaxProblem(loss, self.p, self.x, self.y)
        mended = problem.variants.rerouted("scores")
        right = wp.JaxProblem(lambda p, x, y: cross_entropy(self.model(p, x), y), self.p, self.x, self.y)
        assert mended.value(mended.theta()) == pytest.approx(right.value(right.theta()), rel=1e-6)

    def test_a_softmax_over_the_examples(self):
        def loss(p, x, y):
            return -jnp.log(jax.nn.softmax(self.model(p, x), 0)[jnp.arange(32), y]).mean()

        assert self.cause(loss, self.x, self.y) == ["wrong-softmax-axis"]

    def test_a_sigmoid_too_many(self):
        def loss(p, x, y):
            z = jax.nn.sigmoid(self.model(p, x))
            return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean()

        assert self.cause(loss, self.x, jax.nn.one_hot(self.y, 3)) == ["double-sigmoid"]

    def test_targets_beyond_the_last_activation(self):
        loss = lambda p, x, y: ((jnp.tanh(self.model(p, x)) - y) ** 2).mean()  # noqa: E731
        assert self.cause(loss, self.x, 10 * self.real) == ["target-range"]
        assert self.cause(loss, self.x, jnp.tanh(self.real)) == []

    def test_classes_counted_from_one(self):
        def loss(p, x, y):
            return -(jax.nn.one_hot(y, 3) * jax.nn.log_softmax(self.model(p, x))).sum(-1).mean()

        (finding,) = found(wp.JaxProblem(loss, self.p, self.x, self.y + 1), "WP401")
        assert finding.cause == "class-range"
        assert "They seem to be counted from 1." in finding.message
        assert self.cause(loss, self.x, jnp.where(jnp.arange(32) % 4 == 0, -1, self.y)) == []  # left out on purpose

    def test_a_row_against_a_column(self):
        def loss(p, x, y, column):
            z = self.model(p, x)[:, 0]
            return ((z - (y[:, None] if not column else y)) ** 2).mean()

        target = self.real[:, 0]
        # An axis that was put in is meant; one that the data have is not.
        assert self.cause(partial(loss, column=False), self.x, target) == []
        (finding,) = found(wp.JaxProblem(partial(loss, column=True), self.p, self.x, target[:, None]), "WP401")
        assert finding.cause == "broadcast"
        assert "A difference of shapes [32] and [32, 1] is broadcast to [32, 32]" in finding.message

    def test_terms(self):
        def loss(p, x, y, cut):
            z = self.model(p, x)
            spread = jax.lax.stop_gradient(z.var()) if cut else z.var()
            return cross_entropy(z, y) + 0.5 * spread

        for cut, causes in ((False, []), (True, ["cut-term"])):
            assert self.cause(partial(loss, cut=cut), self.x, self.y, rule="WP409") == causes
        report = wp.checkup(wp.JaxProblem(partial(loss, cut=False), self.p, self.x, self.y))
        assert next(f for f in report.figures if f.name == "terms").panels[0].series[0].y[1] > 0

    def test_a_sum_drowns_a_mean(self):
        loss = lambda p, x, y: ((self.model(p, x) - y) ** 2).mean() + (self.model(p, x) ** 4).sum()  # noqa: E731
        assert self.cause(loss, self.x, self.real, rule="WP409") == ["drowned-term"]

    def test_each_example_is_normalised(self):
        def loss(p, x, y, normalised):
            z = self.model(p, x)
            if normalised:
                z = (z - z.mean(-1, keepdims=True)) / z.std(-1, keepdims=True)
            return ((z - y) ** 2).mean()

        x, wide = self.x, jnp.asarray(rng.normal(size=(32, 1)) + 0.1 * rng.normal(size=(32, 8)), jnp.float32)
        p = {**self.p, "v": jnp.asarray(rng.normal(size=(16, 8)) / 4, jnp.float32), "b": jnp.zeros(8)}
        for normalised, causes in ((False, []), (True, ["cannot-reach"])):
            problem = wp.JaxProblem(partial(loss, normalised=normalised), p, x, wide)
            assert [f.cause for f in found(problem, "WP410")] == causes

    def test_the_target_is_among_the_inputs(self):
        loss = lambda p, x, y: ((self.model(p, x)[:, 0] - y) ** 2).mean()  # noqa: E731
        assert self.cause(loss, self.x, self.x[:, 4], rule="WP406") == ["target-is-input"]
        assert self.cause(loss, self.x, self.real[:, 0], rule="WP406") == []

    def test_a_mixture_cannot_be_copied(self):
        noise = jnp.asarray(rng.normal(size=(32, 3)), jnp.float32)
        p = {"w": self.p["w"][:3], "v": self.p["v"], "b": self.p["b"]}

        def loss(p, x, noise, mixed):
            return ((self.model(p, 0.8 * x + 0.6 * noise if mixed else noise) - noise) ** 2).mean()

        for mixed, causes in ((True, []), (False, ["target-is-input"])):
            problem = wp.JaxProblem(partial(loss, mixed=mixed), p, self.real, noise)
            assert [f.cause for f in found(problem, "WP406")] == causes

    def test_outputs_depend_on_their_own_inputs(self):
        loss = lambda p, x, y: cross_entropy(self.model(p, x), y)  # noqa: E731
        assert verdict(wp.JaxProblem(loss, self.p, self.x, self.y), "WP404") == "holds"
        without = lambda p, x, y: cross_entropy(self.model(p, 0 * x), y)  # noqa: E731
        assert [f.cause for f in found(wp.JaxProblem(without, self.p, self.x, self.y), "WP404")] == ["ignored"]

        def mixed(p, x, y):
            h = jax.nn.softmax(x @ p["w"], 0)
            return cross_entropy(32 * h @ p["v"] + p["b"], y)

        (finding,) = found(wp.JaxProblem(mixed, self.p, self.x, self.y), "WP404")
        assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "rows-mixed")
        assert "a softmax over axis 0" in finding.message


class TestOptimizers:
    @pytest.fixture
    def optax(self):
        return pytest.importorskip("optax")

    def problem(self, optimizer):
        case = TestTheLoss()
        loss = lambda p, x, y: cross_entropy(case.model(p, x), y)  # noqa: E731
        return wp.JaxProblem(loss, case.p, case.x, case.y, optimizer=optimizer)

    def test_steps_that_are_right_and_too_large(self, optax):
        assert verdict(self.problem(optax.adam(1e-2)), "WP402") == "holds"
        (finding,) = found(self.problem(optax.sgd(1e4)), "WP402")
        assert finding.cause == "too-large"
        assert "times the learning rate it is" in finding.message
        assert finding.remedies[0].code.endswith("* lr")
        told = optax.inject_hyperparams(optax.sgd)(learning_rate=1e4)
        (finding,) = found(self.problem(told), "WP402")
        assert "for 1e+04)" in finding.message

    def test_steps_are_those_of_optax(self, optax):
        problem = self.problem(optax.sgd(0.1, momentum=0.9))
        theta = problem.theta()
        velocity, at = np.zeros_like(theta), theta.copy()
        for _ in range(3):
            velocity = 0.9 * velocity + problem.layout.pack_known(problem.gradient(at))
            at = at - 0.1 * velocity
        np.testing.assert_allclose(problem.training.trained(theta, 3), at, rtol=1e-4, atol=1e-6)
        half = problem.variants.with_rate(0.5).training.trained(theta, 1)
        np.testing.assert_allclose(half - theta, (problem.training.trained(theta, 1) - theta) / 2, rtol=1e-2, atol=1e-7)

    def test_what_is_no_optimizer_is_refused(self, optax):
        with pytest.raises(wp.InputError, match="optimizer must have init and update, as optax's have"):
            self.problem(optax.adam)


def test_where_nothing_is_seen_the_rules_do_not_apply():
    problem = wp.JaxProblem(lambda p: (p["w"] ** 2).sum(), {"w": jnp.ones(3)})
    for rule in ("WP404", "WP405", "WP406", "WP407", "WP408", "WP409", "WP410", "WP411"):
        assert verdict(problem, rule) == "not applicable"


def test_one_example_at_a_time():
    """Under vmap a model that makes a batch of its own has axes of one place, which count nothing."""
    case = TestTheLoss()

    def loss(p, x, y):
        z = jax.vmap(lambda one: case.model(p, one[None]))(x)
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None, None], -1).mean()

    assert found(wp.JaxProblem(loss, case.p, case.x, case.y), "WP401") == []


def test_rows_that_are_closed_over_are_none_of_the_inputs():
    case = TestTheLoss()
    noise = jnp.asarray(rng.normal(size=(32, 6)), jnp.float32)
    loss = lambda p, x, y: cross_entropy(case.model(p, x + noise), y)  # noqa: E731
    assert found(wp.JaxProblem(loss, case.p, case.x, case.y), "WP408") == []


class TestWhatIsNotAccused:
    """Right losses that were once taken for others."""

    case = TestTheLoss()

    def silent(self, loss, *args, params=None):
        report = wp.checkup(
            wp.JaxProblem(loss, params or self.case.p, *args),
            only=lambda rule: rule in ("WP401", "WP406", "WP409", "WP410"),
        )
        assert [(f.rule, f.cause) for f in report.findings if f.found] == []

    def test_a_likelihood_by_hand(self):
        def loss(p, x, y):
            q = jax.nn.softmax(self.case.model(p, x))
            return -jnp.log(q[jnp.arange(32), y] + 1e-8).mean()

        self.silent(loss, self.case.x, self.case.y)

    def test_the_value_of_an_action(self):
        returns = jnp.asarray(5 + rng.random(32), jnp.float32)
        loss = lambda p, x, a, r: ((self.case.model(p, x)[jnp.arange(32), a] - r) ** 2).mean()  # noqa: E731
        self.silent(loss, self.case.x, self.case.y, returns)

    def test_a_last_layer_that_begins_at_zero(self):
        level = jnp.asarray(rng.normal(size=(32, 1)) * np.ones((1, 3)), jnp.float32)
        loss = lambda p, x, y: ((self.case.model(p, x) - y) ** 2).mean()  # noqa: E731
        self.silent(loss, self.case.x, level, params={**self.case.p, "v": jnp.zeros((16, 3))})

    def test_features_of_one_number(self):
        p = {
            "rates": jnp.asarray(rng.normal(size=32), jnp.float32),
            "v": jnp.asarray(rng.normal(size=32) / 6, jnp.float32),
        }
        loss = lambda p, x, y: ((jnp.sin(x * p["rates"]) @ p["v"] - y) ** 2).mean()  # noqa: E731
        self.silent(loss, self.case.x[:, :1], self.case.real[:, 0], params=p)

    def test_the_entropy_of_a_target_that_is_held(self):
        def loss(p, x, y):
            q = jax.lax.stop_gradient(jax.nn.softmax(self.case.model(p, x)))
            log_p = jax.nn.log_softmax(self.case.model(p, x + 0.1))
            apart = (q * jnp.log(q)).sum(-1).mean() - (q * log_p).sum(-1).mean()
            return cross_entropy(self.case.model(p, x), y) + apart

        self.silent(loss, self.case.x, self.case.y)

    def test_a_gradient_of_a_rectified_network_within_the_loss(self):
        def loss(p, x, y):
            f = lambda one: (jax.nn.relu(one @ p["w"]) @ p["v"]).sum()  # noqa: E731
            return cross_entropy(self.case.model(p, x), y) + (jax.vmap(jax.grad(f))(x) ** 2).mean()

        assert wp.checkup(wp.JaxProblem(loss, self.case.p, self.case.x, self.case.y)).findings
