# cause: none
# dtype: float32
# source: layer norm with one-pass variance (flax use_fast_variance) and per-block partial dgamma, Pallas kernels written anew
# why: variance as E[x^2] - E[x]^2 about a mean of 4, dgamma and dbeta summed in two stages, 107 rows padded to 112
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

BLOCK = 16
EPS = 1e-5


def moments(x):
    m = jnp.mean(x, axis=1, keepdims=True)
    var = jnp.maximum(jnp.mean(x * x, axis=1, keepdims=True) - m * m, 0)
    return m, jax.lax.rsqrt(var + EPS)


def fwd_kernel(x_ref, gamma_ref, beta_ref, y_ref):
    x = x_ref[...]
    m, rstd = moments(x)
    y_ref[...] = (x - m) * rstd * gamma_ref[...] + beta_ref[...]


def bwd_kernel(x_ref, gamma_ref, g_ref, dx_ref, dgamma_ref, dbeta_ref):
    x, g = x_ref[...], g_ref[...]
    m, rstd = moments(x)
    xh, gg = (x - m) * rstd, g * gamma_ref[...]
    dx_ref[...] = rstd * (gg - jnp.mean(gg, axis=1, keepdims=True) - xh * jnp.mean(gg * xh, axis=1, keepdims=True))
    dgamma_ref[0] = jnp.sum(g * xh, axis=0, keepdims=True)
    dbeta_ref[0] = jnp.sum(g, axis=0, keepdims=True)


def blocks(x):
    return jnp.pad(x, ((0, -x.shape[0] % BLOCK), (0, 0)))


def rows(d):
    return pl.BlockSpec((BLOCK, d), lambda i: (i, 0))


def whole(d):
    return pl.BlockSpec((1, d), lambda i: (0, 0))


@jax.custom_vjp
def norm(x, gamma, beta):
    xp, d = blocks(x), x.shape[1]
    y = pl.pallas_call(fwd_kernel, grid=(xp.shape[0] // BLOCK,), in_specs=[rows(d), whole(d), whole(d)], out_specs=rows(d),
                       out_shape=jax.ShapeDtypeStruct(xp.shape, x.dtype), interpret=True)(xp, gamma[None], beta[None])
    return y[:x.shape[0]]


def norm_fwd(x, gamma, beta):
    return norm(x, gamma, beta), (x, gamma)


def norm_bwd(res, g):
    x, gamma = res
    xp, d = blocks(x), x.shape[1]
    n = xp.shape[0] // BLOCK
    part = pl.BlockSpec((1, 1, d), lambda i: (i, 0, 0))
    shape = jax.ShapeDtypeStruct((n, 1, d), x.dtype)
    dx, dgamma, dbeta = pl.pallas_call(bwd_kernel, grid=(n,), in_specs=[rows(d), whole(d), rows(d)],
                                       out_specs=[rows(d), part, part], interpret=True,
                                       out_shape=[jax.ShapeDtypeStruct(xp.shape, x.dtype), shape, shape])(xp, gamma[None], blocks(g))
    return dx[:x.shape[0]], jnp.sum(dgamma, axis=(0, 1)), jnp.sum(dbeta, axis=(0, 1))


norm.defvjp(norm_fwd, norm_bwd)


def case() -> dict:
    rng = np.random.default_rng(202)
    x = jnp.asarray(rng.normal(size=(107, 24)) + 4.0, jnp.float32)
    gamma = jnp.asarray(1 + 0.3 * rng.normal(size=24), jnp.float32)
    beta = jnp.asarray(rng.normal(size=24), jnp.float32)

    def reference(x, gamma, beta):
        m = jnp.mean(x, axis=1, keepdims=True)
        var = jnp.mean((x - m) ** 2, axis=1, keepdims=True)
        return (x - m) / jnp.sqrt(var + EPS) * gamma + beta

    return {"reference": reference, "candidate": norm, "inputs": (x, gamma, beta)}
