"""Plain JAX + optax MLP classifier; the train step is a pure, jitted function of (state, batch)."""
import argparse
import functools
import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits


class TrainState(NamedTuple):
    params: dict
    opt_state: optax.OptState
    rng: jax.Array
    step: jax.Array


def init_params(rng, sizes):
    params = {}
    keys = jax.random.split(rng, len(sizes) - 1)
    for i, (k, m, n) in enumerate(zip(keys, sizes[:-1], sizes[1:])):
        params[f"dense_{i}"] = {"w": jax.random.normal(k, (m, n)) * jnp.sqrt(2.0 / m), "b": jnp.zeros((n,))}
    return params


def apply(params, x, rng=None, rate=0.1):
    n = len(params)
    for i in range(n):
        layer = params[f"dense_{i}"]
        x = x @ layer["w"] + layer["b"]
        if i < n - 1:
            x = jax.nn.relu(x)
            if rng is not None:
                keep = jax.random.bernoulli(jax.random.fold_in(rng, i), 1 - rate, x.shape)
                x = jnp.where(keep, x / (1 - rate), 0.0)
    return x


def loss_fn(params, batch, rng):
    logits = apply(params, batch["image"], rng)
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()


def make_train_step(tx):
    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(state, batch):
        rng, sub = jax.random.split(state.rng)
        loss, grads = jax.value_and_grad(loss_fn)(state.params, batch, sub)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "grad_norm": optax.global_norm(grads)}
        return TrainState(params, opt_state, rng, state.step + 1), metrics

    return train_step


@jax.jit
def eval_step(params, batch):
    logits = apply(params, batch["image"])
    return (logits.argmax(-1) == batch["label"]).mean()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--batch_size", type=int, default=64)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()

    d = load_digits()
    images = (d.data / 16.0).astype(np.float32)
    labels = d.target.astype(np.int32)
    order = np.random.default_rng(args.seed).permutation(len(labels))
    images, labels = images[order], labels[order]
    train = {"image": images[:1408], "label": labels[:1408]}
    test = {"image": images[1408:], "label": labels[1408:]}

    steps_per_epoch = len(train["label"]) // args.batch_size
    schedule = optax.warmup_cosine_decay_schedule(0.0, args.lr, 10, args.epochs * steps_per_epoch, 1e-5)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))

    init_rng, rng = jax.random.split(jax.random.key(args.seed))
    params = init_params(init_rng, [64, 128, 64, 10])
    state = TrainState(params, tx.init(params), rng, jnp.zeros((), jnp.int32))
    train_step = make_train_step(tx)

    np_rng = np.random.default_rng(args.seed + 1)
    for epoch in range(args.epochs):
        perm = np_rng.permutation(len(train["label"]))[: steps_per_epoch * args.batch_size]
        for idx in perm.reshape(steps_per_epoch, args.batch_size):
            batch = {k: v[idx] for k, v in train.items()}
            state, metrics = train_step(state, batch)
            if int(state.step) % 10 == 1:
                print(f"step {int(state.step)} loss {float(metrics['loss']):.4f} |g| {float(metrics['grad_norm']):.3f}")
        print(f"epoch {epoch} test acc {float(eval_step(state.params, test)):.4f}")

    h = hashlib.sha256()
    for leaf in jax.tree.leaves(state.params):
        h.update(np.asarray(leaf).tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
