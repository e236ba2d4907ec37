"""Activity recogniser: a convolution over time on body-worn sensor windows, then an LSTM
by lax.scan (time first), whose last state gives the activity.

Fault: to get time first, [batch, time, features] is reshaped to [time, batch, features]
where the two axes had to be swapped; the steps of one window spread over the batch.
Source: mariusbock/dl-for-har issue #11 (DeepConvLSTM: batch-first data given to a
time-first LSTM, 2024).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "order"
B, T, S, F, H, C = 16, 20, 3, 16, 24, 4


def data(seed):
    r = np.random.default_rng(seed)
    y = r.integers(0, C, B)
    t = np.arange(T)[None]
    ph = r.uniform(0, 6.28, (B, 1))
    w = np.array([0.3, 0.7, 1.2, 1.9])[y][:, None]
    x = np.stack([np.sin(w * t + ph), np.cos(w * t + ph), np.sin(2 * w * t + ph)], -1) + 0.3 * r.normal(size=(B, T, S))
    return ((x - x.mean((0, 1))) / x.std((0, 1))).astype(np.float32), y.astype(np.int32)


def init(key):
    k = jax.random.split(key, 4)
    return {
        "conv": {"w": jax.random.normal(k[0], (5, S, F)) * np.sqrt(2 / (5 * S)), "b": jnp.zeros(F)},
        "lstm": {"w": jax.random.normal(k[1], (F + H, 4 * H)) / np.sqrt(F + H), "b": jnp.zeros(4 * H).at[:H].set(1.0)},
        "fc": {"w": jax.random.normal(k[2], (H, C)) / np.sqrt(H), "b": jnp.zeros(C)},
    }


def make(seed, fixed):
    x, y = data(seed)

    def logits_fn(params, x):
        h = jax.lax.conv_general_dilated(x, params["conv"]["w"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
        h = jax.nn.relu(h + params["conv"]["b"])
        b, t, f = h.shape
        seq = jnp.swapaxes(h, 0, 1) if fixed else h.reshape(t, b, f)

        def step(carry, xt):
            hid, cell = carry
            z = jnp.concatenate([xt, hid], -1) @ params["lstm"]["w"] + params["lstm"]["b"]
            fg, ig, og, cand = jnp.split(z, 4, axis=-1)
            cell = jax.nn.sigmoid(fg) * cell + jax.nn.sigmoid(ig) * jnp.tanh(cand)
            hid = jax.nn.sigmoid(og) * jnp.tanh(cell)
            return (hid, cell), None

        (hid, _), _ = jax.lax.scan(step, (jnp.zeros((b, H)), jnp.zeros((b, H))), seq)
        return hid @ params["fc"]["w"] + params["fc"]["b"]

    def loss(params, x, y):
        logp = jax.nn.log_softmax(logits_fn(params, x))
        return -jnp.mean(logp[jnp.arange(y.shape[0]), y])

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(y))
