"""Sequence to sequence model (GRU encoder, GRU decoder with teacher forcing, both by
lax.scan) that learns to reverse and translate short sequences.

Fault: `dst` (decoder input) and `labels` are aligned: the decoder is given token t and
asked for token t, so it copies; `dst` ought to begin with BOS and lag by one.
Source: ayaka14732/bart-base-jax pull request #6 ("`dst` and `labels` are aligned
wrongly, so that the model would just copy the input to the output", 2022).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "targets"
V, N, B, D = 16, 8, 24, 40
BOS, EOS = 1, 2


def pairs(seed):
    g = np.random.default_rng(5)
    table = np.concatenate([[0, 1, 2], 3 + g.permutation(V - 3)])
    r = np.random.default_rng(seed)
    src = r.integers(3, V, (B, N))
    y = np.concatenate([table[src[:, ::-1]], np.full((B, 1), EOS)], 1)
    return src.astype(np.int32), y.astype(np.int32)


def cell(p, h, x):
    zr = jax.nn.sigmoid(jnp.concatenate([x, h], -1) @ p["gates"] + p["gb"])
    z, r = jnp.split(zr, 2, -1)
    n = jnp.tanh(jnp.concatenate([x, r * h], -1) @ p["cand"] + p["cb"])
    return z * h + (1 - z) * n


def cell_params(key):
    a, b = jax.random.split(key)
    s = 1 / np.sqrt(2 * D)
    return {
        "gates": jax.random.normal(a, (2 * D, 2 * D)) * s,
        "gb": jnp.ones(2 * D) * 0.5,
        "cand": jax.random.normal(b, (2 * D, D)) * s,
        "cb": jnp.zeros(D),
    }


def make(seed, fixed):
    src, y = pairs(seed)
    k = jax.random.split(jax.random.PRNGKey(seed), 5)
    params = {
        "src_emb": jax.random.normal(k[0], (V, D)) * 0.5,
        "dst_emb": jax.random.normal(k[1], (V, D)) * 0.5,
        "enc": cell_params(k[2]),
        "dec": cell_params(k[3]),
        "lm_head": {"kernel": jax.random.normal(k[4], (D, V)) / np.sqrt(D), "bias": jnp.zeros(V)},
    }

    def run(p, h, xs):
        def f(h, x):
            h = cell(p, h, x)
            return h, h

        return jax.lax.scan(f, h, xs.swapaxes(0, 1))

    def loss(params, batch):
        h0 = jnp.zeros((batch["src"].shape[0], D))
        h, _ = run(params["enc"], h0, params["src_emb"][batch["src"]])
        _, hs = run(params["dec"], h, params["dst_emb"][batch["dst"]])
        logits = hs.swapaxes(0, 1) @ params["lm_head"]["kernel"] + params["lm_head"]["bias"]
        logp = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logp, batch["labels"][..., None], 2).mean()

    dst = np.concatenate([np.full((B, 1), BOS), y[:, :-1]], 1) if fixed else y
    batch = {"src": jnp.asarray(src), "dst": jnp.asarray(dst, jnp.int32), "labels": jnp.asarray(y)}
    return loss, params, (batch,)
