"""Causal transformer LM on padded token batches: labels shifted inside, padding masked out."""

import jax
import jax.numpy as jnp
import numpy as np

V, T, B, D, H = 20, 20, 12, 32, 4


def make(seed):
    g = np.random.default_rng(1)
    nxt = g.integers(1, V, (V, 2))
    r = np.random.default_rng(seed)
    ids = np.zeros((B, T), np.int32)
    n = r.integers(8, T + 1, B)
    ids[:, 0] = r.integers(1, V, B)
    for t in range(1, T):
        ids[:, t] = nxt[ids[:, t - 1], (r.random(B) < 0.3).astype(int)]
    m = np.arange(T)[None] < n[:, None]
    ids = ids * m
    k = jax.random.split(jax.random.PRNGKey(seed), 8)
    w = lambda k, i, o: jax.random.normal(k, (i, o)) / np.sqrt(i)
    params = {
        "tok": jax.random.normal(k[0], (V, D)) * 0.5,
        "pos": jax.random.normal(k[1], (T, D)) * 0.1,
        "qkv": w(k[2], D, 3 * D),
        "o": w(k[3], D, D),
        "up": w(k[4], D, 2 * D),
        "down": w(k[5], 2 * D, D),
        "head": w(k[6], D, V),
    }

    def ln(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def one(p, ids, mask):
        x = p["tok"][ids] + p["pos"]
        q, kk, v = jnp.split(ln(x) @ p["qkv"], 3, -1)
        heads = lambda a: a.reshape(T, H, D // H).transpose(1, 0, 2)
        s = heads(q) @ heads(kk).transpose(0, 2, 1) / np.sqrt(D // H)
        ok = jnp.tril(jnp.ones((T, T), bool)) & (mask[None] > 0)
        a = jax.nn.softmax(jnp.where(ok, s, -1e9), -1)
        x = x + (a @ heads(v)).transpose(1, 0, 2).reshape(T, D) @ p["o"]
        x = x + jax.nn.gelu(ln(x) @ p["up"]) @ p["down"]
        return ln(x) @ p["head"]

    def loss(params, batch):
        logits = jax.vmap(one, (None, 0, 0))(params, batch["input_ids"], batch["attention_mask"])
        logp = jax.nn.log_softmax(logits[:, :-1])
        nll = -jnp.take_along_axis(logp, batch["input_ids"][:, 1:, None], -1)[..., 0]
        w = batch["attention_mask"][:, 1:]
        return (nll * w).sum() / w.sum()

    return loss, params, ({"input_ids": jnp.asarray(ids), "attention_mask": jnp.asarray(m, jnp.float32)},)
