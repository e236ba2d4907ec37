"""Attention pooling over a variable number of detections: a learnt query attends to the
encoded detections of one scene, an MLP gives the scene class; vmapped over scenes.

Fault: the mask is True for valid detections and the scores are filled with -inf where it
is True, so all the attention goes to the padding.
Source: lucidrains/halonet-pytorch pull request #6 ("invert attention padding mask", for
issues #3 and #4, 2026).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "padding"
B, N, F, D, C = 24, 12, 6, 24, 4


def data(seed):
    g = np.random.default_rng(9)
    centre = g.normal(size=(C, F)) * 1.2
    r = np.random.default_rng(seed)
    y = r.integers(0, C, B)
    n = r.integers(3, N, B)
    x = np.zeros((B, N, F))
    valid = np.arange(N)[None] < n[:, None]
    pts = r.normal(size=(B, N, F))
    hot = r.random((B, N)) < 0.5
    hot[:, 0] = True
    pts = pts + hot[..., None] * centre[y][:, None]
    x[valid] = pts[valid]
    return x.astype(np.float32), valid, y.astype(np.int32)


def init(key):
    k = jax.random.split(key, 6)
    n = lambda k, i, o: jax.random.normal(k, (i, o)) * np.sqrt(1 / i)
    return {
        "enc": n(k[0], F, D),
        "enc_b": jnp.zeros(D),
        "query": jax.random.normal(k[1], (D,)),
        "key": n(k[2], D, D),
        "value": n(k[3], D, D),
        "fc": n(k[4], D, D),
        "fc_b": jnp.zeros(D),
        "cls": n(k[5], D, C),
        "cls_b": jnp.zeros(C),
    }


def make(seed, fixed):
    x, valid, y = data(seed)

    def scene_logits(p, dets, mask):
        h = jnp.tanh(dets @ p["enc"] + p["enc_b"])
        scores = (h @ p["key"]) @ p["query"] / jnp.sqrt(D)
        if fixed:
            scores = jnp.where(mask, scores, -1e30)
        else:
            scores = jnp.where(mask, -1e30, scores)
        pooled = jax.nn.softmax(scores) @ (h @ p["value"])
        return jax.nn.relu(pooled @ p["fc"] + p["fc_b"]) @ p["cls"] + p["cls_b"]

    def loss(params, dets, mask, labels):
        logits = jax.vmap(scene_logits, (None, 0, 0))(params, dets, mask)
        logp = jax.nn.log_softmax(logits)
        return -logp[jnp.arange(labels.shape[0]), labels].mean()

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(valid), jnp.asarray(y))
