"""Match confidence head: descriptors of keypoints go through a small residual MLP with layer
norm and a single output per keypoint says whether its match is already right.

Fault: the head ends in a sigmoid and the loss is a sigmoid cross-entropy on logits, so the
sigmoid is applied twice and the probability stays between 0.5 and 0.73.
Source: cvg/glue-factory issue #89 (TokenConfidence: Sigmoid and BCEWithLogitsLoss, 2024).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "range"
B, P, F, D = 8, 24, 16, 32


def data(seed):
    g = np.random.default_rng(12)
    w = g.normal(size=(F, 2))
    r = np.random.default_rng(seed)
    x = r.normal(size=(B, P, F))
    s = x @ w
    y = (s[..., 0] * 0.5 + np.abs(s[..., 1]) * 0.5 < 1.0).astype(np.float32)
    return x.astype(np.float32), y


def init(key):
    k = jax.random.split(key, 4)
    n = lambda k, i, o: {"kernel": jax.random.normal(k, (i, o)) / np.sqrt(i), "bias": jnp.zeros(o)}
    return {"inp": n(k[0], F, D), "hid": n(k[1], D, D), "token": n(k[2], D, 1), "scale": jnp.ones(D)}


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def sigmoid_binary_cross_entropy(logits, labels):
    return -labels * jax.nn.log_sigmoid(logits) - (1.0 - labels) * jax.nn.log_sigmoid(-logits)


def make(seed, fixed):
    x, y = data(seed)

    def confidence(params, desc):
        h = jax.nn.gelu(dense(params["inp"], desc))
        n = (h - h.mean(-1, keepdims=True)) / (h.std(-1, keepdims=True) + 1e-5) * params["scale"]
        h = h + jax.nn.gelu(dense(params["hid"], n))
        out = dense(params["token"], h)[..., 0]
        return out if fixed else jax.nn.sigmoid(out)

    def loss(params, desc, correct):
        return sigmoid_binary_cross_entropy(confidence(params, desc), correct).mean()

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(y))
