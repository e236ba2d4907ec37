"""Bag-of-words text classifier: masked mean of embeddings, softmax layer, L2 regularisation as a term."""

import jax
import jax.numpy as jnp
import numpy as np

V, T, B, D, C = 60, 16, 32, 12, 3


def make(seed):
    g = np.random.default_rng(3)
    topic = g.dirichlet(np.full(V - 1, 0.1), C)
    r = np.random.default_rng(seed)
    y = r.integers(0, C, B)
    n = r.integers(5, T + 1, B)
    ids = np.stack([1 + r.choice(V - 1, T, p=topic[c]) for c in y])
    ids = np.where(np.arange(T)[None] < n[:, None], ids, 0).astype(np.int32)
    k1, k2 = jax.random.split(jax.random.PRNGKey(seed))
    params = {
        "embedding": jax.random.normal(k1, (V, D)),
        "w": jax.random.normal(k2, (D, C)) / np.sqrt(D),
        "b": jnp.zeros(C),
    }

    @jax.jit
    def logits(params, ids):
        m = (ids > 0)[..., None]
        e = jnp.where(m, params["embedding"][ids], 0).sum(1) / m.sum(1)
        return e @ params["w"] + params["b"]

    def loss(params, ids, labels):
        ce = -jnp.take_along_axis(jax.nn.log_softmax(logits(params, ids)), labels[:, None], 1).mean()
        l2 = sum(jnp.sum(params[n] ** 2) for n in ("embedding", "w"))
        return ce + 1e-4 * l2

    return loss, params, (jnp.asarray(ids), jnp.asarray(y, jnp.int32))
