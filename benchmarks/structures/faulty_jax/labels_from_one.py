"""Shape classifier: two strided convolutions and a dense head, six classes.

Fault: the labels are counted from 1 (1..6) while the head has classes 0..5. In JAX
nothing complains: one_hot gives a row of zeros for label 6, so that class has no loss
at all, and class 0 is never a target.
Source: google-deepmind/optax issue #1185 (labels out of range of the logits are not
reported, 2025).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "targets"
B, S, N = 24, 12, 6


def data(seed):
    g = np.random.default_rng(2)
    proto = (g.random((N, S, S)) < 0.35).astype(float)
    r = np.random.default_rng(seed)
    lab = r.integers(0, N, B)
    x = proto[lab]
    x = np.stack([np.roll(i, (r.integers(-1, 2), r.integers(-1, 2)), (0, 1)) for i in x])
    x = x + 0.4 * r.normal(size=x.shape)
    x = (x - x.mean()) / x.std()
    return x[..., None].astype(np.float32), (lab + 1).astype(np.int32)


def conv(p, x):
    return jax.lax.conv_general_dilated(x, p["w"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]


def make(seed, fixed):
    x, y = data(seed)
    if fixed:
        y = y - 1
    k = jax.random.split(jax.random.PRNGKey(seed), 3)
    params = {
        "conv1": {"w": jax.random.normal(k[0], (3, 3, 1, 12)) * np.sqrt(2 / 9), "b": jnp.zeros(12)},
        "conv2": {"w": jax.random.normal(k[1], (3, 3, 12, 24)) * np.sqrt(2 / 108), "b": jnp.zeros(24)},
        "dense": {"w": jax.random.normal(k[2], (24 * 9, N)) / np.sqrt(216), "b": jnp.zeros(N)},
    }

    def loss(params, images, labels):
        h = jax.nn.relu(conv(params["conv1"], images))
        h = jax.nn.relu(conv(params["conv2"], h))
        logits = h.reshape(h.shape[0], -1) @ params["dense"]["w"] + params["dense"]["b"]
        return -jnp.mean(jnp.sum(jax.nn.one_hot(labels, N) * jax.nn.log_softmax(logits), axis=-1))

    return loss, params, (jnp.asarray(x), jnp.asarray(y))
