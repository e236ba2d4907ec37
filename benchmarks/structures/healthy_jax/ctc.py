"""CTC: a convolutional acoustic model gives per-frame log-probabilities, the CTC forward recursion (lax.scan) the loss; lengths vary."""

import jax
import jax.numpy as jnp
import numpy as np

B, T, U, V, F = 12, 24, 5, 6, 8  # class 0 is the blank
NEG = -1e9


def make(seed):
    g = np.random.default_rng(9)
    proto = g.normal(size=(V, F))
    r = np.random.default_rng(seed)
    n = r.integers(2, U + 1, B)
    lab = np.zeros((B, U), np.int32)
    x = 0.4 * r.normal(size=(B, T, F))
    xlen = np.zeros(B, np.int32)
    for b in range(B):
        t = 1
        for u in range(n[b]):
            lab[b, u] = r.integers(1, V)
            x[b, t : t + 2] += proto[lab[b, u]]
            t += r.integers(3, 5)
        xlen[b] = t
        x[b, t:] = 0
    k = jax.random.split(jax.random.PRNGKey(seed), 2)
    params = {
        "conv": jax.random.normal(k[0], (3, F, 32)) / np.sqrt(3 * F),
        "conv_b": jnp.zeros(32),
        "out": jax.random.normal(k[1], (32, V)) / np.sqrt(32),
        "out_b": jnp.zeros(V),
    }

    def ctc(logp, tlen, lab, ulen):
        ext = jnp.zeros(2 * U + 1, jnp.int32).at[1::2].set(lab)
        skip = (ext != 0) & (ext != jnp.concatenate([jnp.array([-1, -1]), ext[:-2]]))
        a0 = jnp.full(2 * U + 1, NEG).at[0].set(logp[0, 0]).at[1].set(logp[0, ext[1]])

        def step(a, inp):
            lp, t = inp
            s1 = jnp.concatenate([jnp.array([NEG]), a[:-1]])
            s2 = jnp.where(skip, jnp.concatenate([jnp.array([NEG, NEG]), a[:-2]]), NEG)
            new = jax.nn.logsumexp(jnp.stack([a, s1, s2]), axis=0) + lp[ext]
            return jnp.where(t < tlen, new, a), None

        a, _ = jax.lax.scan(step, a0, (logp[1:], jnp.arange(1, T)))
        return -jnp.logaddexp(a[2 * ulen], a[2 * ulen - 1])

    def loss(params, batch):
        h = jax.lax.conv_general_dilated(
            batch["frames"], params["conv"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
        logp = jax.nn.log_softmax(jax.nn.relu(h + params["conv_b"]) @ params["out"] + params["out_b"])
        per = jax.vmap(ctc)(logp, batch["frame_len"], batch["labels"], batch["label_len"])
        return (per / batch["label_len"]).mean()

    return (
        loss,
        params,
        (
            {
                "frames": jnp.asarray(x, jnp.float32),
                "frame_len": jnp.asarray(xlen),
                "labels": jnp.asarray(lab),
                "label_len": jnp.asarray(n, jnp.int32),
            },
        ),
    )
