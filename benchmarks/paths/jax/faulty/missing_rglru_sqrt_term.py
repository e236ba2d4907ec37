# cause: missing-term
# size: 0.29
# dtype: float32
# where: input 0, leaf gate
# source: RG-LRU of Griffin (De et al. 2024, google-deepmind/recurrentgemma) with a scan backward, written anew
# why: the decay a also enters through sqrt(1 - a ** 2); the reverse scan keeps only the h[t-1] part of da
import jax
import jax.numpy as jnp
import numpy as np


def make_lru(faulty):
    def run(x, a):
        def step(h, xa):
            xt, at = xa
            h = at * h + jnp.sqrt(1 - at * at) * xt
            return h, h

        return jax.lax.scan(step, jnp.zeros_like(x[0]), (x, a))[1]

    @jax.custom_vjp
    def lru(x, a):
        return run(x, a)

    def fwd(x, a):
        h = run(x, a)
        return h, (x, a, h)

    def bwd(res, g):
        x, a, h = res
        before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])

        def step(carry, args):
            gt, xt, at, ht = args
            dh = gt + carry
            mix = jnp.sqrt(1 - at * at)
            da = dh * ht
            if not faulty:
                da = da - dh * xt * at / mix
            return dh * at, (dh * mix, da)

        _, (dx, da) = jax.lax.scan(step, jnp.zeros_like(g[0]), (g, x, a, before), reverse=True)
        return dx, da

    lru.defvjp(fwd, bwd)
    return lru


def case(faulty: bool) -> dict:
    rng = np.random.default_rng(104)
    inputs = {"x": jnp.asarray(rng.normal(size=(48, 3, 10)), jnp.float32),
              "gate": jnp.asarray(rng.normal(size=(48, 3, 10)) * 0.4 - 1.2, jnp.float32)}
    lru = make_lru(faulty)

    def reference(p):
        a = jax.nn.sigmoid(p["gate"])
        h, out = jnp.zeros_like(p["x"][0]), []
        for t in range(a.shape[0]):
            h = a[t] * h + jnp.sqrt(1 - a[t] ** 2) * p["x"][t]
            out.append(h)
        return jnp.stack(out)

    def candidate(p):
        return lru(p["x"], jax.nn.sigmoid(p["gate"]))

    return {"reference": reference, "candidate": candidate, "inputs": (inputs,)}
