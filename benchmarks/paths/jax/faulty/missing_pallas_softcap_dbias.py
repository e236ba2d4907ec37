# cause: missing-term
# size: 0.099
# dtype: bfloat16
# where: input 3 (bias) only
# source: openxla/tokamax pull 1121 (soft cap in the attention VJP: the factor belongs before dk and before dbias), Pallas kernel written anew
# why: dbias is stored before ds is multiplied by 1 - tanh(s / cap) ** 2; dq and dk are stored after it
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

CAP = 7.0
F32 = jnp.float32


def dot(a, b, dims):
    return jax.lax.dot_general(a, b, (dims, ((), ())), preferred_element_type=F32)


def fwd_kernel(q_ref, k_ref, v_ref, b_ref, o_ref, lse_ref):
    q, k, v = q_ref[0], k_ref[0], v_ref[0]
    s = dot(q, k, ((1,), (1,))) * (1.0 / math.sqrt(q.shape[-1])) + b_ref[0].astype(F32)
    s = CAP * jnp.tanh(s / CAP)
    top = jnp.max(s, axis=1, keepdims=True)
    lse = top + jnp.log(jnp.sum(jnp.exp(s - top), axis=1, keepdims=True))
    p = jnp.exp(s - lse)
    o_ref[0] = dot(p.astype(v.dtype), v, ((1,), (0,))).astype(o_ref.dtype)
    lse_ref[0] = lse


def bwd_kernel(q_ref, k_ref, v_ref, b_ref, o_ref, lse_ref, g_ref, dq_ref, dk_ref, dv_ref, db_ref, *, faulty):
    q, k, v, g = q_ref[0], k_ref[0], v_ref[0], g_ref[0]
    scale = 1.0 / math.sqrt(q.shape[-1])
    th = jnp.tanh((dot(q, k, ((1,), (1,))) * scale + b_ref[0].astype(F32)) / CAP)
    p = jnp.exp(CAP * th - lse_ref[0])
    dv_ref[0] = dot(p.astype(g.dtype), g, ((0,), (0,))).astype(dv_ref.dtype)
    delta = jnp.sum(g.astype(F32) * o_ref[0].astype(F32), axis=1, keepdims=True)
    ds = p * (dot(g, v, ((1,), (1,))) - delta)
    if faulty:
        db_ref[0] = ds.astype(db_ref.dtype)
    ds = ds * (1 - th * th)
    if not faulty:
        db_ref[0] = ds.astype(db_ref.dtype)
    low = ds.astype(q.dtype)
    dq_ref[0] = (dot(low, k, ((1,), (0,))) * scale).astype(dq_ref.dtype)
    dk_ref[0] = (dot(low, q, ((0,), (0,))) * scale).astype(dk_ref.dtype)


def per_head(kernel, outs, *args):
    def spec(a):
        return pl.BlockSpec((1,) + a.shape[1:], lambda n: (n, 0, 0))

    return pl.pallas_call(kernel, grid=(args[0].shape[0],), in_specs=[spec(a) for a in args],
                          out_specs=[spec(o) for o in outs], out_shape=outs, interpret=True)(*args)


def make_attention(faulty):
    def fwd(q, k, v, b):
        outs = [jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct(q.shape[:2] + (1,), F32)]
        o, lse = per_head(fwd_kernel, outs, q, k, v, b)
        return o, (q, k, v, b, o, lse)

    def bwd(res, g):
        outs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in res[:4]]
        return tuple(per_head(functools.partial(bwd_kernel, faulty=faulty), outs, *res, g))

    attention = jax.custom_vjp(lambda q, k, v, b: fwd(q, k, v, b)[0])
    attention.defvjp(fwd, bwd)
    return attention


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(105)
    q, k, v = (jnp.asarray(rng.normal(size=(3, n, 16)), jnp.bfloat16) for n in (20, 24, 24))
    bias = jnp.asarray(rng.normal(size=(3, 20, 24)) * 0.6, jnp.bfloat16)

    def reference(q, k, v, b):
        s = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]) + b
        return jax.nn.softmax(CAP * jnp.tanh(s / CAP), axis=-1) @ v

    return {"reference": reference, "candidate": make_attention(faulty), "inputs": (q, k, v, bias)}
