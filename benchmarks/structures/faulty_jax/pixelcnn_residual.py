"""PixelCNN on 10x10 binary images: masked 2-D convolutions (type A first, type B after),
a Bernoulli logit for every pixel.

Fault: the residual branch of the first block comes from an unmasked 1x1 projection of
the image itself, which goes round the type A mask: every logit sees its own pixel.
Source: rosinality/vq-vae-2-pytorch issue #31 (2020: the residual connections "break
masking of the current pixel").
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "future"
B, S, F = 16, 10, 16


def images(seed):
    r = np.random.default_rng(seed)
    yy, xx = np.mgrid[:S, :S]
    out = []
    for _ in range(B):
        cy, cx, rad = r.uniform(2, 8, 2).tolist() + [r.uniform(1.5, 4)]
        im = (yy - cy) ** 2 + (xx - cx) ** 2 < rad**2
        flip = r.random((S, S)) < 0.08
        out.append(im ^ flip)
    return np.stack(out)[..., None].astype(np.float32)


def mask(k, kind):
    m = np.ones((k, k, 1, 1), np.float32)
    c = k // 2
    m[c, c + (kind == "B") :] = 0
    m[c + 1 :] = 0
    return jnp.asarray(m)


def conv(x, w, b):
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b


def init(key):
    ks = jax.random.split(key, 6)
    w = lambda k, s: jax.random.normal(k, s) * np.sqrt(2 / np.prod(s[:3]))
    return {
        "first": {"w": w(ks[0], (5, 5, 1, F)) * 1.4, "b": jnp.zeros(F)},
        "skip": {"w": w(ks[1], (1, 1, 1, F)) * 0.5, "b": jnp.zeros(F)},
        "block1": {"w": w(ks[2], (3, 3, F, F)) * 1.4, "b": jnp.zeros(F)},
        "block2": {"w": w(ks[3], (3, 3, F, F)) * 1.4, "b": jnp.zeros(F)},
        "out": {"w": w(ks[4], (1, 1, F, 1)) * 0.3, "b": jnp.zeros(1)},
    }


def make(seed, fixed):
    x = images(seed)
    params = init(jax.random.PRNGKey(seed))
    if fixed:
        params.pop("skip")
    mask_a, mask_b = mask(5, "A"), mask(3, "B")

    def loss(params, images):
        centred = 2 * images - 1
        h = conv(centred, params["first"]["w"] * mask_a, params["first"]["b"])
        residual = h if fixed else conv(centred, params["skip"]["w"], params["skip"]["b"])
        for name in ("block1", "block2"):
            h = residual + conv(jax.nn.relu(h), params[name]["w"] * mask_b, params[name]["b"])
            residual = h
        logits = conv(jax.nn.relu(h), params["out"]["w"], params["out"]["b"])
        bce = jnp.maximum(logits, 0) - logits * images + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        return bce.mean()

    return loss, params, (jnp.asarray(x),)
