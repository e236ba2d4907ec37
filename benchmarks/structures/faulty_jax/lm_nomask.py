"""Word language model with a small transformer encoder (two blocks, d=32).

Fault: the self-attention gets no causal mask, so the logits at position t are
computed from the token at t+1 that they should predict.
Source: pytorch/tutorials issue #2478 ("TransformerEncoder is not causal", 2023),
mended by pull request #2662.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

KIND = "future"
V, T, B, D, H = 24, 20, 16, 32, 4


def sample_tokens(seed):
    g = np.random.default_rng(7)
    nxt = np.stack([g.choice(V, 3, replace=False) for _ in range(V)])
    r = np.random.default_rng(seed)
    x = np.zeros((B, T + 1), np.int32)
    x[:, 0] = r.integers(0, V, B)
    for t in range(T):
        k = r.choice(3, B, p=[0.6, 0.25, 0.15])
        x[:, t + 1] = nxt[x[:, t], k]
    return x


def dense(key, i, o):
    return {"w": jax.random.normal(key, (i, o)) / jnp.sqrt(i), "b": jnp.zeros(o)}


def apply(p, x):
    return x @ p["w"] + p["b"]


def norm(p, x):
    m = x.mean(-1, keepdims=True)
    v = x.var(-1, keepdims=True)
    return (x - m) / jnp.sqrt(v + 1e-5) * p["scale"] + p["bias"]


def init(key):
    ks = iter(jax.random.split(key, 20))
    ln = lambda: {"scale": jnp.ones(D), "bias": jnp.zeros(D)}
    layers = [
        {
            "qkv": dense(next(ks), D, 3 * D),
            "out": dense(next(ks), D, D),
            "up": dense(next(ks), D, 2 * D),
            "down": dense(next(ks), 2 * D, D),
            "ln1": ln(),
            "ln2": ln(),
        }
        for _ in range(2)
    ]
    return {
        "tok": jax.random.normal(next(ks), (V, D)) * 0.5,
        "pos": jax.random.normal(next(ks), (T, D)) * 0.1,
        "layers": layers,
        "ln_f": ln(),
        "head": dense(next(ks), D, V),
    }


def attention(p, x, mask):
    b, t, _ = x.shape
    q, k, v = jnp.split(apply(p["qkv"], x), 3, axis=-1)
    split = lambda a: a.reshape(b, t, H, D // H).transpose(0, 2, 1, 3)
    q, k, v = split(q), split(k), split(v)
    s = q @ k.swapaxes(-1, -2) / jnp.sqrt(D / H)
    if mask is not None:
        s = jnp.where(mask, s, -1e9)
    o = jax.nn.softmax(s, axis=-1) @ v
    return apply(p["out"], o.transpose(0, 2, 1, 3).reshape(b, t, D))


@partial(jax.jit, static_argnames="causal")
def model(params, ids, causal):
    t = ids.shape[1]
    mask = jnp.tril(jnp.ones((t, t), bool)) if causal else None
    x = params["tok"][ids] + params["pos"][:t]
    for p in params["layers"]:
        x = x + attention(p, norm(p["ln1"], x), mask)
        x = x + apply(p["down"], jax.nn.gelu(apply(p["up"], norm(p["ln2"], x))))
    return apply(params["head"], norm(params["ln_f"], x))


def make(seed, fixed):
    toks = sample_tokens(seed)
    params = init(jax.random.PRNGKey(seed))

    def loss(params, batch):
        logits = model(params, batch["input_ids"], causal=fixed)
        logp = jax.nn.log_softmax(logits, -1)
        ll = jnp.take_along_axis(logp, batch["labels"][..., None], -1)[..., 0]
        return -ll.mean()

    batch = {"input_ids": jnp.asarray(toks[:, :-1]), "labels": jnp.asarray(toks[:, 1:])}
    return loss, params, (batch,)
