"""VQ-VAE on tabular rows: codebook and commitment terms with stop_gradient on purpose, straight-through decoder."""

import jax
import jax.numpy as jnp
import numpy as np

B, N, D, K = 32, 12, 6, 16


def make(seed):
    g = np.random.default_rng(5)
    c = g.normal(size=(8, N)) * 1.2
    r = np.random.default_rng(seed)
    x = c[r.integers(0, 8, B)] + 0.2 * r.normal(size=(B, N))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 5)
    w = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    params = {
        "e1": w(k[0], N, 32),
        "e2": w(k[1], 32, D),
        "d1": w(k[2], D, 32),
        "d2": w(k[3], 32, N),
        "code": jax.random.normal(k[4], (K, D)) * 0.8,
    }
    sg = jax.lax.stop_gradient

    def f(p, x):
        return x @ p["w"] + p["b"]

    def loss(params, x):
        z = 1.5 * jnp.tanh(f(params["e2"], jax.nn.gelu(f(params["e1"], x))))
        d = (z**2).sum(-1, keepdims=True) - 2 * z @ params["code"].T + (params["code"] ** 2).sum(-1)
        q = params["code"][d.argmin(-1)]
        st = z + sg(q - z)
        xhat = f(params["d2"], jax.nn.gelu(f(params["d1"], st)))
        return ((xhat - x) ** 2).mean() + ((q - sg(z)) ** 2).mean() + 0.25 * ((z - sg(q)) ** 2).mean()

    return loss, params, (jnp.asarray(x),)
