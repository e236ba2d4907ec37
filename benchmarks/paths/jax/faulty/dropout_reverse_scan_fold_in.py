# cause: new-dropout
# size: 0.3
# dtype: float16
# where: input 1 (w), then input 0 (x)
# source: hand-written rematerialised layer scan; AI-Hypercomputer/maxtext issue 276 (fold_in of a counter), written anew
# why: the backward scan walks the layers from last to first but folds in its own step number, so layer i gets the mask of layer L - 1 - i
import jax
import jax.numpy as jnp
import numpy as np

RATE = 0.03
F32 = jnp.float32


def layer(key, x, w):
    y = jnp.tanh(jnp.matmul(x, w, preferred_element_type=F32))
    keep = jax.random.bits(key, y.shape, jnp.uint32) >= np.uint32(RATE * 2 ** 32)
    return (x.astype(F32) + jnp.where(keep, y / (1 - RATE), 0)).astype(x.dtype)


def make_stack(key, faulty):
    def fwd(x, w):
        def step(x, args):
            i, wi = args
            return layer(jax.random.fold_in(key, i), x, wi), x

        y, kept = jax.lax.scan(step, x, (jnp.arange(w.shape[0], dtype=jnp.int32), w))
        return y, (kept, w)

    def bwd(res, g):
        kept, w = res
        count = jnp.arange(w.shape[0], dtype=jnp.int32)

        def step(g, args):
            i, xi, wi = args
            _, pull = jax.vjp(lambda x, w: layer(jax.random.fold_in(key, i), x, w), xi, wi)
            return pull(g)

        dx, dw = jax.lax.scan(step, g, (count if faulty else count[::-1], kept[::-1], w[::-1]))
        return dx, dw[::-1]

    stack = jax.custom_vjp(lambda x, w: fwd(x, w)[0])
    stack.defvjp(fwd, bwd)
    return stack


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(111)
    x = jnp.asarray(rng.normal(size=(32, 14)), jnp.float16)
    w = jnp.asarray(rng.normal(size=(4, 14, 14)) * 0.25, jnp.float16)
    key = jax.random.PRNGKey(11)

    def reference(x, w):
        for i in range(w.shape[0]):
            y = jnp.tanh(x @ w[i])
            keep = jax.random.bits(jax.random.fold_in(key, i), y.shape, jnp.uint32) >= np.uint32(RATE * 2 ** 32)
            x = x + jnp.where(keep, y / (1 - RATE), 0)
        return x

    return {"reference": reference, "candidate": make_stack(key, faulty), "inputs": (x, w)}
