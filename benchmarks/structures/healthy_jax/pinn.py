"""PINN: u'' + u = 0 with u(0) = 1, u'(0) = 0 on [0, 3]; residual and boundary terms, no data targets."""

import jax
import jax.numpy as jnp
import numpy as np

N, H = 32, 24


def make(seed):
    r = np.random.default_rng(seed)
    x = np.sort(r.uniform(0, 3, N)).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 3)
    w = lambda k, i, o: (jax.random.normal(k, (i, o)) / np.sqrt(i), jnp.zeros(o))
    params = [w(k[0], 1, H), w(k[1], H, H), w(k[2], H, 1)]

    def u(params, x):
        h = x[None]
        for a, b in params[:-1]:
            h = jnp.tanh(h @ a + b)
        return (h @ params[-1][0] + params[-1][1])[0]

    du = jax.grad(u, argnums=1)
    d2u = jax.grad(du, argnums=1)

    def loss(params, points):
        res = jax.vmap(lambda x: d2u(params, x) + u(params, x))(points)
        zero = jnp.array(0.0)
        return jnp.mean(res**2) + (u(params, zero) - 1.0) ** 2 + du(params, zero) ** 2

    return loss, params, (jnp.asarray(x),)
