# cause: wrong-rows
# size: 0.11
# dtype: bfloat16
# where: input 1 (weight), then input 0 (data), the rows whose segment id is out of range
# source: jax-ml/jax issues 8634 and 7538 (gradient of segment_sum with ids >= num_segments), written anew as a custom rule
# why: rows dropped by the scatter read the last segment's cotangent, for the gather of the backward pass clamps its index
import jax
import jax.numpy as jnp
import numpy as np

SEGMENTS = 14


def make_sum(faulty):
    @jax.custom_vjp
    def segment_sum(data, ids):
        total = jax.ops.segment_sum(data.astype(jnp.float32), ids, num_segments=SEGMENTS)
        return total.astype(data.dtype)

    def fwd(data, ids):
        return segment_sum(data, ids), ids

    def bwd(ids, g):
        if faulty:
            return g.at[ids].get(mode="clip"), None
        return g.at[ids].get(mode="fill", fill_value=0), None

    segment_sum.defvjp(fwd, bwd)
    return segment_sum


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(106)
    data = jnp.asarray(rng.normal(size=(120, 9)), jnp.bfloat16)
    weight = jnp.asarray(rng.uniform(0.5, 1.5, size=120), jnp.bfloat16)
    ids = rng.integers(0, SEGMENTS, size=120)
    ids[[17, 119]] = SEGMENTS + np.array([3, 0])
    ids = jnp.asarray(ids, jnp.int32)
    segment_sum = make_sum(faulty)

    def reference(data, weight, ids):
        return jax.nn.one_hot(ids, SEGMENTS, dtype=data.dtype).T @ (data * weight[:, None])

    def candidate(data, weight, ids):
        return segment_sum(data * weight[:, None], ids)

    return {"reference": reference, "candidate": candidate, "inputs": (data, weight, ids)}
