"""Per-pixel classification with a small U-shaped net; cross-entropy plus a soft dice term, pixels of class 255 ignored."""

import jax
import jax.numpy as jnp
import numpy as np

B, S, C = 8, 16, 3


def make(seed):
    r = np.random.default_rng(seed)
    yy, xx = np.mgrid[:S, :S]
    lab = np.zeros((B, S, S), int)
    for c in (1, 2):
        cy, cx, rad = r.uniform(3, 13, (3, B))[:, :, None, None]
        lab = np.where((yy - cy) ** 2 + (xx - cx) ** 2 < (rad / 3 + 1.5) ** 2, c, lab)
    colour = np.array([[0, 0], [1.5, -0.5], [-0.5, 1.5]])
    x = colour[lab] + 0.6 * r.normal(size=(B, S, S, 2))
    x = ((x - x.mean((0, 1, 2))) / x.std((0, 1, 2))).astype(np.float32)
    lab[:, 0] = 255
    k = jax.random.split(jax.random.PRNGKey(seed), 5)
    cv = lambda k, n, i, o: {"w": jax.random.normal(k, (n, n, i, o)) * np.sqrt(2 / (n * n * i)), "b": jnp.zeros(o)}
    params = {"a": cv(k[0], 3, 2, 12), "b": cv(k[1], 3, 12, 24), "c": cv(k[2], 3, 36, 12), "o": cv(k[3], 1, 12, C)}

    def conv(p, x, s=1):
        return (
            jax.lax.conv_general_dilated(x, p["w"], (s, s), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]
        )

    def loss(params, batch):
        h1 = jax.nn.relu(conv(params["a"], batch["image"]))
        h2 = jax.nn.relu(conv(params["b"], h1, 2))
        up = jnp.repeat(jnp.repeat(h2, 2, 1), 2, 2)
        logits = conv(params["o"], jax.nn.relu(conv(params["c"], jnp.concatenate([h1, up], -1))))
        keep = (batch["label"] != 255).astype(logits.dtype)[..., None]
        one = jax.nn.one_hot(batch["label"], C) * keep
        ce = -(one * jax.nn.log_softmax(logits)).sum() / keep.sum()
        p = jax.nn.softmax(logits) * keep
        dice = 1 - ((2 * (p * one).sum((0, 1, 2)) + 1) / (p.sum((0, 1, 2)) + one.sum((0, 1, 2)) + 1)).mean()
        return ce + dice

    return loss, params, ({"image": jnp.asarray(x), "label": jnp.asarray(lab, jnp.int32)},)
