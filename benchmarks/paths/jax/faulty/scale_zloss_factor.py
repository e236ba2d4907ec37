# cause: scale
# size: 0.026
# dtype: float32
# where: inputs 0 (h) and 1 (w)
# source: google-research/t5x, losses.cross_entropy_with_logits (custom_vjp with z-loss, derivative 2 * z_loss * log_z), written anew
# why: the derivative of z_loss * log_z ** 2 is taken as z_loss * log_z, without its factor 2
import jax
import jax.numpy as jnp
import numpy as np

Z = 0.01


def make_token_loss(faulty):
    @jax.custom_vjp
    def token_loss(logits, label):
        log_z = jax.nn.logsumexp(logits)
        return log_z - logits[label] + Z * log_z ** 2

    def fwd(logits, label):
        top = jnp.max(logits)
        e = jnp.exp(logits - top)
        total = jnp.sum(e)
        log_z = top + jnp.log(total)
        return log_z - logits[label] + Z * log_z ** 2, (e / total, log_z, label)

    def bwd(res, g):
        p, log_z, label = res
        factor = Z * log_z if faulty else 2 * Z * log_z
        target = jax.nn.one_hot(label, p.shape[0], dtype=p.dtype)
        return g * ((1 + factor) * p - target), None

    token_loss.defvjp(fwd, bwd)
    return token_loss


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(102)
    h = jnp.asarray(rng.normal(size=(48, 16)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(16, 40)) * 0.4, jnp.float32)
    labels = jnp.asarray(rng.integers(0, 40, size=48), jnp.int32)
    token_loss = make_token_loss(faulty)

    def reference(h, w, labels):
        logits = h @ w
        log_z = jax.nn.logsumexp(logits, axis=1)
        return log_z - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0] + Z * log_z ** 2

    def candidate(h, w, labels):
        return jax.vmap(token_loss)(h @ w, labels)

    return {"reference": reference, "candidate": candidate, "inputs": (h, w, labels)}
