"""Diffusion on 2-D points: the net predicts the noise eps from x_t and the time step."""

import jax
import jax.numpy as jnp
import numpy as np

B, STEPS, H = 32, 50, 48


def make(seed):
    r = np.random.default_rng(seed)
    th = r.uniform(0, 6.28, B)
    x0 = np.stack([np.cos(th), np.sin(th)], 1) * 1.4 + 0.05 * r.normal(size=(B, 2))
    t = r.integers(0, STEPS, B)
    eps = r.normal(size=(B, 2))
    abar = jnp.asarray(np.cumprod(1 - np.linspace(1e-3, 0.12, STEPS)), jnp.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 4)
    w = lambda k, i, o, c=1.0: {"w": c * jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    params = {"in": w(k[0], 2 + 16, H), "mid": w(k[1], H, H), "out": w(k[2], H, 2, 0.3)}
    freqs = jnp.asarray(np.exp(np.linspace(0, -4, 8)), jnp.float32)

    def f(p, x):
        return x @ p["w"] + p["b"]

    def eps_model(params, x, t):
        a = t[:, None] * freqs
        h = jax.nn.silu(f(params["in"], jnp.concatenate([x, jnp.sin(a), jnp.cos(a)], -1)))
        h = h + jax.nn.silu(f(params["mid"], h))
        return f(params["out"], h)

    def loss(params, batch):
        ab = abar[batch["t"]][:, None]
        xt = jnp.sqrt(ab) * batch["x0"] + jnp.sqrt(1 - ab) * batch["eps"]
        return jnp.mean((eps_model(params, xt, batch["t"].astype(jnp.float32)) - batch["eps"]) ** 2)

    return (
        loss,
        params,
        ({"x0": jnp.asarray(x0, jnp.float32), "t": jnp.asarray(t, jnp.int32), "eps": jnp.asarray(eps, jnp.float32)},),
    )
