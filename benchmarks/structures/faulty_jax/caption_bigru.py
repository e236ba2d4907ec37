"""Caption decoder: a GRU (lax.scan) started from an image feature reads the caption so
far and predicts the next word.

Fault: the decoder is bidirectional. The backward GRU has read the words t+1, t+2, ...
by the time it writes its state for step t.
Source: timbmg/Sentence-VAE issue #22 ("data leak in decoder when bidirectional == True",
2020).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "future"
V, L, B, E, H, FEAT = 20, 14, 16, 16, 32, 8


def data(seed):
    g = np.random.default_rng(3)
    topics = g.normal(size=(4, FEAT))
    nxt = g.integers(1, V, size=(4, V, 2))
    r = np.random.default_rng(seed)
    z = r.integers(0, 4, B)
    feats = topics[z] + 0.2 * r.normal(size=(B, FEAT))
    cap = np.zeros((B, L + 1), np.int32)
    for t in range(L):
        cap[:, t + 1] = nxt[z, cap[:, t], (r.random(B) < 0.4).astype(int)]
    return feats.astype(np.float32), cap


def gru_params(key, i, h):
    k1, k2 = jax.random.split(key)
    return {
        "wx": jax.random.normal(k1, (i, 3 * h)) / np.sqrt(i),
        "wh": jax.random.normal(k2, (h, 3 * h)) / np.sqrt(h),
        "b": jnp.zeros(3 * h),
    }


def gru(p, h0, xs, reverse=False):
    def step(h, x):
        gx, gh = x @ p["wx"] + p["b"], h @ p["wh"]
        rx, zx, nx = jnp.split(gx, 3, -1)
        rh, zh, nh = jnp.split(gh, 3, -1)
        r, z = jax.nn.sigmoid(rx + rh), jax.nn.sigmoid(zx + zh)
        h = (1 - z) * jnp.tanh(nx + r * nh) + z * h
        return h, h

    return jax.lax.scan(step, h0, xs, reverse=reverse)[1]


def make(seed, fixed):
    feats, cap = data(seed)
    ks = jax.random.split(jax.random.PRNGKey(seed), 6)
    params = {
        "embed": jax.random.normal(ks[0], (V, E)) * 0.5,
        "init": jax.random.normal(ks[1], (FEAT, H)) / np.sqrt(FEAT),
        "fwd": gru_params(ks[2], E, H),
        "out_f": jax.random.normal(ks[4], (H, V)) / np.sqrt(H),
        "out_b": jnp.zeros(V),
    }
    if not fixed:
        params["bwd"] = gru_params(ks[3], E, H)
        params["out_r"] = jax.random.normal(ks[5], (H, V)) / np.sqrt(H)

    @jax.jit
    def decode(params, feats, words):
        xs = params["embed"][words].swapaxes(0, 1)
        h0 = jnp.tanh(feats @ params["init"])
        logits = gru(params["fwd"], h0, xs) @ params["out_f"] + params["out_b"]
        if not fixed:
            logits = logits + gru(params["bwd"], h0, xs, reverse=True) @ params["out_r"]
        return logits.swapaxes(0, 1)

    def loss(params, batch):
        caption = batch["caption"]
        logits = decode(params, batch["features"], caption[:, :-1])
        onehot = jax.nn.one_hot(caption[:, 1:], V)
        return -jnp.mean(jnp.sum(onehot * jax.nn.log_softmax(logits), -1))

    return loss, params, ({"features": jnp.asarray(feats), "caption": jnp.asarray(cap)},)
