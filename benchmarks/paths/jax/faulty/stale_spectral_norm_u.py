# cause: stale-cache
# size: 0.36
# dtype: float32
# where: input 1 (w) only
# source: spectral normalisation (Miyato et al. 2018; flax.linen.SpectralNorm), written anew
# why: the backward pass takes the u kept from the last step in place of the u that this forward pass just iterated
import jax
import jax.numpy as jnp
import numpy as np


def unit(x):
    return x / jnp.sqrt(jnp.sum(x * x) + 1e-12)


def make_dense(u0, faulty):
    def power(w):
        old = jnp.asarray(u0, w.dtype)
        v = unit(w.T @ old)
        u = unit(w @ v)
        return old, u, v, u @ w @ v

    @jax.custom_vjp
    def dense(x, w):
        return x @ (w / power(w)[3]).T

    def fwd(x, w):
        old, u, v, sigma = power(w)
        return x @ (w / sigma).T, (x, w, old, u, v, sigma)

    def bwd(res, g):
        x, w, old, u, v, sigma = res
        dbar = g.T @ x
        u = old if faulty else u
        dw = dbar / sigma - jnp.sum(dbar * w) / sigma ** 2 * jnp.outer(u, v)
        return g @ (w / sigma), dw

    dense.defvjp(fwd, bwd)
    return dense


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(112)
    w = rng.normal(size=(18, 12)) * 0.3
    u0 = np.linalg.svd(w + rng.normal(size=w.shape) * 0.15)[0][:, 0]
    x = jnp.asarray(rng.normal(size=(30, 12)), jnp.float32)
    w = jnp.asarray(w, jnp.float32)

    def reference(x, w):
        v = jax.lax.stop_gradient(unit(w.T @ jnp.asarray(u0, w.dtype)))
        u = jax.lax.stop_gradient(unit(w @ v))
        return 0.5 * jnp.mean(jnp.tanh(x @ (w / (u @ w @ v)).T) ** 2)

    dense = make_dense(u0, faulty)

    def candidate(x, w):
        return 0.5 * jnp.mean(jnp.tanh(dense(x, w)) ** 2)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
