# cause: tail
# size: 0.2
# dtype: bfloat16
# where: input 1 (w), its last 5 rows, then input 0 (h)
# source: cross entropy over vocabulary chunks (cut cross-entropy, Wijmans et al. 2024; linkedin/Liger-Kernel fused linear cross entropy), lax.scan written anew
# why: the backward scan runs over vocabulary // 16 chunks; the last, short chunk gives no gradient
import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 16
F32 = jnp.float32


def chunks(w):
    n = -(-w.shape[0] // CHUNK)
    padded = jnp.pad(w, ((0, n * CHUNK - w.shape[0]), (0, 0)))
    return padded.reshape(n, CHUNK, w.shape[1]), jnp.arange(n, dtype=jnp.int32) * CHUNK


def make_loss(faulty):
    def fwd(h, w, labels):
        def step(carry, args):
            top, total, picked = carry
            wc, first = args
            col = first + jnp.arange(CHUNK, dtype=jnp.int32)
            s = jnp.where(col < w.shape[0], jnp.matmul(h, wc.T, preferred_element_type=F32), -1e30)
            new = jnp.maximum(top, jnp.max(s, axis=1))
            total = total * jnp.exp(top - new) + jnp.sum(jnp.exp(s - new[:, None]), axis=1)
            picked = picked + jnp.sum(jnp.where(col == labels[:, None], s, 0), axis=1)
            return (new, total, picked), None

        zero = jnp.zeros(h.shape[0], F32)
        (top, total, picked), _ = jax.lax.scan(step, (zero - 1e30, zero, zero), chunks(w))
        lse = top + jnp.log(total)
        return (lse - picked).astype(h.dtype), (h, w, labels, lse)

    def bwd(res, g):
        h, w, labels, lse = res
        ws, firsts = chunks(w)
        if faulty:
            ws, firsts = ws[:w.shape[0] // CHUNK], firsts[:w.shape[0] // CHUNK]

        def step(dh, args):
            wc, first = args
            col = first + jnp.arange(CHUNK, dtype=jnp.int32)
            s = jnp.matmul(h, wc.T, preferred_element_type=F32)
            p = jnp.where(col < w.shape[0], jnp.exp(s - lse[:, None]), 0)
            ds = (p - (col == labels[:, None])) * g.astype(F32)[:, None]
            low = ds.astype(h.dtype)
            return dh + jnp.matmul(low, wc, preferred_element_type=F32), jnp.matmul(low.T, h, preferred_element_type=F32)

        dh, dws = jax.lax.scan(step, jnp.zeros(h.shape, F32), (ws, firsts))
        dw = dws.reshape(-1, w.shape[1])[:w.shape[0]]
        dw = jnp.pad(dw, ((0, w.shape[0] - dw.shape[0]), (0, 0)))
        return dh.astype(h.dtype), dw.astype(w.dtype), None

    loss = jax.custom_vjp(lambda h, w, labels: fwd(h, w, labels)[0])
    loss.defvjp(fwd, bwd)
    return loss


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(109)
    h = jnp.asarray(rng.normal(size=(72, 20)), jnp.bfloat16)
    w = jnp.asarray(rng.normal(size=(117, 20)) * 0.25, jnp.bfloat16)
    labels = jnp.asarray(rng.integers(0, 117, size=72), jnp.int32)

    def reference(h, w, labels):
        logits = h @ w.T
        return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]

    return {"reference": reference, "candidate": make_loss(faulty), "inputs": (h, w, labels)}
