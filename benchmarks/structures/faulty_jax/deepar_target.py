"""DeepAR-style probabilistic forecaster: an LSTM run by lax.scan over (previous value,
covariates) gives the mean and the scale of a Gaussian for each step.

Fault: the decoder is fed the scaled target of the step it predicts, because the lag of
one step was left out when the inputs were put together.
Source: sktime/pytorch-forecasting issue #182 ("Is there leakage?", 2020).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "future"
B, T, K, H = 16, 30, 3, 24


def data(seed):
    r = np.random.default_rng(seed)
    t = np.arange(T)[None] + r.integers(0, 7, (B, 1))
    cov = np.stack(
        [np.sin(2 * np.pi * t / 7), np.cos(2 * np.pi * t / 7), np.broadcast_to(np.linspace(-1, 1, T), (B, T))], -1
    )
    lvl = r.normal(size=(B, 1)) * 0.5
    y = np.zeros((B, T))
    e = r.normal(size=(B, T))
    prev = lvl[:, 0]
    for i in range(T):
        prev = 0.5 * prev + 0.8 * cov[:, i, 0] + 0.3 * cov[:, i, 2] + 0.6 * e[:, i]
        y[:, i] = prev
    y = (y - y.mean()) / y.std()
    return y.astype(np.float32), cov.astype(np.float32)


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    n = 1 + K
    return {
        "wx": jax.random.normal(k1, (n, 4 * H)) / np.sqrt(n),
        "wh": jax.random.normal(k2, (H, 4 * H)) / np.sqrt(H),
        "b": jnp.zeros(4 * H).at[H : 2 * H].set(1.0),
        "head": {"w": jax.random.normal(k3, (H, 2)) * 0.1 / np.sqrt(H), "b": jnp.zeros(2)},
    }


def lstm_step(params, carry, x):
    h, c = carry
    z = x @ params["wx"] + h @ params["wh"] + params["b"]
    i, f, g, o = jnp.split(z, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def make(seed, fixed):
    y, cov = data(seed)
    params = init(jax.random.PRNGKey(seed))

    def loss(params, batch):
        target = batch["target"]
        if fixed:
            fed = jnp.concatenate([jnp.zeros_like(target[:, :1]), target[:, :-1]], axis=1)
        else:
            fed = target
        x = jnp.concatenate([fed[..., None], batch["covariates"]], -1)
        h0 = jnp.zeros((x.shape[0], H))
        _, hs = jax.lax.scan(lambda c, xt: lstm_step(params, c, xt), (h0, h0), x.swapaxes(0, 1))
        out = hs.swapaxes(0, 1) @ params["head"]["w"] + params["head"]["b"]
        mu, sigma = out[..., 0], jax.nn.softplus(out[..., 1] + 0.5) + 1e-2
        nll = 0.5 * ((target - mu) / sigma) ** 2 + jnp.log(sigma) + 0.5 * jnp.log(2 * jnp.pi)
        return nll.mean()

    return loss, params, ({"target": jnp.asarray(y), "covariates": jnp.asarray(cov)},)
