"""Advantage actor-critic on a logged batch: the advantage is under stop_gradient on purpose, with an entropy bonus."""

import jax
import jax.numpy as jnp
import numpy as np

B, S, A, H, GAMMA = 32, 6, 4, 32, 0.9


def make(seed):
    g = np.random.default_rng(4)
    w = g.normal(size=(S, A))
    r = np.random.default_rng(seed)
    s, s2 = r.normal(size=(B, S)), r.normal(size=(B, S))
    a = r.integers(0, A, B)
    rew = (s @ w)[np.arange(B), a] / 2
    done = (r.random(B) < 0.3).astype(np.float32)
    k = jax.random.split(jax.random.PRNGKey(seed), 3)
    lin = lambda k, i, o, c=1.0: {"w": c * jax.random.normal(k, (i, o)) / np.sqrt(i), "b": jnp.zeros(o)}
    params = {"body": lin(k[0], S, H), "pi": lin(k[1], H, A, 0.1), "v": lin(k[2], H, 1)}

    def net(p, s):
        h = jnp.tanh(s @ p["body"]["w"] + p["body"]["b"])
        return jax.nn.log_softmax(h @ p["pi"]["w"] + p["pi"]["b"]), (h @ p["v"]["w"] + p["v"]["b"])[:, 0]

    def loss(params, batch):
        logp, v = net(params, batch["obs"])
        _, v2 = net(params, batch["next_obs"])
        target = jax.lax.stop_gradient(batch["reward"] + GAMMA * (1 - batch["done"]) * v2)
        adv = jax.lax.stop_gradient(target - v)
        lp = jnp.take_along_axis(logp, batch["action"][:, None], 1)[:, 0]
        entropy = -(jnp.exp(logp) * logp).sum(-1)
        return -(lp * adv).mean() + 0.5 * ((v - target) ** 2).mean() - 0.01 * entropy.mean()

    f = lambda x: jnp.asarray(x, jnp.float32)
    return (
        loss,
        params,
        ({"obs": f(s), "next_obs": f(s2), "action": jnp.asarray(a, jnp.int32), "reward": f(rew), "done": f(done)},),
    )
