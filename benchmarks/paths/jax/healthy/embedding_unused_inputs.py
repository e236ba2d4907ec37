# cause: none
# dtype: float32
# source: textbook embedding lookup with a sorted segment-sum backward, written anew
# why: integer ids with many repeats, table rows never read, one leaf never used, one leaf read only under stop_gradient (all-zero gradients)
import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_vjp
def lookup(table, ids):
    return table[ids]


def lookup_fwd(table, ids):
    return table[ids], (table, ids)


def lookup_bwd(res, g):
    table, ids = res
    flat = ids.reshape(-1)
    order = jnp.argsort(flat)
    dtable = jax.ops.segment_sum(g.reshape(flat.shape[0], -1)[order], flat[order], num_segments=table.shape[0],
                                 indices_are_sorted=True)
    return dtable.astype(table.dtype), None


lookup.defvjp(lookup_fwd, lookup_bwd)


def case() -> dict:
    rng = np.random.default_rng(209)
    params = {"table": jnp.asarray(rng.normal(size=(50, 8)), jnp.float32),
              "head": jnp.asarray(rng.normal(size=(8, 6)), jnp.float32),
              "unused": jnp.asarray(rng.normal(size=5), jnp.float32),
              "running": jnp.asarray(rng.normal(size=8), jnp.float32)}
    ids = jnp.asarray(rng.zipf(1.6, size=(6, 40)) % 50, jnp.int32)

    def reference(params, ids):
        hot = jax.nn.one_hot(ids, params["table"].shape[0], dtype=params["table"].dtype)
        return jnp.tanh((hot @ params["table"] - jax.lax.stop_gradient(params["running"])) @ params["head"])

    def candidate(params, ids):
        return jnp.tanh((lookup(params["table"], ids) - jax.lax.stop_gradient(params["running"])) @ params["head"])

    return {"reference": reference, "candidate": candidate, "inputs": (params, ids)}
