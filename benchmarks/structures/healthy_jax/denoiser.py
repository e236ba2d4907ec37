"""Residual denoiser for 1-D signals: symmetric convolutions (they may look ahead), target = clean signal."""

import jax
import jax.numpy as jnp
import numpy as np

B, T, F = 16, 40, 16


def make(seed):
    r = np.random.default_rng(seed)
    t = np.arange(T)
    clean = sum(r.normal(size=(B, 1)) * np.sin(w * t[None] + r.uniform(0, 6, (B, 1))) for w in (0.2, 0.5, 0.8))
    clean = clean / clean.std()
    noisy = clean + 0.5 * r.normal(size=(B, T))
    k = jax.random.split(jax.random.PRNGKey(seed), 3)
    cv = lambda k, i, o: jax.random.normal(k, (5, i, o)) * np.sqrt(1 / (5 * i))
    params = {"in": cv(k[0], 1, F), "mid": cv(k[1], F, F), "out": cv(k[2], F, 1) * 0.3}

    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))

    def loss(params, noisy, clean):
        x = noisy[..., None]
        h = jnp.tanh(conv(x, params["in"]))
        h = h + jnp.tanh(conv(h, params["mid"]))
        return jnp.mean((x - conv(h, params["out"]) - clean[..., None]) ** 2)

    return loss, params, (jnp.asarray(noisy, jnp.float32), jnp.asarray(clean, jnp.float32))
