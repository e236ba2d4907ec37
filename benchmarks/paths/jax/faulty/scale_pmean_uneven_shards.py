# cause: scale
# size: 0.11
# dtype: bfloat16
# where: input 1 (x), then input 0 (params: w, b)
# source: jax-ml/jax issue 3970 (grad under psum), meta-pytorch/torchtune pull 1875 (mean of means under accumulation); written anew
# why: each shard divides by its own token count and the shards are averaged; the loss divides by the global count
import jax
import jax.numpy as jnp
import numpy as np

SHARDS = 4


def local_nll(w, b, x, labels):
    logits = x @ w + b
    logp = jax.nn.log_softmax(logits, axis=-1)
    keep = labels >= 0
    picked = jnp.take_along_axis(logp, jnp.where(keep, labels, 0)[:, None], axis=1)[:, 0]
    return -jnp.sum(jnp.where(keep, picked, 0)), jnp.sum(keep)


def make_loss(faulty):
    def wide(params, x, labels):
        w, b = params["w"].astype(jnp.float32), params["b"].astype(jnp.float32)
        return w, b, x.astype(jnp.float32).reshape(SHARDS, -1, x.shape[-1]), labels.reshape(SHARDS, -1)

    @jax.custom_vjp
    def loss(params, x, labels):
        w, b, xs, ls = wide(params, x, labels)

        def shard(xi, li):
            nll, count = local_nll(w, b, xi, li)
            return jax.lax.psum(nll, "data") / jax.lax.psum(count, "data")

        return jax.vmap(shard, axis_name="data")(xs, ls)[0]

    def fwd(params, x, labels):
        return loss(params, x, labels), (params, x, labels)

    def bwd(res, g):
        params, x, labels = res
        w, b, xs, ls = wide(params, x, labels)

        def shard(xi, li):
            _, pull, count = jax.vjp(lambda w, b, xi: local_nll(w, b, xi, li), w, b, xi, has_aux=True)
            if faulty:
                inv = 1.0 / (count * jax.lax.psum(1, "data"))
            else:
                inv = 1.0 / jax.lax.psum(count, "data")
            dw, db, dx = pull((g * inv).astype(jnp.float32))
            return jax.lax.psum(dw, "data"), jax.lax.psum(db, "data"), dx

        dw, db, dx = jax.vmap(shard, axis_name="data")(xs, ls)
        dparams = {"w": dw[0].astype(params["w"].dtype), "b": db[0].astype(params["b"].dtype)}
        return dparams, dx.reshape(x.shape).astype(x.dtype), None

    loss.defvjp(fwd, bwd)
    return loss


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(101)
    dt = jnp.bfloat16
    params = {"w": jnp.asarray(rng.normal(size=(24, 10)) * 0.4, dt), "b": jnp.asarray(rng.normal(size=10) * 0.2, dt)}
    x = jnp.asarray(rng.normal(size=(64, 24)), dt)
    labels = rng.integers(0, 10, size=(SHARDS, 16))
    for shard, kept in enumerate((16, 15, 12, 14)):
        labels[shard, kept:] = -1
    labels = jnp.asarray(labels.reshape(-1), jnp.int32)

    def reference(params, x, labels):
        logp = jax.nn.log_softmax(x @ params["w"] + params["b"], axis=-1)
        target = jax.nn.one_hot(labels, logp.shape[1], dtype=logp.dtype)
        return -jnp.sum(logp * target) / jnp.sum(target)

    return {"reference": reference, "candidate": make_loss(faulty), "inputs": (params, x, labels)}
