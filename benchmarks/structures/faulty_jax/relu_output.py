"""Retention-time regressor for peptides: residue embeddings, two 1-D convolutions, global max
pooling, dense; the times are standardised, hence half of them negative.

Fault: the last dense layer is followed by a ReLU, so no negative time can be predicted (and
an example whose output is negative gets no gradient).
Source: ProteomicsML/ProteomicsML pull request #203 ("Do not use ReLU activation for the final
regression layer", 2026).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "range"
B, L, A, E, F = 24, 18, 20, 12, 32


def data(seed):
    g = np.random.default_rng(14)
    hyd = g.normal(size=A)
    r = np.random.default_rng(seed)
    s = r.integers(0, A, (B, L))
    t = hyd[s].sum(1) + 0.8 * (hyd[s][:, 1:] * hyd[s][:, :-1]).sum(1) * 0.5
    t = (t - t.mean()) / t.std()
    return s.astype(np.int32), t.astype(np.float32)[:, None]


def init(key):
    k = jax.random.split(key, 5)
    cv = lambda k, i, o: {"w": jax.random.normal(k, (3, i, o)) * np.sqrt(2 / (3 * i)), "b": jnp.zeros(o)}
    n = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    return {
        "emb": jax.random.normal(k[0], (A, E)),
        "c1": cv(k[1], E, F),
        "c2": cv(k[2], F, F),
        "d1": n(k[3], F, 32),
        "d2": n(k[4], 32, 1),
    }


def conv(p, x):
    return jax.lax.conv_general_dilated(x, p["w"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")) + p["b"]


def make(seed, fixed):
    s, t = data(seed)

    @jax.jit
    def predict(params, seqs):
        h = params["emb"][seqs]
        h = jax.nn.relu(conv(params["c1"], h))
        h = jax.nn.relu(conv(params["c2"], h)).mean(axis=1)
        h = jax.nn.relu(h @ params["d1"]["w"] + params["d1"]["b"])
        out = h @ params["d2"]["w"] + params["d2"]["b"]
        if not fixed:
            out = jax.nn.relu(out)
        return out

    def loss(params, seqs, times):
        return jnp.mean(jnp.abs(predict(params, seqs) - times))

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(s), jnp.asarray(t))
