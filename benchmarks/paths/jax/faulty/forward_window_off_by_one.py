# cause: forward
# size: 0.18
# dtype: bfloat16
# where: the output, inputs 2 (v), 0 (q) and 1 (k)
# source: huggingface/transformers issue 39408 (sliding window off by one), under jax.checkpoint, written anew
# why: the window is taken as inclusive at both ends, so each query sees window + 1 keys
import math

import jax
import jax.numpy as jnp
import numpy as np

WINDOW = 16
F32 = jnp.float32


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(116)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 40, 16)), jnp.bfloat16) for _ in range(3))
    i, j = np.arange(40)[:, None], np.arange(40)[None, :]

    def reference(q, k, v):
        s = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        s = jnp.where((i >= j) & (i - j < WINDOW), s, -jnp.inf)
        return jax.nn.softmax(s, axis=-1) @ v

    @jax.checkpoint
    def head(q, k, v):
        s = jnp.matmul(q, k.T, preferred_element_type=F32) / math.sqrt(q.shape[-1])
        seen = (i >= j) & ((i - j <= WINDOW) if faulty else (i - j < WINDOW))
        s = jnp.where(seen, s, -1e30)
        e = jnp.exp(s - jax.lax.stop_gradient(jnp.max(s, axis=-1, keepdims=True)))
        p = e / jnp.sum(e, axis=-1, keepdims=True)
        return jnp.matmul(p.astype(v.dtype), v, preferred_element_type=F32).astype(v.dtype)

    return {"reference": reference, "candidate": jax.vmap(head), "inputs": (q, k, v)}
