# cause: none
# dtype: float16
# source: jax.checkpoint documentation (recompute replays the same key), scan over layers, written anew
# why: dropout inside a rematerialised scan body; the key is an integer input; the recompute must give the same mask
import jax
import jax.numpy as jnp
import numpy as np

RATE = 0.2
F32 = jnp.float32


def mask(key, i, shape):
    return jax.random.bits(jax.random.fold_in(key, i), shape, jnp.uint32) >= np.uint32(RATE * 2 ** 32)


def case() -> dict:
    rng = np.random.default_rng(208)
    x = jnp.asarray(rng.normal(size=(24, 16)), jnp.float16)
    params = {"w": jnp.asarray(rng.normal(size=(5, 16, 16)) * 0.25, jnp.float16),
              "b": jnp.asarray(rng.normal(size=(5, 16)) * 0.1, jnp.float16)}
    key = jax.random.PRNGKey(23)

    def reference(x, params, key):
        for i in range(params["w"].shape[0]):
            y = jax.nn.silu(x @ params["w"][i] + params["b"][i])
            x = x + jnp.where(mask(key, i, y.shape), y / (1 - RATE), 0)
        return x

    def candidate(x, params, key):
        @jax.checkpoint
        def body(x, layer):
            i, w, b = layer
            y = jax.nn.silu(jnp.matmul(x, w, preferred_element_type=F32) + b.astype(F32))
            return (x.astype(F32) + jnp.where(mask(key, i, y.shape), y / (1 - RATE), 0)).astype(x.dtype), None

        return jax.lax.scan(body, x, (jnp.arange(5, dtype=jnp.int32), params["w"], params["b"]))[0]

    return {"reference": reference, "candidate": candidate, "inputs": (x, params, key)}
