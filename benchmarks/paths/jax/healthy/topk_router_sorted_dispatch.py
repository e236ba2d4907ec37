# cause: none
# dtype: bfloat16
# source: top-2 mixture of experts (Shazeer et al. 2017) with sorted dispatch and segment-sum combine, written anew
# why: discrete routing, tokens permuted by argsort, expert outputs rounded to bfloat16 before the float32 combine; one expert gets no token
import jax
import jax.numpy as jnp
import numpy as np

TOP = 2
F32 = jnp.float32


def route(x, wg):
    logits = x @ wg
    values, chosen = jax.lax.top_k(logits, TOP)
    return jax.nn.softmax(values, axis=1), chosen


def case() -> dict:
    rng = np.random.default_rng(207)
    x = jnp.asarray(rng.normal(size=(40, 16)), jnp.bfloat16)
    x = x.at[:, 0].set(1.0)
    wg = rng.normal(size=(16, 6)) * 0.5
    wg[:, 4] = 0
    wg[0, 4] = -20
    wg = jnp.asarray(wg, jnp.bfloat16)
    w = jnp.asarray(rng.normal(size=(6, 16, 12)) * 0.3, jnp.bfloat16)

    def reference(x, wg, w):
        gates, chosen = route(x, wg)
        dense = jnp.einsum("ne,nek->nk", gates, jax.nn.one_hot(chosen, w.shape[0], dtype=x.dtype))
        return jnp.einsum("nk,nd,kdm->nm", dense, x, w)

    def candidate(x, wg, w):
        gates, chosen = route(x.astype(F32), wg.astype(F32))
        order = jnp.argsort(chosen.reshape(-1))
        token, expert = order // TOP, chosen.reshape(-1)[order]
        y = jnp.einsum("nd,ndm->nm", x[token], w[expert], preferred_element_type=F32).astype(x.dtype)
        y = y.astype(F32) * gates.reshape(-1)[order][:, None]
        return jax.ops.segment_sum(y, token, num_segments=x.shape[0]).astype(x.dtype)

    return {"reference": reference, "candidate": candidate, "inputs": (x, wg, w)}
