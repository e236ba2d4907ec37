"""A mistake made in every round of a loop, and gradients handed to one another's parameters."""

import numpy as np
import pytest

import wellposed as wp

N, T, D, H = 6, 7, 3, 5


def unrolled(fault):
    """A recurrent network, its backward pass through time written by hand."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((N, T, D)), random.standard_normal((N, H))
    params = {
        "Wx": random.standard_normal((D, H)) / 2,
        "Wh": random.standard_normal((H, H)) / 2,
        "b": random.standard_normal(H) / 3,
    }

    def states(p):
        hs = [np.zeros((N, H))]
        for t in range(T):
            hs.append(np.tanh(X[:, t] @ p["Wx"] + hs[-1] @ p["Wh"] + p["b"]))
        return hs

    def value(p):
        return 0.5 * ((states(p)[-1] - y) ** 2).mean()

    def gradient(p):
        hs = states(p)
        g = {name: np.zeros_like(array) for name, array in p.items()}
        dh = (hs[-1] - y) / y.size
        for t in reversed(range(T)):
            da = dh * (1 - hs[t + 1] if fault == "tanh'" else 1 - hs[t + 1] ** 2)
            g["Wx"] += X[:, t].T @ da
            g["Wh"] += hs[t].T @ da
            g["b"] += da.sum(axis=0)
            dh = da @ (p["Wh"] if fault == "transpose" else p["Wh"].T)
        return g

    return wp.FunctionProblem(value, gradient, params)


@pytest.mark.parametrize(
    ("fault", "cause", "words"),
    [
        ("transpose", "transposed", "The backward pass multiplies by W where its transpose belongs: line"),
        ("tanh'", "activation-derivative", "The backward pass takes 1 - a for the derivative at line"),
    ],
)
def test_a_mistake_of_every_time_step_is_named_with_its_line(fault, cause, words):
    report = wp.check_gradients(unrolled(fault))
    causes = [finding.cause for finding in report.findings if finding.verdict.value == "fails"]
    assert cause in causes
    assert words in " ".join(str(report).split())


def test_the_right_one_holds():
    assert wp.check_gradients(unrolled("")).ok


def test_gradients_in_the_wrong_order_are_told_by_the_name_they_belong_to():
    random = np.random.default_rng(1)
    X, y = random.standard_normal((9, 4)), random.standard_normal((9, 3))
    params = {"A": random.standard_normal((4, 3)), "B": random.standard_normal((4, 3))}

    def value(p):
        return 0.5 * ((np.sin(X @ p["A"]) * (X @ p["B"]) - y) ** 2).mean()

    def swapped(p):
        a, b = X @ p["A"], X @ p["B"]
        d = (np.sin(a) * b - y) / y.size
        return {"B": X.T @ (d * b * np.cos(a)), "A": X.T @ (d * np.sin(a))}

    report = wp.check_gradients(wp.FunctionProblem(value, swapped, params))
    assert [finding.cause for finding in report.findings if finding.verdict.value == "fails"] == [
        "permuted",
        "permuted",
    ]
    assert "What is claimed for `B` is its gradient: they are returned in the wrong order." in " ".join(
        str(report).split()
    )
