# cause: none
# dtype: float32
# source: linear recurrence by lax.associative_scan (S5, Smith et al. 2023; jax-ml/jax issue 19498), written anew
# why: decays near 1 over 300 steps, products and sums associated as a tree in place of a sequence
import jax
import jax.numpy as jnp
import numpy as np


def case() -> dict:
    rng = np.random.default_rng(211)
    inputs = {"decay": jnp.asarray(rng.normal(size=(300, 6)) + 3.5, jnp.float32),
              "x": jnp.asarray(rng.normal(size=(300, 6)), jnp.float32)}
    h0 = jnp.asarray(rng.normal(size=6), jnp.float32)

    def reference(p, h0):
        def step(h, ax):
            h = ax[0] * h + ax[1]
            return h, h

        return jax.lax.scan(step, h0, (jax.nn.sigmoid(p["decay"]), p["x"]))[1]

    def candidate(p, h0):
        a = jax.nn.sigmoid(p["decay"])
        x = p["x"].at[0].add(a[0] * h0)

        def join(first, second):
            return first[0] * second[0], second[0] * first[1] + second[1]

        return jax.lax.associative_scan(join, (a, x))[1]

    return {"reference": reference, "candidate": candidate, "inputs": (inputs, h0)}
