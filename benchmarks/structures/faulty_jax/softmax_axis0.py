"""Digit-like classifier: a three-layer MLP with log-softmax outputs and a negative
log-likelihood loss.

Fault: the log-softmax runs over axis 0, the batch, and not over the classes; the outputs of
one example are no distribution and the loss cannot be brought down by being right.
Source: MicrosoftDocs/pytorchfundamentals issue #4 ("Why is the dim=0 in LogSoftmax? not
dim=1?", 2021).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

KIND = "range"
B, S, H, C = 32, 64, 48, 8


def data(seed):
    g = np.random.default_rng(16)
    proto = g.normal(size=(C, S))
    r = np.random.default_rng(seed)
    y = r.integers(0, C, B)
    x = proto[y] + 1.2 * r.normal(size=(B, S))
    return ((x - x.mean()) / x.std()).astype(np.float32), y.astype(np.int32)


def init(key):
    k = jax.random.split(key, 3)
    n = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) * np.sqrt(2 / i), "b": jnp.zeros(o)}
    return {
        "l1": n(k[0], S, H),
        "l2": n(k[1], H, H),
        "l3": {"w": jax.random.normal(k[2], (H, C)) * 0.5 / np.sqrt(H), "b": jnp.zeros(C)},
    }


@partial(jax.jit, static_argnames=("axis",))
def forward(p, x, axis):
    h = jax.nn.relu(x @ p["l1"]["w"] + p["l1"]["b"])
    h = jax.nn.relu(h @ p["l2"]["w"] + p["l2"]["b"])
    return jax.nn.log_softmax(h @ p["l3"]["w"] + p["l3"]["b"], axis=axis)


def make(seed, fixed):
    x, y = data(seed)

    def loss(params, x, y):
        logp = forward(params, x, axis=-1 if fixed else 0)
        return -jnp.mean(jnp.take_along_axis(logp, y[:, None], axis=1))

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(y))
