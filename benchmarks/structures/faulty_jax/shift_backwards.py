"""Price forecaster: windows of the last ten (return, volume) pairs go through an MLP that
gives the return of the next day.

Fault: the target column was shifted forwards (`shift(1)`) where it had to be shifted
backwards (`shift(-1)`): the label is the return of the day before the last, which stands
in the window.
Source: KIC/pandas-ml-quant issue #25 ("Target variable is shifted in the wrong
direction", 2021).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "targets"
W, B, H = 10, 32, 48


def series(seed, n=200):
    r = np.random.default_rng(seed)
    a = np.zeros(n)
    v = np.zeros(n)
    e, u = r.normal(size=n), r.normal(size=n)
    for t in range(3, n):
        a[t] = 0.8 * a[t - 1] - 0.5 * a[t - 2] + 0.5 * np.tanh(v[t - 1]) + 0.5 * e[t]
        v[t] = 0.7 * v[t - 1] + 0.7 * u[t]
    x = np.stack([a, v], 1)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def windows(seed, fixed):
    x = series(seed)
    ends = np.random.default_rng(seed + 1000).integers(W + 5, len(x) - 2, B)  # index of the last day in the window
    X = np.stack([x[e - W + 1 : e + 1] for e in ends])
    step = 1 if fixed else -1
    y = x[ends + step, 0]
    return X, y[:, None]


def init_mlp(key, sizes):
    ks = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (i, o)) * np.sqrt(1.5 / i), "b": jnp.zeros(o)}
        for k, i, o in zip(ks, sizes[:-1], sizes[1:])
    ]


def mlp(params, x):
    x = x.reshape(x.shape[0], -1)
    for p in params[:-1]:
        x = jax.nn.elu(x @ p["w"] + p["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def make(seed, fixed):
    X, y = windows(seed, fixed)
    params = init_mlp(jax.random.PRNGKey(seed), [W * 2, H, H, 1])

    def loss(params, x, y):
        return jnp.mean(jnp.square(mlp(params, x) - y))

    return loss, params, (jnp.asarray(X), jnp.asarray(y))
