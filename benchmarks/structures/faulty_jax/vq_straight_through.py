"""VQ-VAE on short signals: encoder MLP, codebook of 16 vectors, decoder MLP, and the two
latent terms of van den Oord et al.

Fault: the straight-through trick is applied to `quantize` before the latent terms are
computed, so the term that ought to pull the codebook to the encoder's outputs sends its
gradient to the encoder; the codebook gets none.
Source: andylolu2/jax-vqvae-gpt issue #2 ("Possible bug in VQ loss gradient", 2022).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "terms"
B, N, H, D, K = 32, 16, 32, 4, 16


def data(seed):
    g = np.random.default_rng(8)
    protos = g.normal(size=(10, N))
    r = np.random.default_rng(seed)
    x = protos[r.integers(0, 10, B)] + 0.15 * r.normal(size=(B, N))
    return ((x - x.mean()) / x.std()).astype(np.float32)


def init(key):
    k = jax.random.split(key, 5)
    n = lambda k, i, o: (jax.random.normal(k, (i, o)) / np.sqrt(i), jnp.zeros(o))
    return {
        "enc": [n(k[0], N, H), n(k[1], H, D)],
        "dec": [n(k[2], D, H), n(k[3], H, N)],
        "codebook": jax.random.normal(k[4], (K, D)),
    }


def mlp(layers, x):
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def make(seed, fixed):
    x = jnp.asarray(data(seed))
    sg = jax.lax.stop_gradient

    @jax.jit
    def quantise(params, inputs):
        dist = jnp.sum((inputs[:, None] - params["codebook"][None]) ** 2, -1)
        idx = jnp.argmin(dist, -1)
        quantize = params["codebook"][idx]
        if fixed:
            encoding_loss = jnp.mean((sg(quantize) - inputs) ** 2)
            codebook_loss = jnp.mean((quantize - sg(inputs)) ** 2)
            quantize = inputs + sg(quantize - inputs)
        else:
            quantize = inputs + sg(quantize - inputs)
            encoding_loss = jnp.mean((sg(quantize) - inputs) ** 2)
            codebook_loss = jnp.mean((quantize - sg(inputs)) ** 2)
        return quantize, codebook_loss + encoding_loss

    def loss(params, x):
        z = mlp(params["enc"], x)
        q, latent_loss = quantise(params, z)
        return jnp.mean((mlp(params["dec"], q) - x) ** 2) + latent_loss

    return loss, init(jax.random.PRNGKey(seed)), (x,)
