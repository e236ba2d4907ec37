"""One conformance suite: the same network in three frameworks. Each backend only supplies its objects."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((9, 4))
Y = DRAW.standard_normal((9, 2))
WEIGHTS = {
    "first.weight": DRAW.standard_normal((5, 4)),
    "first.bias": DRAW.standard_normal(5),
    "second.weight": DRAW.standard_normal((2, 5)),
}


def torch_problem():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2, bias=False)

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    model = Net().double()
    model.load_state_dict({name: torch.tensor(value) for name, value in WEIGHTS.items()})
    return wp.TorchProblem(model, nn.MSELoss(), (torch.tensor(X), torch.tensor(Y)))


def jax_problem():
    params = {
        "first": {"weight": WEIGHTS["first.weight"], "bias": WEIGHTS["first.bias"]},
        "second": {"weight": WEIGHTS["second.weight"]},
    }

    def loss(p, x, y):
        hidden = jnp.tanh(x @ p["first"]["weight"].T + p["first"]["bias"])
        return jnp.mean((hidden @ p["second"]["weight"].T - y) ** 2)

    return wp.JaxProblem(loss, params, X, Y).precise()


def numpy_problem():
    def hidden(p):
        return np.tanh(X @ p["first.weight"].T + p["first.bias"])

    def value(p):
        return np.mean((hidden(p) @ p["second.weight"].T - Y) ** 2)

    def gradient(p):
        h = hidden(p)
        out = 2 * (h @ p["second.weight"].T - Y) / Y.size
        back = out @ p["second.weight"] * (1 - h**2)
        return {"first.weight": back.T @ X, "first.bias": back.sum(axis=0), "second.weight": out.T @ h}

    return wp.FunctionProblem(value, gradient, WEIGHTS)


BACKENDS = {"torch": torch_problem, "jax": jax_problem, "numpy": numpy_problem}


@pytest.fixture(params=BACKENDS)
def problem(request):
    return BACKENDS[request.param]()


def test_names_shapes_and_round_trip(problem):
    assert {name: problem.layout.shapes[name] for name in sorted(WEIGHTS)} == {
        n: WEIGHTS[n].shape for n in sorted(WEIGHTS)
    }
    arrays = problem.layout.unpack(problem.theta())
    for name, value in WEIGHTS.items():
        np.testing.assert_allclose(arrays[name], value, rtol=1e-7)
    assert (problem.layout.pack(arrays) == problem.theta()).all()


def test_value_and_gradient_are_those_of_numpy(problem):
    reference = numpy_problem()
    moved = {name: 0.5 * value + 0.1 for name, value in WEIGHTS.items()}
    assert problem.value(problem.layout.pack(moved)) == pytest.approx(
        reference.value(reference.layout.pack(moved)), rel=1e-6
    )
    gradient = problem.gradient(problem.layout.pack(moved))
    for name, expected in reference.gradient(reference.layout.pack(moved)).items():
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-5)


def test_evaluating_elsewhere_leaves_the_point(problem):
    before = problem.theta()
    with problem.preserved():
        problem.value(before + 1)
        problem.gradient(before - 1)
        problem.run(before * 2)
    assert (problem.theta() == before).all()


def test_the_same_value_twice_and_evaluations_counted(problem):
    counted = problem.evaluations
    assert problem.value(problem.theta()) == problem.value(problem.theta())
    assert problem.evaluations == counted + 2


def test_the_gradient_check_holds_and_leaves_the_generators(problem):
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    assert wp.check_gradients(problem).ok
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_both_tracing_backends_see_the_same_network(backend):
    problem = BACKENDS[backend]()
    run = problem.run(problem.theta())
    layers = [operation for operation in run.operations if operation.kind == "linear"]
    assert [(o.name, o.weight.fan_in, o.weight.bias) for o in layers] == [("first", 4, "first.bias"), ("second", 5, "")]
    pre = X @ WEIGHTS["first.weight"].T + WEIGHTS["first.bias"]
    assert layers[0].output.mean_square == pytest.approx(np.mean(pre**2), rel=1e-5)
    assert layers[0].output.batch_variance == pytest.approx(pre.var(axis=0).mean(), rel=1e-5)
    out = 2 * (np.tanh(pre) @ WEIGHTS["second.weight"].T - Y) / Y.size
    assert layers[1].gradient.norm == pytest.approx(np.sqrt((out**2).sum(axis=1).mean()), rel=1e-5)
    assert [o.function for o in run.operations if o.kind == "activation"] == ["tanh"]


def test_float16_range_does_not_overflow_the_signal():
    from wellposed.backends.measured import signal_of

    assert signal_of(np.full((2, 3), 1e100)).rms == pytest.approx(1e100)
    assert not signal_of(np.array([[np.nan]])).finite


def wrong_shape(p):
    return {name: np.zeros((3, 3)) for name in p}


def made_in_inference_mode(size):
    with torch.inference_mode():
        return torch.ones(size)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.FunctionProblem(lambda p: 0.0, lambda p: {}, {}), "params must be a non-empty mapping"),
        (lambda: wp.FunctionProblem(lambda p: 0.0, lambda p: {}, {"n": np.arange(3)}), "parameter 'n' has dtype int64"),
        (lambda: wp.FunctionProblem(lambda p: 0.0, lambda p: {}, {"w": np.array([np.nan])}), "parameter 'w' contains NaN"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: 0.0, lambda p: {}, {"w": np.ones(2)})), "gave no entry for 'w'"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: 0.0, lambda p: {"w": p["w"], "v": 1}, {"w": np.ones(2)})), "no parameters: 'v'"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: 0.0, wrong_shape, {"w": np.ones(2)})), r"'w' has shape \(3, 3\), but the parameter has shape \(2,\)"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: p["w"], lambda p: p, {"w": np.ones(2)})), r"must return one number, but it returned float64 of shape \(2,\)"),
        (lambda: wp.FunctionProblem(lambda p: 0.0, lambda p: {}, {"W": [np.ones((2, 3)), np.ones((3, 1))]}), r"parameter 'W' is no array, but a list of shapes \(2, 3\), \(3, 1\)[.\s]*Hint: give each array a name of its own: \{'W1': W\[0\], 'W2'"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: [p["w"], np.ones(3)], lambda p: p, {"w": np.ones(2)})), r"what value\(params\) returned is no array, but a list of shapes \(2,\), \(3,\)"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: 0.0, lambda p: {"w": [p["w"], np.ones(3)]}, {"w": np.ones(2)})), r"the gradient of 'w' is no array, but a list of shapes \(2,\), \(3,\)"),
        (lambda: wp.check_gradients(wp.FunctionProblem(lambda p: 0.0, lambda p: 1.0, {"w": np.ones(2)})), "must return a mapping"),
        (lambda: wp.TorchProblem(lambda x: x, nn.MSELoss(), (X, Y)), "model must be a torch.nn.Module, not function"),
        (
            lambda: wp.TorchProblem(nn.Linear(4, 2), nn.MSELoss(), (made_in_inference_mode(4), torch.zeros(2))),
            "the batch holds a tensor that was made in inference mode",
        ),
        (lambda: wp.TorchProblem(nn.Linear(4, 2), nn.MSELoss()), r"batch must be a pair \(inputs, targets\), not None"),
        (lambda: wp.TorchProblem(nn.Linear(4, 2).requires_grad_(False), nn.MSELoss(), (X, Y)), "no parameter that requires a gradient"),
        (lambda: wp.TorchProblem(nn.Linear(4, 2), None, (X, Y)), r"loss must be a function of \(outputs, targets\), not a NoneType"),
        (lambda: wp.TorchProblem(nn.Linear(4, 2), nn.MSELoss, (X, Y)), "not the class MSELoss"),
        (lambda: wp.TorchProblem(nn.LazyLinear(2), nn.MSELoss(), (X, Y)), "parameter 'weight' is lazy"),
        (lambda: wp.checkup(wp.TorchProblem(nn.Linear(4, 2), nn.MSELoss(reduction="none"), (torch.tensor(X).float(), torch.tensor(Y).float()))), r"the loss must be one number, but it is a tensor of shape \(9, 2\)"),
        (lambda: wp.JaxProblem(lambda p: 0.0, {}), "params holds no floating-point array"),
        (lambda: wp.JaxProblem(lambda p: 0.0, {"c": jnp.ones(2, complex)}), "parameter .c. has dtype complex64"),
        (lambda: wp.JaxProblem(lambda p: 0.0, {"a": {"b": jnp.array([jnp.nan])}}), "parameter 'a.b' contains NaN"),
        (lambda: wp.checkup(wp.JaxProblem(lambda p: p["w"], {"w": jnp.ones(2)})), r"the loss must be one number, but it has shape \(2,\)"),
        (lambda: wp.checkup(nn.Linear(2, 2)), "a check needs a problem, not a Linear"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()


def test_jax_key_arguments_pass_through():
    key = jax.random.key(0)
    problem = wp.JaxProblem(
        lambda p, key, x: jnp.mean(jax.random.bernoulli(key, 0.5, x.shape) * jnp.sin(p["w"]) * x),
        {"w": jnp.ones(4)},
        key,
        jnp.asarray(X),
    )
    assert wp.checkup(problem).ok


def test_a_parameter_added_to_a_mean_is_no_bias_of_the_layer_before():
    import jax.numpy as jnp

    params = {"w": jnp.ones((4, 3)), "b": jnp.ones(5)}
    x = jnp.arange(20.0).reshape(5, 4) / 7
    report = wp.checkup(wp.JaxProblem(lambda p, x: jnp.mean(((x @ p["w"]).mean(1) + p["b"]) ** 2), params, x))
    assert not [
        finding for finding in report.findings if finding.rule == "WP501" and finding.verdict is not wp.Verdict.HOLDS
    ]
