# cause: precision
# size: 0.018
# dtype: bfloat16
# where: input 1 (w) only
# source: linkedin/Liger-Kernel pull 1253 (dtype of the norm's dW accumulators), pytorch/executorch pull 16727; Pallas kernel written anew
# why: dw is added up block by block in a bfloat16 buffer over 160 row blocks in place of a float32 one
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

BLOCK = 4
EPS = 1e-6
F32 = jnp.float32


def bwd_kernel(x_ref, w_ref, g_ref, dx_ref, dw_ref):
    @pl.when(pl.program_id(0) == 0)
    def _():
        dw_ref[...] = jnp.zeros_like(dw_ref)

    x, w, g = x_ref[...].astype(F32), w_ref[...].astype(F32), g_ref[...].astype(F32)
    rstd = jax.lax.rsqrt(jnp.mean(x * x, axis=1, keepdims=True) + EPS)
    xh = x * rstd
    gw = g * w
    dx_ref[...] = (rstd * (gw - xh * jnp.mean(gw * xh, axis=1, keepdims=True))).astype(dx_ref.dtype)
    dw_ref[...] += jnp.sum(g * xh, axis=0, keepdims=True).astype(dw_ref.dtype)


def make_norm(faulty):
    @jax.custom_vjp
    def norm(x, w):
        xf = x.astype(F32)
        rstd = jax.lax.rsqrt(jnp.mean(xf * xf, axis=1, keepdims=True) + EPS)
        return (xf * rstd * w.astype(F32)).astype(x.dtype)

    def fwd(x, w):
        return norm(x, w), (x, w)

    def bwd(res, g):
        x, w = res
        n, d = x.shape
        rows = pl.BlockSpec((BLOCK, d), lambda i: (i, 0))
        whole = pl.BlockSpec((1, d), lambda i: (0, 0))
        kind = jnp.bfloat16 if faulty else F32
        dx, dw = pl.pallas_call(bwd_kernel, grid=(n // BLOCK,), in_specs=[rows, whole, rows], out_specs=[rows, whole],
                                out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype), jax.ShapeDtypeStruct((1, d), kind)],
                                interpret=True)(x, w[None], g)
        return dx, dw[0].astype(w.dtype)

    norm.defvjp(fwd, bwd)
    return norm


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(114)
    x = jnp.asarray(rng.normal(size=(640, 24)), jnp.bfloat16)
    w = jnp.asarray(1 + 0.3 * rng.normal(size=24), jnp.bfloat16)
    norm = make_norm(faulty)

    def reference(x, w):
        y = x / jnp.sqrt(jnp.mean(x * x, axis=1, keepdims=True) + EPS) * w
        return jnp.mean(jax.nn.softplus(y) * y)

    def candidate(x, w):
        y = norm(x, w).astype(F32)
        return jnp.mean(jax.nn.softplus(y) * y)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
