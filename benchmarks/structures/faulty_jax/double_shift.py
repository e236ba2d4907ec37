"""Causal transformer language model (one block, ALiBi-free learned positions); the batch
holds `labels` equal to `input_ids`, as for Hugging Face models, and the loss shifts.

Fault: the model shifts logits and labels itself and then calls a loss function that
shifts once more, so position t is trained on token t+2.
Source: huggingface/transformers pull request #37830 (JetMoeForCausalLM, 2025).
"""

import jax
import jax.numpy as jnp
import numpy as np

KIND = "targets"
V, T, B, D, H = 18, 24, 12, 32, 2


def tokens(seed):
    g = np.random.default_rng(11)
    perm = g.permutation(V)
    r = np.random.default_rng(seed)
    x = np.zeros((B, T), np.int32)
    x[:, 0] = r.integers(0, V, B)
    for t in range(1, T):
        rnd = r.integers(0, V, B)
        x[:, t] = np.where(r.random(B) < 0.85, perm[x[:, t - 1]], rnd)
    return x


def init(key):
    ks = jax.random.split(key, 8)
    n = lambda k, *s: jax.random.normal(k, s) / np.sqrt(s[0])
    return {
        "wte": jax.random.normal(ks[0], (V, D)) * 0.12,
        "wpe": jax.random.normal(ks[1], (T, D)) * 0.1,
        "q": n(ks[2], D, D),
        "k": n(ks[3], D, D),
        "v": n(ks[4], D, D),
        "o": n(ks[5], D, D),
        "fc": n(ks[6], D, 3 * D),
        "proj": n(ks[7], 3 * D, D),
        "g1": jnp.ones(D),
        "g2": jnp.ones(D),
        "g3": jnp.ones(D),
    }


def rms(x, g):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * g


@jax.jit
def forward(p, ids):
    b, t = ids.shape
    x = p["wte"][ids] + p["wpe"][:t]
    y = rms(x, p["g1"])
    q, k, v = (jnp.reshape(y @ p[n], (b, t, H, D // H)) for n in "qkv")
    s = jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D // H)
    s = jnp.where(jnp.tril(jnp.ones((t, t), bool)), s, jnp.finfo(s.dtype).min)
    x = x + jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(s), v).reshape(b, t, D) @ p["o"]
    x = x + jax.nn.silu(rms(x, p["g2"]) @ p["fc"]) @ p["proj"]
    return rms(x, p["g3"]) @ p["wte"].T


def causal_lm_loss(logits, labels):
    logits, labels = logits[:, :-1], labels[:, 1:]
    lse = jax.nn.logsumexp(logits, -1)
    return jnp.mean(lse - jnp.take_along_axis(logits, labels[..., None], -1)[..., 0])


def make(seed, fixed):
    ids = jnp.asarray(tokens(seed))

    def loss(params, batch):
        logits = forward(params, batch["input_ids"])
        labels = batch["labels"]
        if not fixed:
            logits, labels = logits[:, :-1, :], labels[:, 1:]
        return causal_lm_loss(logits, labels)

    return loss, init(jax.random.PRNGKey(seed)), ({"input_ids": ids, "labels": ids},)
