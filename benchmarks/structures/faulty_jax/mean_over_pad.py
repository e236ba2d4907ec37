"""Sentence regressor: token embeddings, one self-attention block with a key padding mask,
mean pooling, a dense head for a similarity score; vmapped over sentences.

Fault: the pooling is a plain mean over the padded length; the attention mask is used in
the attention only.
Source: autoliuweijie/BERT-whitening-pytorch issue #13 (average pooling without the
attention mask, 2022).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "padding"
V, T, B, D = 40, 24, 24, 24


def data(seed):
    g = np.random.default_rng(31)
    val = g.normal(size=V)
    r = np.random.default_rng(seed)
    n = r.choice([3, 4, 5, 6, 10, 18, 24], B)
    ids = r.integers(1, V, (B, T))
    m = np.arange(T)[None] < n[:, None]
    ids = np.where(m, ids, 0)
    s = (val[ids] * m).sum(1) / n
    s = s / s.std() + 0.1 * r.normal(size=B)
    return {"input_ids": ids.astype(np.int32), "attention_mask": m.astype(np.float32), "score": s.astype(np.float32)}


def init(key):
    k = jax.random.split(key, 6)
    n = lambda k, i, o: jax.random.normal(k, (i, o)) / np.sqrt(i)
    return {
        "emb": jax.random.normal(k[0], (V, D)),
        "qkv": n(k[1], D, 3 * D),
        "out": n(k[2], D, D) * 0.5,
        "w1": n(k[3], D, D),
        "b1": jnp.zeros(D),
        "w2": n(k[4], D, 1)[:, 0],
        "b2": jnp.zeros(()),
    }


def make(seed, fixed):
    batch = {k: jnp.asarray(v) for k, v in data(seed).items()}

    def score(p, ids, mask):
        h = p["emb"][ids]
        q, k, v = jnp.split(h @ p["qkv"], 3, -1)
        a = q @ k.T / jnp.sqrt(D) + (1.0 - mask)[None, :] * -1e9
        h = h + jax.nn.softmax(a, -1) @ v @ p["out"]
        if fixed:
            pooled = (h * mask[:, None]).sum(0) / mask.sum()
        else:
            pooled = h.mean(axis=0)
        return jnp.tanh(pooled @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]

    def loss(params, batch):
        pred = jax.vmap(lambda i, m: score(params, i, m))(batch["input_ids"], batch["attention_mask"])
        return jnp.mean((pred - batch["score"]) ** 2)

    return loss, init(jax.random.PRNGKey(seed)), (batch,)
