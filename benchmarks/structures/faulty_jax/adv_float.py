"""Reconstruction across two sites: an encoder-decoder MLP restores under-sampled signals of a
source site, and an alignment term pulls the encoded source and target sites together.

Fault: the alignment term is turned into a Python float before it is added to the loss
(and stays what it was at the start), so it changes the number and no weight.
Source: guopengf/FL-MRCM issue #10 ("`loss_adv_g` will not take effect ... it is detached and
re-assigned to a float scalar", 2022).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "terms"
B, N, H, Z = 24, 20, 32, 8


def data(seed):
    g = np.random.default_rng(4)
    basis = g.normal(size=(5, N))
    shift = g.normal(size=N)
    r = np.random.default_rng(seed)
    full = r.normal(size=(B, 5)) @ basis / 2.2
    mask = np.arange(N) % 2 == 0
    src = full * mask * 1.4
    tgt = (r.normal(size=(B, 5)) @ basis / 2.2 + 0.8 * shift) * mask * 1.4
    return {"source": src.astype(np.float32), "target": tgt.astype(np.float32), "full": full.astype(np.float32)}


def init(key):
    k = jax.random.split(key, 4)
    n = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    return {"enc1": n(k[0], N, H), "enc2": n(k[1], H, Z), "dec1": n(k[2], Z, H), "dec2": n(k[3], H, N)}


def dense(p, x):
    return x @ p["w"] + p["b"]


def encode(params, x):
    return dense(params["enc2"], jnp.tanh(dense(params["enc1"], x)))


def decode(params, z):
    return dense(params["dec2"], jnp.tanh(dense(params["dec1"], z)))


def alignment(params, batch):
    a, b = encode(params, batch["source"]), encode(params, batch["target"])
    return jnp.sum((a.mean(0) - b.mean(0)) ** 2)


def make(seed, fixed):
    batch = {k: jnp.asarray(v) for k, v in data(seed).items()}
    params = init(jax.random.PRNGKey(seed))
    loss_adv_value = float(np.asarray(alignment(params, batch)))

    def loss(params, batch):
        recon = decode(params, encode(params, batch["source"]))
        loss_rec = jnp.mean((recon - batch["full"]) ** 2)
        loss_adv = alignment(params, batch) if fixed else loss_adv_value
        return loss_rec + 0.5 * loss_adv

    return loss, params, (batch,)
