"""Clip classifier: temporal attention over per-frame features tells which way things move
(five motions); each clip carries its start time, embedded by sinusoids.

Fault: the embedding added to the frames is that of the clip's time alone, the same for
each frame; no position of the frame within the clip gets in, so their order is lost.
Source: huggingface/diffusers issue #4568 ("Temporal attention layer should consider
position embedding of frames", 2023).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "order"
B, N, F, D, C = 20, 10, 8, 32, 4


def clips(seed):
    g = np.random.default_rng(17)
    axis = g.normal(size=(2, F))
    r = np.random.default_rng(seed)
    y = r.integers(0, C, B)
    s = np.linspace(-1.5, 1.5, N)[None]
    path = np.stack(
        [
            np.where(
                (y == 0)[:, None],
                s,
                np.where((y == 1)[:, None], -s, np.where((y == 2)[:, None], np.abs(s) - 0.75, 0.75 - np.abs(s))),
            ),
        ],
        -1,
    )
    sign = np.where(y < 2, 0, 1)
    x = path * axis[sign][:, None] + 0.5 * r.normal(size=(B, N, F))
    return x.astype(np.float32), r.integers(0, 20, B).astype(np.float32), y.astype(np.int32)


def sinusoidal(t):
    f = jnp.exp(-np.log(100.0) * jnp.arange(D // 2) / (D // 2))
    a = t[..., None] * f
    return jnp.concatenate([jnp.sin(a), jnp.cos(a)], -1)


def init(key):
    k = jax.random.split(key, 8)
    n = lambda k, i, o: jax.random.normal(k, (i, o)) / np.sqrt(i)
    return {
        "proj": n(k[0], F, D),
        "q": n(k[1], D, D),
        "k": n(k[2], D, D),
        "v": n(k[3], D, D),
        "o": n(k[4], D, D),
        "mlp1": n(k[5], D, 2 * D),
        "mlp1_b": jnp.zeros(2 * D),
        "mlp2": n(k[6], 2 * D, D),
        "cls": n(k[7], D, C),
        "cls_b": jnp.zeros(C),
    }


def make(seed, fixed):
    x, start, y = clips(seed)

    def clip_logits(p, frames, start):
        time = jnp.broadcast_to(start, (N,))
        if fixed:
            time = time + jnp.arange(N)
        h = frames @ p["proj"] + sinusoidal(time)
        w = jax.nn.softmax((h @ p["q"]) @ (h @ p["k"]).T / np.sqrt(D), -1)
        h = h + w @ (h @ p["v"]) @ p["o"]
        h = h + jax.nn.gelu(h @ p["mlp1"] + p["mlp1_b"]) @ p["mlp2"]
        return h.mean(0) @ p["cls"] + p["cls_b"]

    def loss(params, batch):
        logits = jax.vmap(clip_logits, in_axes=(None, 0, 0))(params, batch["frames"], batch["start"])
        logp = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logp, batch["label"][:, None], 1).mean()

    return (
        loss,
        init(jax.random.PRNGKey(seed)),
        ({"frames": jnp.asarray(x), "start": jnp.asarray(start), "label": jnp.asarray(y)},),
    )
