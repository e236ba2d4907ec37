"""Convolutional autoencoder: the target is the input image, through an 8-number bottleneck."""

import jax
import jax.numpy as jnp
import numpy as np

B, S = 16, 12


def make(seed):
    r = np.random.default_rng(seed)
    yy, xx = np.mgrid[:S, :S]
    c = r.uniform(2, 9, (B, 2, 1, 1))
    x = np.exp(-((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2) / r.uniform(3, 12, (B, 1, 1)))
    x = ((x - x.mean()) / x.std())[..., None].astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 6)
    cv = lambda k, s: jax.random.normal(k, s) * np.sqrt(2 / np.prod(s[:3]))
    params = {
        "c1": cv(k[0], (3, 3, 1, 8)),
        "c2": cv(k[1], (3, 3, 8, 16)),
        "z": jax.random.normal(k[2], (144, 8)) / 12,
        "unz": jax.random.normal(k[3], (8, 144)) / np.sqrt(8),
        "d1": cv(k[4], (3, 3, 16, 8)),
        "d2": cv(k[5], (3, 3, 8, 1)) * 0.5,
    }
    dn = ("NHWC", "HWIO", "NHWC")

    def reconstruct(p, x):
        h = jax.nn.relu(jax.lax.conv_general_dilated(x, p["c1"], (2, 2), "SAME", dimension_numbers=dn))
        h = jax.nn.relu(jax.lax.conv_general_dilated(h, p["c2"], (2, 2), "SAME", dimension_numbers=dn))
        z = h.reshape(x.shape[0], -1) @ p["z"]
        h = jax.nn.relu(z @ p["unz"]).reshape(-1, 3, 3, 16)
        h = jax.nn.relu(jax.lax.conv_transpose(h, p["d1"], (2, 2), "SAME", dimension_numbers=dn))
        return jax.lax.conv_transpose(h, p["d2"], (2, 2), "SAME", dimension_numbers=dn)

    def loss(params, x, target):
        return jnp.mean((reconstruct(params, x) - target) ** 2)

    return loss, params, (jnp.asarray(x), jnp.asarray(x))
