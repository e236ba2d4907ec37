"""One-step-ahead forecaster for two-channel sensor series: dilated 1-D convolutions
with residual connections, written for one series and vmapped over the batch.

Fault: the convolutions are padded "SAME" where they must be padded on the left only,
so the output at step t reads steps t+1, t+2, ..., which are its targets.
Source: maxim5/time-series-machine-learning issue #12 ("Pay attention for data leak
in Conv1D", 2020).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "future"
B, T, C, F, K = 16, 48, 2, 24, 3
DILATIONS = (1, 2, 4)


def series(seed):
    r = np.random.default_rng(seed)
    x = np.zeros((B, T + 1, C))
    ph = r.uniform(0, 6.28, (B, 1))
    w = r.choice([0.3, 0.45, 0.7], (B, 1))
    t = np.arange(T + 1)[None]
    n = r.normal(size=(B, T + 1, C))
    for i in range(1, T + 1):
        n[:, i] = 0.6 * n[:, i - 1] + 0.8 * n[:, i]
    x[..., 0] = np.sin(w * t + ph)
    x[..., 1] = np.cos(w * t + ph)
    x = x + 0.5 * n
    return ((x - x.mean((0, 1))) / x.std((0, 1))).astype(np.float32)


def conv1d(x, w, b, dilation, padding):
    y = jax.lax.conv_general_dilated(
        x[None], w, (1,), padding, rhs_dilation=(dilation,), dimension_numbers=("NWC", "WIO", "NWC")
    )
    return y[0] + b


def init(key):
    ks = jax.random.split(key, 2 + len(DILATIONS))
    he = lambda k, s: jax.random.normal(k, s) * np.sqrt(2.0 / (s[0] * s[1]))
    return {
        "inp": {"w": he(ks[0], (1, C, F)) * 0.7, "b": jnp.zeros(F)},
        "blocks": [{"w": he(k, (K, F, F)) * 0.5, "b": jnp.zeros(F)} for k in ks[2:]],
        "out": {"w": he(ks[1], (1, F, C)) * 0.3, "b": jnp.zeros(C)},
    }


def make(seed, fixed):
    x = series(seed)
    params = init(jax.random.PRNGKey(seed))

    def predict(params, x):
        h = conv1d(x, params["inp"]["w"], params["inp"]["b"], 1, "VALID")
        for d, p in zip(DILATIONS, params["blocks"]):
            pad = [((K - 1) * d, 0)] if fixed else "SAME"
            h = h + jax.nn.relu(conv1d(h, p["w"], p["b"], d, pad))
        return conv1d(h, params["out"]["w"], params["out"]["b"], 1, "VALID")

    def loss(params, inputs, targets):
        pred = jax.vmap(predict, in_axes=(None, 0))(params, inputs)
        return jnp.mean((pred - targets) ** 2)

    return loss, params, (jnp.asarray(x[:, :-1]), jnp.asarray(x[:, 1:]))
