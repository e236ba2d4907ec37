# cause: padding
# size: 0.19
# dtype: float16
# where: inputs 2 (beta) and 1 (gamma), then input 0 (x)
# source: masks in flax normalisation (google/flax issue 3508 and pull 3510) and keras-team/keras pull 3228, written anew as a custom rule
# why: the forward pass zeroes padded steps, the backward pass sums the cotangents of padded steps too
import jax
import jax.numpy as jnp
import numpy as np

LENGTHS = (20, 18, 17, 20)
EPS = 1e-5


def make_norm(mask, faulty):
    keep = jnp.asarray(mask, jnp.float32)[:, :, None]
    count = float(mask.sum())

    def stats(x):
        m = jnp.sum(x * keep, axis=(0, 1)) / count
        var = jnp.sum((x - m) ** 2 * keep, axis=(0, 1)) / count
        return m, jax.lax.rsqrt(var + EPS)

    @jax.custom_vjp
    def norm(x, gamma, beta):
        xf = x.astype(jnp.float32)
        m, rstd = stats(xf)
        y = (xf - m) * rstd * gamma.astype(jnp.float32) + beta.astype(jnp.float32)
        return (y * keep).astype(x.dtype)

    def fwd(x, gamma, beta):
        return norm(x, gamma, beta), (x, gamma, beta)

    def bwd(res, g):
        x, gamma, beta = res
        xf, gf = x.astype(jnp.float32), g.astype(jnp.float32)
        if not faulty:
            gf = gf * keep
        m, rstd = stats(xf)
        xh = (xf - m) * rstd
        dbeta, dgamma = jnp.sum(gf, axis=(0, 1)), jnp.sum(gf * xh, axis=(0, 1))
        dx = gamma.astype(jnp.float32) * rstd * (gf - dbeta / count - xh * dgamma / count) * keep
        return dx.astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)

    norm.defvjp(fwd, bwd)
    return norm


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(115)
    x = jnp.asarray(rng.normal(size=(4, 20, 10)) + 0.3, jnp.float16)
    gamma = jnp.asarray(1 + 0.2 * rng.normal(size=10), jnp.float16)
    beta = jnp.asarray(rng.normal(size=10), jnp.float16)
    mask = np.arange(20)[None, :] < np.array(LENGTHS)[:, None]

    def reference(x, gamma, beta):
        keep = jnp.asarray(mask, x.dtype)[:, :, None]
        m = jnp.sum(x * keep, axis=(0, 1)) / jnp.sum(keep)
        var = jnp.sum((x - m) ** 2 * keep, axis=(0, 1)) / jnp.sum(keep)
        return ((x - m) / jnp.sqrt(var + EPS) * gamma + beta) * keep

    return {"reference": reference, "candidate": make_norm(mask, faulty), "inputs": (x, gamma, beta)}
