"""Head pose style regressor: convolutions on NCHW images, then every location of the feature
map becomes a vector, is scored, and the softmax-weighted sum gives two angles.

Fault: the feature map [batch, channel, height, width] is reshaped straight to
[batch, height * width, channel]; the last axis then holds pixels, not channels.
Source: ohtlab/headpose-fsanet-pytorch issue #4 ("Maybe a bug", `view(-1, uw * uh, ch)` on
a channel-first map, 2020).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

KIND = "order"
B, S, C = 16, 12, 16


def data(seed):
    r = np.random.default_rng(seed)
    yy, xx = np.mgrid[:S, :S]
    cy, cx = r.uniform(2, 10, B), r.uniform(2, 10, B)
    a = r.uniform(-1, 1, B)
    d2 = (yy[None] - cy[:, None, None]) ** 2 + (xx[None] - cx[:, None, None]) ** 2
    grad = np.cos(a * np.pi)[:, None, None] * (xx[None] - cx[:, None, None]) + np.sin(a * np.pi)[:, None, None] * (
        yy[None] - cy[:, None, None]
    )
    im = np.stack([np.exp(-d2 / 6), np.exp(-d2 / 6) * grad], 1) + 0.1 * r.normal(size=(B, 2, S, S))
    im = (im - im.mean((0, 2, 3), keepdims=True)) / im.std((0, 2, 3), keepdims=True)
    y = np.stack([np.cos(a * np.pi), np.sin(a * np.pi)], 1) * 1.4
    return im.astype(np.float32), y.astype(np.float32)


def init(key):
    k = jax.random.split(key, 6)
    cv = lambda k, i, o: {"w": jax.random.normal(k, (o, i, 3, 3)) * np.sqrt(2 / (9 * i)), "b": jnp.zeros((o, 1, 1))}
    n = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    return {
        "c1": cv(k[0], 2, C),
        "c2": cv(k[1], C, C),
        "score": n(k[2], C, 1),
        "feat": n(k[3], C, 32),
        "out": n(k[4], 32, 2),
    }


def conv(p, x, stride):
    return jax.lax.conv_general_dilated(x, p["w"], (stride, stride), "SAME") + p["b"]


@partial(jax.jit, static_argnums=2)
def pose(params, images, transpose):
    u = jax.nn.relu(conv(params["c1"], images, 1))
    u = jax.nn.relu(conv(params["c2"], u, 2))
    b, ch, h, w = u.shape
    if transpose:
        u = u.transpose(0, 2, 3, 1)
    u = u.reshape(b, h * w, ch)
    att = jax.nn.softmax(u @ params["score"]["w"] + params["score"]["b"], axis=1)
    f = jax.nn.relu(u @ params["feat"]["w"] + params["feat"]["b"])
    pooled = (att * f).sum(1)
    return pooled @ params["out"]["w"] + params["out"]["b"]


def make(seed, fixed):
    x, y = data(seed)

    def loss(params, images, angles):
        return jnp.mean((pose(params, images, fixed) - angles) ** 2)

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(y))
