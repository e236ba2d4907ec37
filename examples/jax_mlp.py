"""A healthy JAX problem: a network of four layers, initialised for its activation.

wellposed check examples/jax_mlp.py
"""

import jax
import jax.numpy as jnp

import wellposed as wp

keys = jax.random.split(jax.random.key(0), 6)
widths = [8, 32, 32, 32, 3]
params = [
    {"w": wp.gain(jax.nn.relu).forward * jax.random.normal(key, (n, m)) / n**0.5, "b": jnp.zeros(m)}
    for key, n, m in zip(keys, widths[:-1], widths[1:], strict=False)
]
inputs = jax.random.normal(keys[4], (64, 8))
targets = jax.random.randint(keys[5], (64,), 0, 3)


def loss(params, inputs, targets):
    x = inputs
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return -jax.nn.log_softmax(logits)[jnp.arange(len(targets)), targets].mean()


problem = wp.JaxProblem(loss, params, inputs, targets)
