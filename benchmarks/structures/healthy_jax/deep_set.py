"""Deep set: a masked sum over the elements of a set, order-free by design; regression of a set statistic."""

import jax
import jax.numpy as jnp
import numpy as np

B, N, F, D = 24, 12, 3, 32


def make(seed):
    r = np.random.default_rng(seed)
    n = r.integers(4, N + 1, B)
    m = (np.arange(N)[None] < n[:, None]).astype(np.float32)
    x = (r.normal(size=(B, N, F)) * m[..., None]).astype(np.float32)
    y = (np.maximum(x[..., 0], x[..., 1]) * m).sum(1) / n
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 4)
    w = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) * np.sqrt(1.5 / i), "b": jnp.zeros(o)}
    params = {"phi1": w(k[0], F, D), "phi2": w(k[1], D, D), "rho1": w(k[2], D, D), "rho2": w(k[3], D, 1)}

    def f(p, x):
        return x @ p["w"] + p["b"]

    def single(params, pts, mask):
        h = f(params["phi2"], jax.nn.relu(f(params["phi1"], pts)))
        s = (h * mask[:, None]).sum(0) / mask.sum()
        return f(params["rho2"], jax.nn.relu(f(params["rho1"], s)))[0]

    def loss(params, pts, mask, y):
        return jnp.mean((jax.vmap(single, (None, 0, 0))(params, pts, mask) - y) ** 2)

    return loss, params, (jnp.asarray(x), jnp.asarray(m), jnp.asarray(y))
