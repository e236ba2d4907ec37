# cause: none
# dtype: float16
# source: blocked matmul over a K axis that the block does not divide (jax-ml/jax pull 22275: out-of-bounds elements are unspecified), written anew
# why: the last K block holds NaN beyond the edge in interpret mode and is masked on both operands; forward and both gradients use the kernel
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

BK = 16
F32 = jnp.float32


def make_kernel(size):
    def kernel(a_ref, b_ref, o_ref):
        step = pl.program_id(0)

        @pl.when(step == 0)
        def _():
            o_ref[...] = jnp.zeros_like(o_ref)

        a, b = a_ref[...], b_ref[...]
        left = size - step * BK
        a = jnp.where(jax.lax.broadcasted_iota(jnp.int32, a.shape, 1) < left, a, 0)
        b = jnp.where(jax.lax.broadcasted_iota(jnp.int32, b.shape, 0) < left, b, 0)
        o_ref[...] += jnp.dot(a.astype(a_ref.dtype), b.astype(b_ref.dtype), preferred_element_type=F32)

    return kernel


def blocked(a, b):
    (m, k), n = a.shape, b.shape[1]
    out = pl.pallas_call(make_kernel(k), grid=(-(-k // BK),),
                         in_specs=[pl.BlockSpec((m, BK), lambda i: (0, i)), pl.BlockSpec((BK, n), lambda i: (i, 0))],
                         out_specs=pl.BlockSpec((m, n), lambda i: (0, 0)),
                         out_shape=jax.ShapeDtypeStruct((m, n), F32), interpret=True)(a, b)
    return out.astype(a.dtype)


@jax.custom_vjp
def matmul(x, w):
    return blocked(x, w)


matmul.defvjp(lambda x, w: (blocked(x, w), (x, w)), lambda res, g: (blocked(g, res[1].T), blocked(res[0].T, g)))


def case() -> dict:
    rng = np.random.default_rng(204)
    x = jnp.asarray(rng.normal(size=(37, 70)), jnp.float16)
    w = jnp.asarray(rng.normal(size=(70, 22)) * 0.3, jnp.float16)

    def reference(x, w):
        return x @ w

    return {"reference": reference, "candidate": matmul, "inputs": (x, w)}
