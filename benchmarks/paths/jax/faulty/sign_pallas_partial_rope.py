# cause: sign
# size: 0.41
# dtype: float16
# where: input 1 (k) only
# source: textbook rotary embedding (RoFormer, Su et al. 2021) with partial rotary dimensions as in GPT-NeoX; Pallas kernel written anew
# why: the backward kernel of k turns by +theta as the forward one does; the transpose of a rotation turns by -theta
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

ROTARY = 8


def rope_kernel(x_ref, o_ref, *, turn):
    x = x_ref[0].astype(jnp.float32)
    half = ROTARY // 2
    t = jax.lax.broadcasted_iota(jnp.float32, (x.shape[0], half), 0)
    i = jax.lax.broadcasted_iota(jnp.float32, (x.shape[0], half), 1)
    angle = t * jnp.exp(i * (-math.log(1000.0) / half))
    c, s = jnp.cos(angle), jnp.sin(angle) * turn
    a, b = x[:, :half], x[:, half:ROTARY]
    o_ref[0, :, :half] = (a * c - b * s).astype(o_ref.dtype)
    o_ref[0, :, half:ROTARY] = (b * c + a * s).astype(o_ref.dtype)
    o_ref[0, :, ROTARY:] = x[:, ROTARY:].astype(o_ref.dtype)


def rotate(x, turn):
    spec = pl.BlockSpec((1,) + x.shape[1:], lambda n: (n, 0, 0))
    return pl.pallas_call(functools.partial(rope_kernel, turn=turn), grid=(x.shape[0],), in_specs=[spec], out_specs=spec,
                          out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x)


def make_rope(back_turn):
    @jax.custom_vjp
    def rope(x):
        return rotate(x, 1.0)

    rope.defvjp(lambda x: (rotate(x, 1.0), None), lambda _, g: (rotate(g, back_turn),))
    return rope


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(103)
    q = jnp.asarray(rng.normal(size=(4, 20, 48)), jnp.float16)
    k = jnp.asarray(rng.normal(size=(4, 20, 48)), jnp.float16)

    def plain_rope(x):
        half = ROTARY // 2
        angle = jnp.arange(x.shape[1], dtype=x.dtype)[:, None] * 1000.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
        c, s = jnp.cos(angle), jnp.sin(angle)
        a, b, rest = x[..., :half], x[..., half:ROTARY], x[..., ROTARY:]
        return jnp.concatenate([a * c - b * s, b * c + a * s, rest], axis=-1)

    def reference(q, k):
        return plain_rope(q) @ plain_rope(k).swapaxes(1, 2) / math.sqrt(q.shape[-1])

    rope_q, rope_k = make_rope(-1.0), make_rope(1.0 if faulty else -1.0)

    def candidate(q, k):
        return rope_q(q) @ rope_k(k).swapaxes(1, 2) / math.sqrt(q.shape[-1])

    return {"reference": reference, "candidate": candidate, "inputs": (q, k)}
