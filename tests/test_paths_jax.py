"""The same gradient on two ways in JAX: custom rules and Pallas kernels beside plain formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

import wellposed as wp

FORMATS = ("bfloat16", "float16", "float32")


def linear(fault):
    @jax.custom_vjp
    def call(x, w):
        return x @ w.T

    def backward(kept, g):
        x, w = kept
        gx, gw = g @ w, g.T @ x
        match fault:
            case "scale":
                gw = 1.02 * gw
            case "sign":
                gx = -gx
            case "wrong-rows":
                gx = gx.at[3].multiply(1.1)
            case "tail":
                gw = g[: len(g) // 16 * 16].T @ x[: len(x) // 16 * 16]
            case "missing-term":
                gx = gx - 0.3 * jnp.roll(gx, 1, 0)
        return gx, gw

    call.defvjp(lambda x, w: (call(x, w), (x, w)), backward)
    return lambda x, w: jnp.tanh(call(x, w))


def plain(x, w):
    return jnp.tanh(x @ w.T)


def arrays(dtype, rows=53):
    draw = np.random.default_rng(0)
    return jnp.asarray(draw.standard_normal((rows, 24)), dtype), jnp.asarray(draw.standard_normal((40, 24)) / 5, dtype)


def held(reference, candidate, inputs, **options):
    (finding,) = wp.check_paths(reference, candidate, inputs, **options).findings
    return finding


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_right_rule_holds(dtype):
    finding = held(plain, linear(""), arrays(dtype), elsewhere=False)
    assert finding.verdict is wp.Verdict.HOLDS
    assert f"gradients (2) are those of the reference up to the rounding of {dtype}" in finding.message


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("fault", ["scale", "sign", "wrong-rows", "tail", "missing-term"])
def test_a_fault_is_found_and_named(fault, dtype):
    finding = held(plain, linear(fault), arrays(dtype))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, fault)
    assert finding.where == ("inputs[1]" if fault in ("scale", "tail") else "inputs[0]")


def test_pytrees_whole_numbers_and_dictionaries_of_outputs():
    params = {"w": arrays("float32")[1], "b": jnp.zeros(40)}
    rows = jnp.array([3, 1, 2])

    def reference(params, x, rows):
        return {"y": x[rows] @ params["w"].T + params["b"], "rows": rows}

    finding = held(reference, lambda *given: reference(*given), (params, arrays("float32")[0], rows), elsewhere=False)
    assert finding.verdict is wp.Verdict.HOLDS
    assert "gradients (3)" in finding.message


def dropped(again):
    @jax.custom_vjp
    def call(x, key):
        return x * jax.random.bernoulli(key, 0.8, x.shape)

    def backward(kept, g):
        x, key = kept
        key = jax.random.split(key)[0] if again else key
        return g * jax.random.bernoulli(key, 0.8, x.shape), None

    call.defvjp(lambda x, key: (call(x, key), (x, key)), backward)
    return call


def test_a_key_that_is_split_anew():
    x, key = arrays("float32")[0], jax.random.PRNGKey(1)
    reference = dropped(again=False)
    assert held(reference, dropped(again=True), (x, key), elsewhere=False).cause == "new-dropout"
    assert held(reference, dropped(again=False), (x, key), elsewhere=False).verdict is wp.Verdict.HOLDS


def test_a_kernel_that_leaves_rows_out_at_other_sizes():
    """A grid of whole blocks: the rows behind the last one are never written to."""

    def kernel(x_ref, y_ref):
        y_ref[...] = 2 * x_ref[...]

    def doubled(x):
        return pl.pallas_call(
            kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), grid=(x.shape[0] // 16,), interpret=True,
            in_specs=[pl.BlockSpec((16, x.shape[1]), lambda i: (i, 0))],
            out_specs=pl.BlockSpec((16, x.shape[1]), lambda i: (i, 0)),
        )(x)  # fmt: skip

    @jax.custom_vjp
    def candidate(x):
        return doubled(x)

    candidate.defvjp(lambda x: (doubled(x), None), lambda _, g: (doubled(g),))
    (x,) = arrays("float32", 48)[:1]
    finding = held(lambda x: 2 * x, candidate, (x,))
    assert finding.verdict is wp.Verdict.FAILS
    assert "it is wrong, though it is right on those given" in finding.message
    assert held(lambda x: 2 * x, candidate, (x,), elsewhere=False).verdict is wp.Verdict.HOLDS


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: wp.check_paths(plain, plain, (jnp.arange(3), jnp.arange(3))), "no input is a floating-point array"),
        (lambda: wp.check_paths(lambda x: jnp.argmax(x), lambda x: jnp.argmax(x), (jnp.ones(3),)), "returns no floating"),
    ],
)  # fmt: skip
def test_bad_input_is_told(call, said):
    with pytest.raises(wp.InputError, match=said):
        call()


def test_a_reference_that_is_not_there_in_float64():
    def reference(x, w):
        if x.dtype == "float64":
            raise ValueError("not here")
        return plain(x, w)

    finding = held(reference, plain, arrays("bfloat16"))
    assert finding.verdict is wp.Verdict.UNDECIDED
    assert "does not run in float64 (ValueError: not here)" in finding.message
