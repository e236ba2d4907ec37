"""Next-k forecaster: a window of 24 values gives the next 6 at once, MLP on differences from the last value."""

import jax
import jax.numpy as jnp
import numpy as np

B, W, K, H = 32, 24, 6, 48


def make(seed):
    r = np.random.default_rng(seed)
    t = np.arange(W + K)[None]
    x = (
        np.sin(0.26 * t + r.uniform(0, 6.28, (B, 1)))
        + 0.5 * np.sin(0.9 * t + r.uniform(0, 6.28, (B, 1)))
        + 0.1 * r.normal(size=(B, W + K))
    )
    x = ((x - x.mean()) / x.std()).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 3)
    w = lambda k, i, o, c=1.0: (c * jax.random.normal(k, (i, o)) / np.sqrt(i), jnp.zeros(o))
    params = [w(k[0], W, H), w(k[1], H, H), w(k[2], H, K, 0.5)]

    def forecast(params, past):
        last = past[:, -1:]
        h = past - last
        for a, b in params[:-1]:
            h = jax.nn.gelu(h @ a + b)
        return last + h @ params[-1][0] + params[-1][1]

    def loss(params, past, future):
        return jnp.mean((forecast(params, past) - future) ** 2)

    return loss, params, (jnp.asarray(x[:, :W]), jnp.asarray(x[:, W:]))
