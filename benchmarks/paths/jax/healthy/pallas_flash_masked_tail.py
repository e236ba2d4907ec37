# cause: none
# dtype: bfloat16
# source: FlashAttention (Dao et al. 2022) with online softmax, forward and backward in Pallas, written anew
# why: 27 keys are padded to 32 and masked; key blocks of 8, running maximum and sum, probabilities rounded to bfloat16 before each product
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

BLOCK = 8
KEYS = 27
F32 = jnp.float32


def dot(a, b, dims):
    return jax.lax.dot_general(a, b, (dims, ((), ())), preferred_element_type=F32)


def scores(q, k, first):
    s = dot(q, k, ((1,), (1,))) * (1.0 / math.sqrt(q.shape[-1]))
    col = first + jax.lax.broadcasted_iota(jnp.int32, s.shape, 1)
    return jnp.where(col < KEYS, s, -1e30)


def fwd_kernel(q_ref, k_ref, v_ref, o_ref, lse_ref):
    q = q_ref[0]
    top = jnp.full((q.shape[0], 1), -1e30, F32)
    total = jnp.zeros((q.shape[0], 1), F32)
    acc = jnp.zeros(q.shape, F32)
    for first in range(0, k_ref.shape[1], BLOCK):
        s = scores(q, k_ref[0, first:first + BLOCK], first)
        new = jnp.maximum(top, jnp.max(s, axis=1, keepdims=True))
        p = jnp.exp(s - new)
        shrink = jnp.exp(top - new)
        total = total * shrink + jnp.sum(p, axis=1, keepdims=True)
        acc = acc * shrink + dot(p.astype(q.dtype), v_ref[0, first:first + BLOCK], ((1,), (0,)))
        top = new
    o_ref[0] = (acc / total).astype(o_ref.dtype)
    lse_ref[0] = top + jnp.log(total)


def bwd_kernel(q_ref, k_ref, v_ref, o_ref, lse_ref, g_ref, dq_ref, dk_ref, dv_ref):
    q, g, lse = q_ref[0], g_ref[0], lse_ref[0]
    scale = 1.0 / math.sqrt(q.shape[-1])
    delta = jnp.sum(g.astype(F32) * o_ref[0].astype(F32), axis=1, keepdims=True)
    dq = jnp.zeros(q.shape, F32)
    for first in range(0, k_ref.shape[1], BLOCK):
        rows = slice(first, first + BLOCK)
        k, v = k_ref[0, rows], v_ref[0, rows]
        p = jnp.exp(scores(q, k, first) - lse)
        dv_ref[0, rows] = dot(p.astype(g.dtype), g, ((0,), (0,))).astype(dv_ref.dtype)
        ds = (p * (dot(g, v, ((1,), (1,))) - delta) * scale).astype(q.dtype)
        dk_ref[0, rows] = dot(ds, q, ((0,), (0,))).astype(dk_ref.dtype)
        dq = dq + dot(ds, k, ((1,), (0,)))
    dq_ref[0] = dq.astype(dq_ref.dtype)


def per_head(kernel, outs, *args):
    def spec(a):
        return pl.BlockSpec((1,) + a.shape[1:], lambda n: (n, 0, 0))

    return pl.pallas_call(kernel, grid=(args[0].shape[0],), in_specs=[spec(a) for a in args],
                          out_specs=[spec(o) for o in outs], out_shape=outs, interpret=True)(*args)


@jax.custom_vjp
def flash(q, k, v):
    return flash_fwd(q, k, v)[0]


def flash_fwd(q, k, v):
    outs = [jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct(q.shape[:2] + (1,), F32)]
    o, lse = per_head(fwd_kernel, outs, q, k, v)
    return o, (q, k, v, o, lse)


def flash_bwd(res, g):
    outs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in res[:3]]
    return tuple(per_head(bwd_kernel, outs, *res, g))


flash.defvjp(flash_fwd, flash_bwd)


def case() -> dict:
    rng = np.random.default_rng(201)
    q = jnp.asarray(rng.normal(size=(3, 20, 16)) * 1.5, jnp.bfloat16)
    k = jnp.asarray(rng.normal(size=(3, KEYS, 16)) * 1.5, jnp.bfloat16)
    v = jnp.asarray(rng.normal(size=(3, KEYS, 16)), jnp.bfloat16)

    def reference(q, k, v):
        s = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        return jax.nn.softmax(s, axis=-1) @ v

    def candidate(q, k, v):
        pad = ((0, 0), (0, -KEYS % BLOCK), (0, 0))
        return flash(q, jnp.pad(k, pad), jnp.pad(v, pad, constant_values=3.0))

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
