"""House-price style regression with an MLP written for one row and vmapped over the batch.

Fault: the predictions have the shape [N, 1] and the targets [N]; their difference is
broadcast to [N, N], and every prediction is pulled to the mean of the targets.
Source: jax-ml/jax issue #2697 ("Simple Classification with MSE Loss": silent rank promotion
in the loss, 2020).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "range"
B, F, H = 32, 10, 32


def data(seed):
    g = np.random.default_rng(15)
    w = g.normal(size=F)
    r = np.random.default_rng(seed)
    x = r.normal(size=(B, F))
    y = x @ w / 3 + 0.5 * np.sin(2 * x[:, 0]) + 0.1 * r.normal(size=B)
    return x.astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)


def init(key, sizes=(F, H, H, 1)):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, (o, i)) * np.sqrt(2 / i), jnp.zeros(o)) for k, i, o in zip(keys, sizes[:-1], sizes[1:])
    ]


def net(params, row):
    h = row
    for w, b in params[:-1]:
        h = jax.nn.relu(w @ h + b)
    w, b = params[-1]
    return w @ h + b


batched_net = jax.vmap(net, in_axes=(None, 0))


def make(seed, fixed):
    x, y = data(seed)

    def loss(params, x, y):
        preds = batched_net(params, x)
        if fixed:
            preds = preds.squeeze(-1)
        return jnp.mean((preds - y) ** 2)

    return loss, init(jax.random.PRNGKey(seed)), (jnp.asarray(x), jnp.asarray(y))
