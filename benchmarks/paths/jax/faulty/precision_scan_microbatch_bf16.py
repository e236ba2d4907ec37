# cause: precision
# size: 0.02
# dtype: bfloat16
# where: input 0 (params), leaves w and b
# source: gradient accumulation carry in a low-precision dtype (compare AI-Hypercomputer/maxtext pull 5039, jax-ml/ml_dtypes issue 63), written anew
# why: the scan over 256 microbatches carries the summed gradient in bfloat16, so late small addends are rounded away
import jax
import jax.numpy as jnp
import numpy as np

MICRO = 256


def micro_loss(params, x, y, total):
    h = jax.nn.softplus(x @ params["w"] + params["b"])
    return jnp.sum((h - y) ** 2) / total


def make_loss(faulty):
    def wide(tree):
        return jax.tree.map(lambda a: a.astype(jnp.float32), tree)

    def split(x, y):
        return x.reshape(MICRO, -1, x.shape[1]), y.reshape(MICRO, -1, y.shape[1])

    @jax.custom_vjp
    def loss(params, x, y):
        p, total = wide(params), y.size

        def step(acc, xy):
            return acc + micro_loss(p, *wide(xy), total), None

        return jax.lax.scan(step, jnp.zeros((), jnp.float32), split(x, y))[0]

    def fwd(params, x, y):
        return loss(params, x, y), (params, x, y)

    def bwd(res, g):
        params, x, y = res
        p, total = wide(params), y.size
        kind = jnp.bfloat16 if faulty else jnp.float32

        def step(acc, xy):
            dp, dx, dy = jax.grad(micro_loss, argnums=(0, 1, 2))(p, *wide(xy), total)
            return jax.tree.map(lambda a, d: a + d.astype(kind), acc, dp), (dx, dy)

        acc, (dx, dy) = jax.lax.scan(step, jax.tree.map(lambda a: jnp.zeros(a.shape, kind), p), split(x, y))
        dparams = jax.tree.map(lambda a, p: (a.astype(jnp.float32) * g).astype(p.dtype), acc, params)
        return dparams, (dx.reshape(x.shape) * g).astype(x.dtype), (dy.reshape(y.shape) * g).astype(y.dtype)

    loss.defvjp(fwd, bwd)
    return loss


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(113)
    dt = jnp.bfloat16
    params = {"w": jnp.asarray(rng.normal(size=(12, 6)) * 0.3, dt), "b": jnp.asarray(rng.normal(size=6) * 0.2, dt)}
    x = jnp.asarray(rng.normal(size=(MICRO * 2, 12)) + 0.2, dt)
    y = jnp.asarray(rng.normal(size=(MICRO * 2, 6)) * 0.5 - 0.5, dt)

    def reference(params, x, y):
        return jnp.mean((jax.nn.softplus(x @ params["w"] + params["b"]) - y) ** 2)

    return {"reference": reference, "candidate": make_loss(faulty), "inputs": (params, x, y)}
