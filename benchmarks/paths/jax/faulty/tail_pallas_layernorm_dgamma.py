# cause: tail
# size: 0.11
# dtype: float32
# where: input 2 (beta), then input 1 (gamma)
# source: row-blocked layer norm backward (compare flagos-ai/FlagGems issue 5392, linkedin/Liger-Kernel pull 815), Pallas kernel written anew
# why: the grid of the dgamma / dbeta kernel is rows // 16, so the row after the last full block is left out
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

BLOCK = 16
EPS = 1e-5


def dx_kernel(x_ref, gamma_ref, g_ref, dx_ref):
    x = x_ref[...]
    m = jnp.mean(x, axis=1, keepdims=True)
    rstd = jax.lax.rsqrt(jnp.mean((x - m) ** 2, axis=1, keepdims=True) + EPS)
    xh, gg = (x - m) * rstd, g_ref[...] * gamma_ref[...]
    dx_ref[...] = rstd * (gg - jnp.mean(gg, axis=1, keepdims=True) - xh * jnp.mean(gg * xh, axis=1, keepdims=True))


def param_kernel(x_ref, g_ref, dgamma_ref, dbeta_ref):
    @pl.when(pl.program_id(0) == 0)
    def _():
        dgamma_ref[...] = jnp.zeros_like(dgamma_ref)
        dbeta_ref[...] = jnp.zeros_like(dbeta_ref)

    x, g = x_ref[...], g_ref[...]
    m = jnp.mean(x, axis=1, keepdims=True)
    xh = (x - m) * jax.lax.rsqrt(jnp.mean((x - m) ** 2, axis=1, keepdims=True) + EPS)
    dgamma_ref[...] += jnp.sum(g * xh, axis=0, keepdims=True)
    dbeta_ref[...] += jnp.sum(g, axis=0, keepdims=True)


def make_norm(faulty):
    @jax.custom_vjp
    def norm(x, gamma, beta):
        m = jnp.mean(x, axis=1, keepdims=True)
        rstd = jax.lax.rsqrt(jnp.mean((x - m) ** 2, axis=1, keepdims=True) + EPS)
        return (x - m) * rstd * gamma + beta

    def fwd(x, gamma, beta):
        return norm(x, gamma, beta), (x, gamma)

    def bwd(res, g):
        x, gamma = res
        n, d = x.shape
        blocks = -(-n // BLOCK)
        pad = ((0, blocks * BLOCK - n), (0, 0))
        xp, gp = jnp.pad(x, pad), jnp.pad(g, pad)
        rows = pl.BlockSpec((BLOCK, d), lambda i: (i, 0))
        whole = pl.BlockSpec((1, d), lambda i: (0, 0))
        dx = pl.pallas_call(dx_kernel, grid=(blocks,), in_specs=[rows, whole, rows], out_specs=rows,
                            out_shape=jax.ShapeDtypeStruct(xp.shape, x.dtype), interpret=True)(xp, gamma[None], gp)
        vector = jax.ShapeDtypeStruct((1, d), x.dtype)
        dgamma, dbeta = pl.pallas_call(param_kernel, grid=(n // BLOCK if faulty else blocks,), in_specs=[rows, rows],
                                       out_specs=[whole, whole], out_shape=[vector, vector], interpret=True)(xp, gp)
        return dx[:n], dgamma[0], dbeta[0]

    norm.defvjp(fwd, bwd)
    return norm


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(108)
    x = jnp.asarray(rng.normal(size=(129, 24)) * 1.5 + 0.5, jnp.float32)
    gamma = jnp.asarray(1 + 0.3 * rng.normal(size=24), jnp.float32)
    beta = jnp.asarray(rng.normal(size=24), jnp.float32)

    def reference(x, gamma, beta):
        m = jnp.mean(x, axis=1, keepdims=True)
        var = jnp.mean((x - m) ** 2, axis=1, keepdims=True)
        return (x - m) / jnp.sqrt(var + EPS) * gamma + beta

    return {"reference": reference, "candidate": make_norm(faulty), "inputs": (x, gamma, beta)}
