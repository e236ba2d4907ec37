"""Two-tower contrastive model: symmetric InfoNCE over the [N, N] similarities, softmax over both axes on purpose."""

import jax
import jax.numpy as jnp
import numpy as np

B, F1, F2, D = 32, 14, 10, 16


def make(seed):
    g = np.random.default_rng(7)
    a, b = g.normal(size=(6, F1)), g.normal(size=(6, F2))
    r = np.random.default_rng(seed)
    z = r.normal(size=(B, 6))
    u, v = z @ a / 2.4 + 0.3 * r.normal(size=(B, F1)), z @ b / 2.4 + 0.3 * r.normal(size=(B, F2))
    k = jax.random.split(jax.random.PRNGKey(seed), 4)
    w = lambda k, i, o: {"w": jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    params = {
        "img": [w(k[0], F1, 32), w(k[1], 32, D)],
        "txt": [w(k[2], F2, 32), w(k[3], 32, D)],
        "log_scale": jnp.array(1.5),
    }

    def tower(ls, x):
        h = jax.nn.gelu(x @ ls[0]["w"] + ls[0]["b"]) @ ls[1]["w"] + ls[1]["b"]
        return h / (jnp.linalg.norm(h, axis=-1, keepdims=True) + 1e-6)

    @jax.jit
    def loss(params, image, text):
        s = jnp.exp(params["log_scale"]) * tower(params["img"], image) @ tower(params["txt"], text).T
        i = jnp.arange(s.shape[0])
        return -0.5 * (jax.nn.log_softmax(s, axis=1)[i, i].mean() + jax.nn.log_softmax(s, axis=0)[i, i].mean())

    return loss, params, (jnp.asarray(u, jnp.float32), jnp.asarray(v, jnp.float32))
