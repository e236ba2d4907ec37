"""Masked language model: bidirectional attention, labels -100 where nothing was masked."""

import jax
import jax.numpy as jnp
import numpy as np

V, T, B, D, H, MASK = 16, 18, 16, 32, 2, 0


def make(seed):
    r = np.random.default_rng(seed)
    start = r.integers(0, V - 1, (B, 1))
    stride = r.integers(1, 4, (B, 1))
    ids = 1 + (start + stride * np.arange(T)) % (V - 1)
    pick = r.random((B, T)) < 0.2
    pick[:, 3] = True
    inp = np.where(pick, MASK, ids)
    lab = np.where(pick, ids, -100)
    k = jax.random.split(jax.random.PRNGKey(seed), 8)
    w = lambda k, i, o: jax.random.normal(k, (i, o)) / np.sqrt(i)
    params = {
        "tok": jax.random.normal(k[0], (V, D)) * 0.5,
        "pos": jax.random.normal(k[1], (T, D)) * 0.5,
        "qkv": w(k[2], D, 3 * D),
        "o": w(k[3], D, D),
        "a": w(k[4], D, 2 * D),
        "b": w(k[5], 2 * D, D),
        "head": w(k[6], D, V),
        "bias": jnp.zeros(V),
    }

    def ln(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def encode(p, ids):
        x = p["tok"][ids] + p["pos"]
        q, kk, v = (a.reshape(*a.shape[:-1], H, D // H) for a in jnp.split(ln(x) @ p["qkv"], 3, -1))
        s = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, kk) / np.sqrt(D // H))
        x = x + jnp.einsum("bhts,bshd->bthd", s, v).reshape(x.shape) @ p["o"]
        x = x + jax.nn.gelu(ln(x) @ p["a"]) @ p["b"]
        return ln(x) @ p["head"] + p["bias"]

    def loss(params, batch):
        lab = batch["labels"]
        keep = lab != -100
        logp = jax.nn.log_softmax(encode(params, batch["input_ids"]))
        nll = -jnp.take_along_axis(logp, jnp.where(keep, lab, 0)[..., None], -1)[..., 0]
        return jnp.where(keep, nll, 0).sum() / keep.sum()

    return loss, params, ({"input_ids": jnp.asarray(inp, jnp.int32), "labels": jnp.asarray(lab, jnp.int32)},)
