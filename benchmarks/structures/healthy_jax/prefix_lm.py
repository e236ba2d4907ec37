"""Prefix LM: full attention inside a prefix of 6 tokens, causal after it, loss on the suffix only."""

import jax
import jax.numpy as jnp
import numpy as np

V, T, P, B, D = 18, 18, 6, 16, 32


def make(seed):
    g = np.random.default_rng(2)
    table = g.integers(0, V, (V, 3))
    r = np.random.default_rng(seed)
    x = r.integers(0, V, (B, T)).astype(np.int32)
    key = x[:, :P].sum(1) % 3
    for t in range(P, T):
        x[:, t] = table[x[:, t - 1], key]
    k = jax.random.split(jax.random.PRNGKey(seed), 20)
    w = lambda k, i, o: jax.random.normal(k, (i, o)) / np.sqrt(i)
    params = {
        "tok": jax.random.normal(k[0], (V, D)) * 0.5,
        "pos": jax.random.normal(k[1], (T, D)) * 0.3,
        "head": w(k[2], D, V),
        "blocks": [
            {
                "q": w(k[3 + 6 * i], D, D),
                "k": w(k[4 + 6 * i], D, D),
                "v": w(k[5 + 6 * i], D, D),
                "o": w(k[6 + 6 * i], D, D),
                "a": w(k[7 + 6 * i], D, 2 * D),
                "b": w(k[8 + 6 * i], 2 * D, D),
            }
            for i in range(2)
        ],
    }

    def rms(x):
        return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)

    @jax.jit
    def model(p, tokens):
        t = tokens.shape[1]
        mask = jnp.tril(jnp.ones((t, t), bool)) | (jnp.arange(t) < P)[None, :]
        h = p["tok"][tokens] + p["pos"][:t]
        for b in p["blocks"]:
            y = rms(h)
            s = jnp.einsum("btd,bsd->bts", y @ b["q"], y @ b["k"]) / np.sqrt(D)
            h = h + jax.nn.softmax(jnp.where(mask, s, -jnp.inf)) @ (y @ b["v"]) @ b["o"]
            h = h + jax.nn.silu(rms(h) @ b["a"]) @ b["b"]
        return rms(h) @ p["head"]

    def loss(params, tokens):
        logits = model(params, tokens[:, :-1])[:, P - 1 :]
        y = tokens[:, P:]
        return -(jax.nn.one_hot(y, V) * jax.nn.log_softmax(logits)).sum(-1).mean()

    return loss, params, (jnp.asarray(x),)
