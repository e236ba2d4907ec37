"""Note-sequence model (music events): gated causal convolutions, next-event prediction on
right-padded sequences of different lengths.

Fault: the cross-entropy is averaged over every position, the padding included; most of
the loss is about predicting PAD after PAD.
Source: EleutherAI/aria pull request #40 ("Ignore padding loss while training", 2023).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "padding"
PAD, V, T, B, D, K = 0, 22, 32, 16, 32, 4


def data(seed):
    g = np.random.default_rng(21)
    step = g.integers(1, 5, V)
    r = np.random.default_rng(seed)
    ids = np.full((B, T + 1), PAD, np.int32)
    for b in range(B):
        n = r.integers(6, T // 2 + 6)
        x = r.integers(1, V)
        for t in range(n):
            ids[b, t] = x
            x = 1 + (x - 1 + step[x] + (r.random() < 0.2)) % (V - 1)
    return ids


def init(key):
    k = jax.random.split(key, 6)
    c = lambda k: {"w": jax.random.normal(k, (K, D, 2 * D)) / np.sqrt(K * D), "b": jnp.zeros(2 * D)}
    return {
        "embedding": jax.random.normal(k[0], (V, D)) * 0.7,
        "convs": [c(k[1]), c(k[2])],
        "head": {"w": jax.random.normal(k[3], (D, V)) / np.sqrt(D), "b": jnp.zeros(V)},
    }


def causal_glu(p, x):
    y = jax.lax.conv_general_dilated(x, p["w"], (1,), [(K - 1, 0)], dimension_numbers=("NWC", "WIO", "NWC")) + p["b"]
    a, g = jnp.split(y, 2, -1)
    return x + a * jax.nn.sigmoid(g)


def softmax_cross_entropy_with_integer_labels(logits, labels):
    label_logits = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - label_logits


def make(seed, fixed):
    ids = data(seed)

    def loss(params, batch):
        x = params["embedding"][batch["inputs"]]
        for p in params["convs"]:
            x = causal_glu(p, x)
        logits = x @ params["head"]["w"] + params["head"]["b"]
        ce = softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
        if fixed:
            keep = (batch["targets"] != PAD).astype(ce.dtype)
            return jnp.sum(ce * keep) / jnp.sum(keep)
        return ce.mean()

    batch = {"inputs": jnp.asarray(ids[:, :-1]), "targets": jnp.asarray(ids[:, 1:])}
    return loss, init(jax.random.PRNGKey(seed)), (batch,)
