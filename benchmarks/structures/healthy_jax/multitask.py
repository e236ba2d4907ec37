"""Multi-task tower: shared MLP, a 5-class head, a regression head with weight 0.5 and a binary head with weight 0.2."""

import jax
import jax.numpy as jnp
import numpy as np

B, F, H, C = 32, 12, 40, 5


def make(seed):
    g = np.random.default_rng(6)
    a, b, c = g.normal(size=(F, C)), g.normal(size=F), g.normal(size=F)
    r = np.random.default_rng(seed)
    x = r.normal(size=(B, F))
    batch = {
        "x": jnp.asarray(x, jnp.float32),
        "cls": jnp.asarray((x @ a).argmax(1), jnp.int32),
        "reg": jnp.asarray(x @ b / np.sqrt(F) + 0.1 * r.normal(size=B), jnp.float32),
        "flag": jnp.asarray(x @ c > 0, jnp.float32),
    }
    k = jax.random.split(jax.random.PRNGKey(seed), 5)
    w = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) * np.sqrt(1 / i), "b": jnp.zeros(o)}
    params = {
        "s1": w(k[0], F, H),
        "s2": w(k[1], H, H),
        "cls": w(k[2], H, C),
        "reg": w(k[3], H, 1),
        "flag": w(k[4], H, 1),
    }

    def f(p, x):
        return x @ p["w"] + p["b"]

    def loss(params, batch):
        h = jax.nn.silu(f(params["s2"], jax.nn.silu(f(params["s1"], batch["x"]))))
        ce = -(jax.nn.one_hot(batch["cls"], C) * jax.nn.log_softmax(f(params["cls"], h))).sum(-1).mean()
        mse = ((f(params["reg"], h)[:, 0] - batch["reg"]) ** 2).mean()
        z = f(params["flag"], h)[:, 0]
        bce = (jax.nn.softplus(z) - batch["flag"] * z).mean()
        return ce + 0.5 * mse + 0.2 * bce

    return loss, params, (batch,)
