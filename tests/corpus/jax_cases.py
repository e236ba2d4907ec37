"""Custom derivatives and stop_gradient in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import wellposed as wp
from corpus.case import Case, cases

N, D, H, C = 24, 7, 10, 4


def network(middle, seed):
    random = np.random.default_rng(seed)
    x, y = jnp.asarray(random.standard_normal((N, D)), jnp.float32), jnp.asarray(random.integers(0, C, N))
    params = {
        "W1": jnp.asarray(random.standard_normal((D, H)) / 2, jnp.float32), "b1": jnp.asarray(random.standard_normal(H) / 5, jnp.float32),
        "W2": jnp.asarray(random.standard_normal((H, C)) / 2, jnp.float32),
    }  # fmt: skip

    def loss(p, x, y):
        logits = middle(x @ p["W1"] + p["b1"]) @ p["W2"]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(N), y])

    return wp.JaxProblem(loss, params, x, y)


def with_rule(name, forward, backward):
    """A custom_vjp function from y = forward(x) and backward(x, y, g)."""

    def f(x):
        return forward(x)

    f.__name__ = name
    own = jax.custom_vjp(f)
    own.defvjp(lambda x: (forward(x), x), lambda x, g: (backward(x, forward(x), g),))
    return own


def mish(fault, seed):
    def forward(x):
        return x * jnp.tanh(jax.nn.softplus(x))

    def backward(x, y, g):
        t, s = jnp.tanh(jax.nn.softplus(x)), jax.nn.sigmoid(x)
        return {
            "cotangent forgotten": t + x * (1 - t**2) * s,
            "second term forgotten": g * t,
            "sigmoid forgotten": g * (t + x * (1 - t**2)),
            "sign": -g * (t + x * (1 - t**2) * s),
            "twice": 2 * g * (t + x * (1 - t**2) * s),
        }.get(fault, g * (t + x * (1 - t**2) * s))

    return network(with_rule("mish", forward, backward), seed)


def normalise(fault, seed):
    def forward(x):
        return x / jnp.sqrt((x**2).sum(-1, keepdims=True))

    def backward(x, y, g):
        size = jnp.sqrt((x**2).sum(-1, keepdims=True))
        along = 0 if fault == "norm taken as a constant" else y * (g * y).sum(-1, keepdims=True)
        return (g - along) / (1 if fault == "not divided by the norm" else size)

    return network(with_rule("unit", forward, backward), seed)


def softmax(fault, seed):
    def backward(x, y, g):
        if fault == "sum over the wrong axis":
            return y * (g - (g * y).sum(0, keepdims=True))
        if fault == "sum forgotten":
            return y * g
        return y * (g - (g * y).sum(-1, keepdims=True))

    return network(with_rule("softmax", lambda x: jax.nn.softmax(x, axis=-1), backward), seed)


def layernorm(fault, seed):
    def forward(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)

    def backward(x, y, g):
        mean, along = g.mean(-1, keepdims=True), y * (g * y).mean(-1, keepdims=True)
        left = {"statistics taken as constants": g, "mean taken as a constant": g - along}.get(fault, g - mean - along)
        return left / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)

    return network(with_rule("layernorm", forward, backward), seed)


def tangent(fault, seed):
    """A custom_jvp rule."""

    @jax.custom_jvp
    def cube(x):
        return x**3 / 5

    slope = {"power not lowered": lambda x: 3 * x**3 / 5, "factor left out": lambda x: x**2 / 5}.get(
        fault, lambda x: 3 * x**2 / 5
    )
    cube.defjvps(lambda t, y, x: slope(x) * t)
    return network(cube, seed)


def stopped(fault, seed):
    def middle(h):
        if fault == "gate stopped":
            return h * jax.lax.stop_gradient(jax.nn.sigmoid(h))
        if fault == "statistics stopped":
            return (h - jax.lax.stop_gradient(h.mean(0))) / jax.lax.stop_gradient(h.std(0))
        if fault == "all of it stopped":
            return jax.lax.stop_gradient(jnp.tanh(h))
        return jnp.tanh(h)

    return network(middle, seed)


def embedding(fault, seed):
    random = np.random.default_rng(seed)
    words, y = jnp.asarray(random.integers(0, 16, (N, 3))), jnp.asarray(random.integers(0, C, N))
    params = {
        "E": jnp.asarray(random.standard_normal((20, 6)), jnp.float32),
        "W": jnp.asarray(random.standard_normal((6, C)), jnp.float32),
    }

    @jax.custom_vjp
    def lookup(table):
        return table[words]

    def backward(_, g):
        flat, rows = words.reshape(-1), g.reshape(-1, 6)
        empty = jnp.zeros((20, 6), g.dtype)
        out = empty.at[flat].set(rows) if fault == "set instead of add" else empty.at[flat].add(rows)
        return (out.at[0].set(0.0) if fault == "first row zeroed" else out,)

    lookup.defvjp(lambda table: (table[words], None), backward)

    def loss(p, y, words):
        return -jnp.mean(jax.nn.log_softmax(lookup(p["E"]).mean(1) @ p["W"])[jnp.arange(N), y])

    return wp.JaxProblem(loss, params, y, words)


CASES: list[Case] = [
    *cases("jax", mish, """
        cotangent forgotten | mish W1 b1 | ignored-cotangent | jax#17496
        second term forgotten | mish W1 b1 | activation-derivative | SilasMarvin/dnns-from-scratch-in-zig#5
        sigmoid forgotten | mish W1 b1 | activation-derivative | microsoft/knossos-ksc!505
        sign | mish W1 b1 | sign | jax#3213
        twice | mish W1 b1 | scale | jax#3130
        """),
    *cases("jax", normalise, """
        norm taken as a constant | unit W1 b1 | batch-statistics | happynear/AMSoftmax#1
        not divided by the norm | unit W1 b1 | batch-statistics | happynear/caffe-windows#205
        """),
    *cases("jax", softmax, """
        sum over the wrong axis | softmax W1 b1 | wrong-axis | deeplearning4j#345
        sum forgotten | softmax W1 b1 | activation-derivative | oneDNN#616
        """),
    *cases("jax", layernorm, """
        statistics taken as constants | layernorm W1 b1 | batch-statistics | flagos-ai/FlagGems#5392
        mean taken as a constant | layernorm W1 b1 | batch-statistics | KonduitAI/deeplearning4j!41
        """),
    *cases("jax", tangent, """
        power not lowered | cube W1 b1 | activation-derivative | jax!11469
        factor left out | cube W1 b1 | scale | jax!11469
        """),
    *cases("jax", stopped, """
        gate stopped | W1 b1 | left-out | andylolu2/jax-vqvae-gpt#2
        statistics stopped | W1 b1 | left-out | andylolu2/jax-vqvae-gpt#2
        all of it stopped | W1 b1 | detached | andylolu2/jax-vqvae-gpt#2
        """),
    *cases("jax", embedding, """
        set instead of add | lookup E | overwritten | HIPS/autograd#39
        first row zeroed | lookup E | wrong-rows | pytorch#26302
        """),
]  # fmt: skip
