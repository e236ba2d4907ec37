"""Spaced-repetition memory model: a GRU over the review history of a card (interval, grade)
predicts the recall probability; the histories are padded with zeros to one length.

Fault: the state after the last step of the padded array is used for every card, not the
state after its own last review.
Source: open-spaced-repetition/fsrs-rs pull request #16 ("Sequence padding": the forward
pass gives only the last state and has to use the real length, 2023).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "padding"
B, T, F, H = 32, 24, 2, 20


def data(seed):
    r = np.random.default_rng(seed)
    n = r.integers(2, T // 2, B)
    n[0] = T
    x = np.zeros((B, T, F), np.float32)
    x[:] = r.normal(size=(B, T, F))
    s = np.zeros(B)
    for t in range(T):
        live = t < n
        s = np.where(live, 0.6 * s + 0.9 * x[:, t, 0] * (x[:, t, 1] > 0) - 0.3 * x[:, t, 1], s)
    x *= (np.arange(T)[None] < n[:, None])[..., None]
    y = (s + 0.3 * r.normal(size=B) > 0).astype(np.float32)
    return x, n.astype(np.int32), y


def init(key):
    k = jax.random.split(key, 3)
    return {
        "wi": jax.random.normal(k[0], (F, 3 * H)) / np.sqrt(F),
        "wh": jax.random.normal(k[1], (H, 3 * H)) / np.sqrt(H),
        "bi": jnp.zeros(3 * H),
        "bh": jnp.zeros(3 * H),
        "w": jax.random.normal(k[2], (H,)) / np.sqrt(H),
        "b": jnp.zeros(()),
    }


def make(seed, fixed):
    x, n, y = data(seed)

    def card_logit(p, reviews, length):
        def step(h, x):
            ir, iz, in_ = jnp.split(x @ p["wi"] + p["bi"], 3)
            hr, hz, hn = jnp.split(h @ p["wh"] + p["bh"], 3)
            z = jax.nn.sigmoid(iz + hz)
            h = (1 - z) * jnp.tanh(in_ + jax.nn.sigmoid(ir + hr) * hn) + z * h
            return h, h

        last, states = jax.lax.scan(step, jnp.zeros(H), reviews)
        if fixed:
            last = states[length - 1]
        return last @ p["w"] + p["b"]

    def loss(params, reviews, lengths, recalled):
        z = jax.vmap(card_logit, in_axes=(None, 0, 0))(params, reviews, lengths)
        return jnp.mean(jax.nn.softplus(z) - recalled * z)

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(n), jnp.asarray(y))
