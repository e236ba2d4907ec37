# cause: none
# dtype: float32
# source: VQ-VAE straight-through estimator and commitment loss (van den Oord et al. 2017), custom rule written anew
# why: argmin choice, three stop_gradients, codes never chosen have zero gradient, a step input has a gradient of exactly zero
import jax
import jax.numpy as jnp
import numpy as np

BETA = 0.25


def nearest(x, codes):
    return jnp.argmin(jnp.sum(codes * codes, axis=1) - 2 * x @ codes.T, axis=1)


@jax.custom_vjp
def quantise(x, codes):
    q = codes[nearest(x, codes)]
    return q, (1 + BETA) * jnp.mean((x - q) ** 2)


def quantise_fwd(x, codes):
    which = nearest(x, codes)
    q = codes[which]
    return (q, (1 + BETA) * jnp.mean((x - q) ** 2)), (x, codes, which)


def quantise_bwd(res, g):
    x, codes, which = res
    gq, gl = g
    diff = 2 * gl / x.size * (x - codes[which])
    return gq + BETA * diff, jax.ops.segment_sum(-diff, which, num_segments=codes.shape[0])


quantise.defvjp(quantise_fwd, quantise_bwd)


def case() -> dict:
    rng = np.random.default_rng(212)
    x = jnp.asarray(rng.normal(size=(40, 6)), jnp.float32)
    codes = jnp.asarray(np.concatenate([rng.normal(size=(12, 6)), 9 + rng.normal(size=(3, 6))]), jnp.float32)
    w = jnp.asarray(rng.normal(size=(6, 4)) * 0.5, jnp.float32)
    step = jnp.asarray(17.0, jnp.float32)

    def reference(x, codes, w, step):
        stop = jax.lax.stop_gradient
        q = codes[jnp.argmin(jnp.sum((x[:, None] - codes[None]) ** 2, axis=2), axis=1)]
        loss = jnp.mean((stop(x) - q) ** 2) + BETA * jnp.mean((x - stop(q)) ** 2)
        return jnp.mean(jnp.tanh((x + stop(q - x)) @ w) ** 2) + loss + stop(jnp.sin(step))

    def candidate(x, codes, w, step):
        q, loss = quantise(x, codes)
        return jnp.mean(jnp.tanh(q @ w) ** 2) + loss + jax.lax.stop_gradient(jnp.sin(step))

    return {"reference": reference, "candidate": candidate, "inputs": (x, codes, w, step)}
