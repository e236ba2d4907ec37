"""Part-of-speech style tagger: a transformer encoder block with four heads, sinusoidal
positions; the tag of a word depends on its neighbour. Written per sentence, vmapped.

Fault: after the attention the values have the shape [heads, time, depth] and are reshaped
to [time, heads * depth] without the transpose, which mixes heads with time steps.
Source: jsbaan/transformer-from-scratch pull request #6 (missing permute before a reshape
in multi-head attention, 2026).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "order"
V, T, B, D, H, TAGS = 12, 16, 16, 32, 4, 5


def data(seed):
    g = np.random.default_rng(13)
    rule = g.integers(0, TAGS, (V, V))
    r = np.random.default_rng(seed)
    x = r.integers(0, V, (B, T))
    left = np.concatenate([np.zeros((B, 1), int), x[:, :-1]], 1)
    return x.astype(np.int32), rule[left % 3, x].astype(np.int32)


def sinusoid(t, d):
    pos = np.arange(t)[:, None] / 10000 ** (np.arange(0, d, 2) / d)
    return jnp.asarray(np.concatenate([np.sin(pos), np.cos(pos)], 1), jnp.float32)


def linear(key, i, o):
    return {"w": jax.random.normal(key, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


def make(seed, fixed):
    x, y = data(seed)
    k = jax.random.split(jax.random.PRNGKey(seed), 7)
    params = {
        "embed": jax.random.normal(k[0], (V, D)),
        "block": [
            {"qkv": linear(k[1 + 3 * i], D, 3 * D), "o": linear(k[2 + 3 * i], D, D), "ff": linear(k[3 + 3 * i], D, D)}
            for i in range(2)
        ],
        "tag": linear(jax.random.fold_in(k[0], 1), D, TAGS),
    }
    pos = sinusoid(T, D)

    def lin(p, x):
        return x @ p["w"] + p["b"]

    def mha(p, x):
        t = x.shape[0]
        qkv = lin(p["qkv"], x).reshape(t, H, 3 * D // H).transpose(1, 0, 2)
        q, k, v = jnp.split(qkv, 3, axis=-1)
        att = jax.nn.softmax(q @ k.transpose(0, 2, 1) / np.sqrt(D / H), axis=-1)
        values = att @ v
        if fixed:
            values = values.transpose(1, 0, 2)
        return lin(p["o"], values.reshape(t, D))

    def tagger(params, ids):
        h = params["embed"][ids] + pos
        for p in params["block"]:
            h = layer_norm(h + mha(p, h))
            h = layer_norm(h + jax.nn.relu(lin(p["ff"], h)))
        return lin(params["tag"], h)

    def loss(params, words, tags):
        logits = jax.vmap(tagger, (None, 0))(params, words)
        return -jnp.sum(jax.nn.one_hot(tags, TAGS) * jax.nn.log_softmax(logits)) / tags.size

    return loss, params, (jnp.asarray(x), jnp.asarray(y))
