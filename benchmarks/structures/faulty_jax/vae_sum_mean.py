"""VAE on expression-like vectors (80 features, 8 latent dimensions).

Fault: the KL term is summed over the whole batch and the latents while the squared error is
averaged over everything; the KL drowns the reconstruction and the posterior collapses.
Source: zdebruine/MMVAE pull request #19 ("fix loss calculation for VAE", 2024).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "terms"
B, N, H, Z = 32, 80, 48, 8


def data(seed):
    g = np.random.default_rng(6)
    load = g.normal(size=(4, N))
    r = np.random.default_rng(seed)
    x = r.normal(size=(B, 4)) @ load / 2 + 0.3 * r.normal(size=(B, N))
    return (x / x.std()).astype(np.float32), r.normal(size=(B, Z)).astype(np.float32)


def init(key):
    k = jax.random.split(key, 5)
    n = lambda k, i, o, s=1.0: {"w": s * jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    return {
        "enc": n(k[0], N, H),
        "mu": n(k[1], H, Z),
        "logvar": n(k[2], H, Z, 0.1),
        "dec": n(k[3], Z, H),
        "out": n(k[4], H, N, 0.3),
    }


def make(seed, fixed):
    x, eps = data(seed)

    def lin(p, x):
        return x @ p["w"] + p["b"]

    def loss(params, x, eps):
        h = jax.nn.softplus(lin(params["enc"], x))
        mu, logvar = lin(params["mu"], h), lin(params["logvar"], h)
        z = mu + jnp.exp(0.5 * logvar) * eps
        xhat = lin(params["out"], jax.nn.softplus(lin(params["dec"], z)))
        kl = -0.5 * jnp.sum(1 + logvar - mu**2 - jnp.exp(logvar), axis=-1)
        if fixed:
            recon = jnp.sum((xhat - x) ** 2, axis=-1).mean()
            kl = kl.mean()
        else:
            recon = jnp.mean((xhat - x) ** 2)
            kl = kl.sum()
        return recon + kl

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(eps))
