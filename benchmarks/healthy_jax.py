"""Healthy JAX set-ups. make() -> (loss, params, args). python healthy_jax.py --train"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

CONTROLS = []


def control(name, kind="jax", steps=200, ratio=0.5, lr=0.1, adam=False):
    def wrap(f):
        f.name, f.kind, f.steps, f.ratio, f.lr, f.adam = name, kind, steps, ratio, lr, adam
        CONTROLS.append(f)
        return f

    return wrap


def digits(n=64):
    from sklearn.datasets import load_digits

    d = load_digits()
    o = np.random.RandomState(0).permutation(1797)[:n]
    x = (d.data - d.data.mean()) / d.data.std()
    return jnp.array(x[o], jnp.float32), jnp.array(d.target[o])


def dense(key, i, o, scale=2.0):
    return {"w": jax.random.normal(key, (i, o)) * (scale / i) ** 0.5, "b": jnp.zeros(o)}


def lin(p, x):
    return x @ p["w"] + p["b"]


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def ce(logits, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1).mean()


@control("jax_mlp_digits")
def _():
    x, y = digits(128)
    k = keys(3)
    p = {"l1": dense(k[0], 64, 64), "l2": dense(k[1], 64, 64), "out": dense(k[2], 64, 10, 1.0)}

    def loss(p, x, y):
        return ce(lin(p["out"], jax.nn.relu(lin(p["l2"], jax.nn.relu(lin(p["l1"], x))))), y)

    return loss, p, (x, y)


@control("jax_cnn")
def _():
    x, y = digits(48)
    x = x.reshape(-1, 8, 8, 1)
    k = keys(3)
    p = {
        "c1": jax.random.normal(k[0], (3, 3, 1, 12)) * (2 / 9) ** 0.5,
        "c2": jax.random.normal(k[1], (3, 3, 12, 24)) * (2 / 108) ** 0.5,
        "b1": jnp.zeros(12),
        "b2": jnp.zeros(24),
        "out": dense(k[2], 24, 10, 1.0),
    }

    def conv(x, w, s):
        return jax.lax.conv_general_dilated(x, w, (s, s), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def loss(p, x, y):
        h = jax.nn.relu(conv(x, p["c1"], 1) + p["b1"])
        h = jax.nn.relu(conv(h, p["c2"], 2) + p["b2"])
        return ce(lin(p["out"], h.mean((1, 2))), y)

    return loss, p, (x, y)


@control("jax_transformer_causal", steps=300, lr=3e-3, adam=True)
def _():
    r = np.random.RandomState(0)
    P = r.dirichlet(np.full(20, 0.1), 20)
    s = np.zeros((12, 17), int)
    s[:, 0] = r.randint(20, size=12)
    for t in range(16):
        for i in range(12):
            s[i, t + 1] = r.choice(20, p=P[s[i, t]])
    k = iter(keys(20))
    D = 32

    def block():
        return {
            "qkv": dense(next(k), D, 3 * D, 1.0),
            "o": dense(next(k), D, D, 0.5),
            "up": dense(next(k), D, 2 * D),
            "down": dense(next(k), 2 * D, D, 0.5),
            "g1": jnp.ones(D),
            "g2": jnp.ones(D),
        }

    p = {
        "tok": jax.random.normal(next(k), (20, D)) * 0.5,
        "pos": jax.random.normal(next(k), (16, D)) * 0.1,
        "b": [block(), block()],
        "g": jnp.ones(D),
        "head": dense(next(k), D, 20, 1.0),
    }

    def norm(x, g):
        return g * (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)

    def loss(p, x, y):
        h = p["tok"][x] + p["pos"]
        for b in p["b"]:
            q, kk, v = (a.reshape(*a.shape[:2], 4, 8) for a in jnp.split(lin(b["qkv"], norm(h, b["g1"])), 3, -1))
            w = jnp.einsum("bthd,bshd->bhts", q, kk) / 8**0.5
            w = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((16, 16), bool)), w, -1e9))
            h = h + lin(b["o"], jnp.einsum("bhts,bshd->bthd", w, v).reshape(h.shape))
            h = h + lin(b["down"], jax.nn.gelu(lin(b["up"], norm(h, b["g2"]))))
        return ce(lin(p["head"], norm(h, p["g"])), y)

    return loss, p, (jnp.array(s[:, :-1]), jnp.array(s[:, 1:]))


@control("jax_vqvae_stop_gradient", steps=300, ratio=0.65, lr=3e-3, adam=True)
def _():
    x, _y = digits(96)
    k = keys(5)
    p = {
        "e1": dense(k[0], 64, 64),
        "e2": dense(k[1], 64, 32, 1.0),
        "book": jax.random.normal(k[2], (32, 8)),
        "d1": dense(k[3], 32, 64),
        "d2": dense(k[4], 64, 64, 1.0),
    }
    sg = jax.lax.stop_gradient

    def loss(p, x):
        z = lin(p["e2"], jax.nn.relu(lin(p["e1"], x))).reshape(-1, 4, 8)
        i = ((z[:, :, None] - p["book"]) ** 2).sum(-1).argmin(-1)
        q = p["book"][i]
        r = lin(p["d2"], jax.nn.relu(lin(p["d1"], (z + sg(q - z)).reshape(len(x), -1))))
        return ((r - x) ** 2).mean() + ((q - sg(z)) ** 2).mean() + 0.25 * ((z - sg(q)) ** 2).mean()

    return loss, p, (x,)


def rl():
    r = np.random.RandomState(0)
    s = r.randn(128, 4)
    a = r.randint(3, size=128)
    s2 = s + 0.2 * r.randn(128, 4) + 0.1 * (a[:, None] - 1)
    rew = 1 - 0.3 * np.abs(s2[:, 0])
    d = np.abs(s2[:, 0]) > 2
    return [
        jnp.array(v, jnp.float32) if v.dtype.kind == "f" else jnp.array(v) for v in (s, a, rew, s2, d.astype(float))
    ]


def qnet(p, s):
    return lin(p["c"], jax.nn.relu(lin(p["b"], jax.nn.relu(lin(p["a"], s)))))


@control("jax_dqn_held_target", steps=300, lr=1e-3, adam=True)
def _():
    s, a, r, s2, d = rl()
    k = keys(3)
    p = {"a": dense(k[0], 4, 64), "b": dense(k[1], 64, 64), "c": dense(k[2], 64, 3, 1.0)}
    target = jax.tree.map(jnp.array, p)

    def loss(p, s, a, r, s2, d):
        y = r + 0.9 * (1 - d) * qnet(target, s2).max(1)
        return ((jnp.take_along_axis(qnet(p, s), a[:, None], 1)[:, 0] - y) ** 2).mean()

    return loss, p, (s, a, r, s2, d)


@control("jax_dqn_stop_gradient_same_params", steps=300, ratio=0.6, lr=1e-3, adam=True)
def _():
    s, a, r, s2, d = rl()
    k = keys(3)
    p = {"a": dense(k[0], 4, 64), "b": dense(k[1], 64, 64), "c": dense(k[2], 64, 3, 1.0)}

    def loss(p, s, a, r, s2, d):
        y = jax.lax.stop_gradient(r + 0.5 * (1 - d) * qnet(p, s2).max(1))
        return ((jnp.take_along_axis(qnet(p, s), a[:, None], 1)[:, 0] - y) ** 2).mean()

    return loss, p, (s, a, r, s2, d)


@control("jax_vmap_per_example", steps=300, lr=3e-3, adam=True)
def _():
    x, y = digits(64)
    k = keys(2)
    p = {"l1": dense(k[0], 64, 48, 1.0), "out": dense(k[1], 48, 10, 1.0)}

    def one(p, x, y):
        return ce(lin(p["out"], jnp.tanh(lin(p["l1"], x)))[None], y[None])

    def loss(p, x, y):
        return jax.vmap(one, (None, 0, 0))(p, x, y).mean()

    return loss, p, (x, y)


@control("jax_scan_rnn", steps=300, lr=3e-3, adam=True)
def _():
    k = keys(5)
    t = jnp.arange(21) * 0.4 + 6 * jax.random.uniform(k[4], (32, 1))
    s = jnp.sin(t)
    p = {
        "wx": jax.random.normal(k[0], (1, 32)) * 0.5,
        "wh": jnp.linalg.qr(jax.random.normal(k[1], (32, 32)))[0],
        "b": jnp.zeros(32),
        "out": dense(k[2], 32, 1, 1.0),
    }

    def loss(p, x, y):
        def step(h, xt):
            h = jnp.tanh(xt[:, None] @ p["wx"] + h @ p["wh"] + p["b"])
            return h, lin(p["out"], h)[:, 0]

        _, o = jax.lax.scan(step, jnp.zeros((len(x), 32)), x.T)
        return ((o.T - y) ** 2).mean()

    return loss, p, (s[:, :-1], s[:, 1:])


@control("jax_vae_fixed_key", steps=300, ratio=0.7, lr=3e-3, adam=True)
def _():
    x, _y = digits(96)
    k = keys(4)
    p = {
        "e": dense(k[0], 64, 48),
        "mv": dense(k[1], 48, 16, 0.5),
        "d": dense(k[2], 8, 48),
        "o": dense(k[3], 48, 64, 1.0),
    }

    def loss(p, x, key):
        mu, lv = jnp.split(lin(p["mv"], jax.nn.relu(lin(p["e"], x))), 2, -1)
        z = mu + jnp.exp(0.5 * lv) * jax.random.normal(key, mu.shape)
        return ((lin(p["o"], jax.nn.relu(lin(p["d"], z))) - x) ** 2).mean() - 0.005 * (
            1 + lv - mu**2 - jnp.exp(lv)
        ).sum(1).mean()

    return loss, p, (x, jax.random.key(7))


@control("jax_pinn_grad_of_grad", steps=400, ratio=0.2, lr=3e-3, adam=True)
def _():
    k = keys(3)
    p = {"a": dense(k[0], 1, 32, 1.0), "b": dense(k[1], 32, 32, 1.0), "c": dense(k[2], 32, 1, 1.0)}

    def u(p, x):
        return lin(p["c"], jnp.tanh(lin(p["b"], jnp.tanh(lin(p["a"], x[None])))))[0]

    def loss(p, x):
        r = jax.vmap(lambda z: jax.grad(jax.grad(u, 1), 1)(p, z))(x) + jnp.pi**2 * jnp.sin(jnp.pi * x)
        return (r**2).mean() + 10 * (u(p, jnp.array(-1.0)) ** 2 + u(p, jnp.array(1.0)) ** 2)

    return loss, p, (jnp.linspace(-1, 1, 48),)


if __name__ == "__main__" and "--train" in sys.argv:
    for c in CONTROLS:
        loss, p, args = c()
        b = float(loss(p, *args))
        g = jax.jit(jax.grad(loss))
        m = jax.tree.map(jnp.zeros_like, p)
        v = m
        for t in range(1, c.steps + 1):
            d = g(p, *args)
            if c.adam:
                m = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, m, d)
                v = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, v, d)
                p = jax.tree.map(
                    lambda p, m, v: p - c.lr * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), p, m, v
                )
            else:
                p = jax.tree.map(lambda p, d: p - c.lr * d, p, d)
        a = float(loss(p, *args))
        print("ok " if a < c.ratio * b else "BAD", c.name, f"{b:.4f} -> {a:.4f}")
