# cause: none
# dtype: bfloat16
# source: subgradient at ties as in jnp.max (split evenly) and jnp.maximum (half each), custom rule written anew
# why: inputs are multiples of 1/2, so a fifth of the windows hold tied maxima and a sixth of the pooled maxima are exactly the floor 1
import jax
import jax.numpy as jnp
import numpy as np

WIN = 5


@jax.custom_vjp
def pool(x):
    return jnp.maximum(jnp.max(x.reshape(x.shape[0], -1, WIN), axis=2), 1)


def pool_fwd(x):
    return pool(x), x


def pool_bwd(x, g):
    win = x.reshape(x.shape[0], -1, WIN)
    top = win[..., 0]
    for i in range(1, WIN):
        top = jnp.where(win[..., i] > top, win[..., i], top)
    share = jnp.where(top > 1, 1.0, jnp.where(top == 1, 0.5, 0.0)).astype(jnp.float32)
    equal = (win == top[..., None]).astype(jnp.float32)
    dx = (g.astype(jnp.float32) * share / jnp.sum(equal, axis=2))[..., None] * equal
    return (dx.reshape(x.shape).astype(x.dtype),)


pool.defvjp(pool_fwd, pool_bwd)


def case() -> dict:
    rng = np.random.default_rng(206)
    x = jnp.asarray(rng.integers(-4, 5, size=(12, 60)) * 0.5, jnp.bfloat16)
    scale = jnp.asarray(rng.choice([0.5, 1.0, 2.0], size=12), jnp.bfloat16)

    def reference(x, scale):
        y = jnp.max(x.reshape(x.shape[0], -1, WIN), axis=2)
        return jnp.maximum(y, jnp.ones_like(y)) * scale[:, None]

    def candidate(x, scale):
        return pool(x) * scale[:, None]

    return {"reference": reference, "candidate": candidate, "inputs": (x, scale)}
