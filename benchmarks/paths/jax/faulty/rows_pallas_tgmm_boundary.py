# cause: wrong-rows
# size: 0.17
# dtype: bfloat16
# where: input 1 (w) only
# source: transposed grouped matmul in the manner of megablox (jax.experimental.pallas.ops.tpu.megablox tgmm), written anew
# why: the mask of a boundary tile keeps row == end, so each expert's dw also sees the first row of the next expert
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

TILE = 16
SIZES = (31, 44, 17, 33)


def tgmm_kernel(start_ref, end_ref, x_ref, g_ref, o_ref, *, faulty):
    tile = pl.program_id(1)

    @pl.when(tile == 0)
    def _():
        o_ref[...] = jnp.zeros_like(o_ref)

    row = tile * TILE + jax.lax.broadcasted_iota(jnp.int32, (TILE, 1), 0)
    start, end = start_ref[0, 0], end_ref[0, 0]
    keep = (row >= start) & ((row <= end) if faulty else (row < end))
    x = jnp.where(keep, x_ref[...], 0).astype(x_ref.dtype)
    o_ref[0] += jax.lax.dot_general(x, g_ref[...], (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def tgmm(x, g, faulty):
    rows = -(-x.shape[0] // TILE) * TILE
    x, g = (jnp.pad(a, ((0, rows - a.shape[0]), (0, 0))) for a in (x, g))
    ends = np.cumsum(SIZES)
    starts = jnp.asarray(ends - np.array(SIZES), jnp.int32)[:, None]
    ends = jnp.asarray(ends, jnp.int32)[:, None]
    one = pl.BlockSpec((1, 1), lambda e, t: (e, 0))
    return pl.pallas_call(
        functools.partial(tgmm_kernel, faulty=faulty), grid=(len(SIZES), rows // TILE),
        in_specs=[one, one, pl.BlockSpec((TILE, x.shape[1]), lambda e, t: (t, 0)),
                  pl.BlockSpec((TILE, g.shape[1]), lambda e, t: (t, 0))],
        out_specs=pl.BlockSpec((1, x.shape[1], g.shape[1]), lambda e, t: (e, 0, 0)),
        out_shape=jax.ShapeDtypeStruct((len(SIZES), x.shape[1], g.shape[1]), jnp.float32), interpret=True)(starts, ends, x, g)


def make_gmm(faulty):
    which = np.repeat(np.arange(len(SIZES)), SIZES)

    @jax.custom_vjp
    def gmm(x, w):
        y = jnp.einsum("nk,nkm->nm", x, w[which], preferred_element_type=jnp.float32)
        return y.astype(x.dtype)

    def fwd(x, w):
        return gmm(x, w), (x, w)

    def bwd(res, g):
        x, w = res
        dx = jnp.einsum("nm,nkm->nk", g, w[which], preferred_element_type=jnp.float32)
        return dx.astype(x.dtype), tgmm(x, g, faulty).astype(w.dtype)

    gmm.defvjp(fwd, bwd)
    return gmm


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(107)
    x = jnp.asarray(rng.normal(size=(sum(SIZES), 12)), jnp.bfloat16)
    w = jnp.asarray(rng.normal(size=(len(SIZES), 12, 10)) * 0.3, jnp.bfloat16)

    def reference(x, w):
        cuts = np.cumsum((0,) + SIZES)
        return jnp.concatenate([x[lo:hi] @ w[e] for e, (lo, hi) in enumerate(zip(cuts[:-1], cuts[1:]))])

    return {"reference": reference, "candidate": make_gmm(faulty), "inputs": (x, w)}
