# cause: new-dropout
# size: 0.2
# dtype: float32
# where: inputs 1 (w1) and 2 (w2), then 0 (x)
# source: allenai/OLMo-core pull 828 and openai/guided-diffusion issue 167 (recompute draws fresh dropout masks), as a JAX custom rule written anew
# why: the recompute in the backward pass splits the key once more, so its mask is not the one of the forward pass
import jax
import jax.numpy as jnp
import numpy as np

RATE = 0.02


def drop(key, x):
    keep = jax.random.bits(key, x.shape, jnp.uint32) >= np.uint32(RATE * 2 ** 32)
    return jnp.where(keep, x / (1 - RATE), 0)


def block(key, x, w1, w2):
    return drop(key, jax.nn.gelu(x @ w1)) @ w2


def make_mlp(faulty):
    @jax.custom_vjp
    def mlp(key, x, w1, w2):
        return block(key, x, w1, w2)

    def fwd(key, x, w1, w2):
        return block(key, x, w1, w2), (key, x, w1, w2)

    def bwd(res, g):
        key, x, w1, w2 = res
        if faulty:
            key, _ = jax.random.split(key)
        _, pull = jax.vjp(lambda *a: block(key, *a), x, w1, w2)
        return (None,) + pull(g)

    mlp.defvjp(fwd, bwd)
    return mlp


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(110)
    x = jnp.asarray(rng.normal(size=(40, 16)), jnp.float32)
    w1 = jnp.asarray(rng.normal(size=(16, 64)) * 0.3, jnp.float32)
    w2 = jnp.asarray(rng.normal(size=(64, 16)) * 0.2, jnp.float32)
    key = jax.random.PRNGKey(7)
    mlp = make_mlp(faulty)

    def reference(x, w1, w2):
        return block(key, x, w1, w2)

    def candidate(x, w1, w2):
        return mlp(key, x, w1, w2)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w1, w2)}
