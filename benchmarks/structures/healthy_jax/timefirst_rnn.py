"""Time-first RNN: arrays are [time, batch, features] all the way, lax.scan over axis 0, the last valid state is carried by a mask."""

import jax
import jax.numpy as jnp
import numpy as np

T, B, F, H, C = 15, 24, 3, 24, 3


def make(seed):
    r = np.random.default_rng(seed)
    n = r.integers(5, T + 1, B)
    y = r.integers(0, C, B)
    t = np.arange(T)[:, None]
    base = np.array([0.4, 1.0, 1.7])[y][None]
    ph = r.uniform(0, 6.28, B)[None]
    x = np.stack([np.sin(base * t + ph), np.cos(base * t + ph), np.ones_like(base * t)], -1) + 0.3 * r.normal(
        size=(T, B, F)
    )
    m = (t < n[None]).astype(np.float32)
    x = (x * m[..., None]).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 3)
    params = {
        "wx": jax.random.normal(k[0], (F, 3 * H)) / np.sqrt(F),
        "wh": jax.random.normal(k[1], (H, 3 * H)) / np.sqrt(H),
        "b": jnp.zeros(3 * H),
        "out": jax.random.normal(k[2], (H, C)) / np.sqrt(H),
        "out_b": jnp.zeros(C),
    }

    def loss(params, xs, mask, labels):
        def step(h, inp):
            x, m = inp
            a, b = x @ params["wx"] + params["b"], h @ params["wh"]
            z, r_ = jax.nn.sigmoid(a[:, :H] + b[:, :H]), jax.nn.sigmoid(a[:, H : 2 * H] + b[:, H : 2 * H])
            new = z * h + (1 - z) * jnp.tanh(a[:, 2 * H :] + r_ * b[:, 2 * H :])
            return m[:, None] * new + (1 - m[:, None]) * h, None

        h, _ = jax.lax.scan(step, jnp.zeros((xs.shape[1], H)), (xs, mask))
        logp = jax.nn.log_softmax(h @ params["out"] + params["out_b"])
        return -jnp.take_along_axis(logp, labels[:, None], 1).mean()

    return loss, params, (jnp.asarray(x), jnp.asarray(m), jnp.asarray(y, jnp.int32))
