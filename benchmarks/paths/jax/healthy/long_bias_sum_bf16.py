# cause: none
# dtype: bfloat16
# source: bias and gain gradients summed over many rows with a float32 scan carry, written anew
# why: 6000 bfloat16 rows in chunks of 48, sums that cancel, another summation order than the reference
import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 48
F32 = jnp.float32


@jax.custom_vjp
def affine(x, gain, bias):
    return (x.astype(F32) * gain.astype(F32) + bias.astype(F32)).astype(x.dtype)


def affine_fwd(x, gain, bias):
    return affine(x, gain, bias), (x, gain)


def affine_bwd(res, g):
    x, gain = res

    def step(carry, xg):
        xc, gc = (a.astype(F32) for a in xg)
        return (carry[0] + jnp.sum(gc * xc, axis=0), carry[1] + jnp.sum(gc, axis=0)), (gc * gain.astype(F32)).astype(x.dtype)

    zero = jnp.zeros(gain.shape, F32)
    parts = (x.reshape(-1, CHUNK, x.shape[1]), g.reshape(-1, CHUNK, g.shape[1]))
    (dgain, dbias), dx = jax.lax.scan(step, (zero, zero), parts, reverse=True)
    return dx.reshape(x.shape), dgain.astype(gain.dtype), dbias.astype(gain.dtype)


affine.defvjp(affine_fwd, affine_bwd)


def case() -> dict:
    rng = np.random.default_rng(210)
    x = jnp.asarray(rng.normal(size=(6000, 6)) + 0.5, jnp.bfloat16)
    gain = jnp.asarray(1 + 0.2 * rng.normal(size=6), jnp.bfloat16)
    bias = jnp.asarray(rng.normal(size=6), jnp.bfloat16)

    def reference(x, gain, bias):
        return x * gain + bias

    return {"reference": reference, "candidate": affine, "inputs": (x, gain, bias)}
