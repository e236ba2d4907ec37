"""Seq2seq: bidirectional GRU encoder, GRU decoder with attention and teacher forcing (BOS + target[:-1])."""

import jax
import jax.numpy as jnp
import numpy as np

V, N, B, D, BOS = 14, 7, 20, 24, 0


def make(seed):
    r = np.random.default_rng(seed)
    src = r.integers(1, V, (B, N)).astype(np.int32)
    tgt = src[:, ::-1].copy()
    dec_in = np.concatenate([np.full((B, 1), BOS, np.int32), tgt[:, :-1]], 1)
    k = jax.random.split(jax.random.PRNGKey(seed), 8)
    w = lambda k, i, o: jax.random.normal(k, (i, o)) / np.sqrt(i)
    gru = lambda k, i: {"x": w(k, i, 3 * D), "h": w(jax.random.fold_in(k, 1), D, 3 * D), "b": jnp.zeros(3 * D)}
    params = {
        "emb": jax.random.normal(k[0], (V, D)),
        "f": gru(k[1], D),
        "r": gru(k[2], D),
        "mem": w(k[3], 2 * D, D),
        "dec": gru(k[4], 2 * D),
        "pos": jax.random.normal(k[5], (N, D)) * 0.5,
        "out": w(k[6], 2 * D, V),
    }

    def cell(p, h, x):
        a, b = x @ p["x"] + p["b"], h @ p["h"]
        z = jax.nn.sigmoid(a[..., :D] + b[..., :D])
        rr = jax.nn.sigmoid(a[..., D : 2 * D] + b[..., D : 2 * D])
        return z * h + (1 - z) * jnp.tanh(a[..., 2 * D :] + rr * b[..., 2 * D :])

    def run(p, xs, reverse):
        return jax.lax.scan(lambda h, x: (cell(p, h, x),) * 2, jnp.zeros((xs.shape[1], D)), xs, reverse=reverse)[1]

    def loss(params, batch):
        e = params["emb"][batch["src"]].swapaxes(0, 1) + params["pos"][:, None]
        mem = jnp.concatenate([run(params["f"], e, False), run(params["r"], e, True)], -1) @ params["mem"]
        keys = mem.swapaxes(0, 1)

        def step(h, x):
            ctx = jnp.einsum("bn,bnd->bd", jax.nn.softmax(jnp.einsum("bd,bnd->bn", h, keys)), keys)
            h = cell(params["dec"], h, jnp.concatenate([x, ctx], -1))
            ctx = jnp.einsum("bn,bnd->bd", jax.nn.softmax(jnp.einsum("bd,bnd->bn", h, keys)), keys)
            return h, jnp.concatenate([h, ctx], -1) @ params["out"]

        _, logits = jax.lax.scan(step, mem[0] * 0.5, params["emb"][batch["decoder_input"]].swapaxes(0, 1))
        logp = jax.nn.log_softmax(logits.swapaxes(0, 1))
        return -jnp.take_along_axis(logp, batch["target"][..., None], -1).mean()

    return loss, params, ({"src": jnp.asarray(src), "decoder_input": jnp.asarray(dec_in), "target": jnp.asarray(tgt)},)
