"""VAE on binary patterns: Bernoulli decoder on logits, reconstruction and KL both summed per example, mean over the batch."""

import jax
import jax.numpy as jnp
import numpy as np

B, N, H, Z = 32, 36, 32, 4


def make(seed):
    g = np.random.default_rng(8)
    protos = g.random((6, N)) < 0.4
    r = np.random.default_rng(seed)
    x = (protos[r.integers(0, 6, B)] ^ (r.random((B, N)) < 0.05)).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 4)
    w = lambda k, i, o, c=1.0: {"w": c * jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    params = {"e": w(k[0], N, H), "stats": w(k[1], H, 2 * Z, 0.5), "d": w(k[2], Z, H), "o": w(k[3], H, N, 0.5)}

    def f(p, x):
        return x @ p["w"] + p["b"]

    def loss(params, x, eps):
        mu, logvar = jnp.split(f(params["stats"], jnp.tanh(f(params["e"], 2 * x - 1))), 2, -1)
        z = mu + jnp.exp(0.5 * logvar) * eps
        logits = f(params["o"], jnp.tanh(f(params["d"], z)))
        rec = (jax.nn.softplus(logits) - x * logits).sum(-1)
        kl = 0.5 * (jnp.exp(logvar) + mu**2 - 1 - logvar).sum(-1)
        return (rec + kl).mean()

    return loss, params, (jnp.asarray(x), jnp.asarray(r.normal(size=(B, Z)), jnp.float32))
