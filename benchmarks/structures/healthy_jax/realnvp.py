"""Normalising flow (RealNVP, four affine couplings) on two-dimensional data: negative log-likelihood with log-determinants."""

import jax
import jax.numpy as jnp
import numpy as np

B, H, L = 32, 24, 4


def make(seed):
    r = np.random.default_rng(seed)
    a = r.normal(size=B)
    x = np.stack([a, 0.6 * a**2 - 0.6 + 0.3 * r.normal(size=B)], 1)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    ks = jax.random.split(jax.random.PRNGKey(seed), 2 * L)
    params = [
        {
            "w1": jax.random.normal(ks[2 * i], (1, H)),
            "b1": jnp.zeros(H),
            "w2": 0.05 * jax.random.normal(ks[2 * i + 1], (H, 2)) / np.sqrt(H),
            "b2": jnp.zeros(2),
        }
        for i in range(L)
    ]

    def log_prob(params, x):
        logdet = 0.0
        for i, p in enumerate(params):
            keep, move = x[i % 2], x[1 - i % 2]
            s, t = jnp.tanh(keep[None] @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
            s = jnp.tanh(s)
            move = move * jnp.exp(s) + t
            logdet = logdet + s
            x = jnp.stack([keep, move]) if i % 2 == 0 else jnp.stack([move, keep])
        return -0.5 * jnp.sum(x**2) - jnp.log(2 * jnp.pi) + logdet

    def loss(params, x):
        return -jnp.mean(jax.vmap(log_prob, (None, 0))(params, x))

    return loss, params, (jnp.asarray(x),)
