"""A backend that another package brings: the core of a problem alone, found by its entry point."""

import contextlib
import math

import numpy as np
import pytest

import wellposed as wp
from test_signals_rules import verdict
from wellposed.numerics.theta import Layout

TOY = '''
"""Problems of Python floats: parameters in a dictionary, and no array anywhere."""

import contextlib

import numpy as np

import wellposed as wp
from wellposed.numerics.theta import Layout


class FloatsProblem(wp.Problem):
    backend, dtype = "floats", "float64"

    def __init__(self, loss, slopes, parameters):
        self._loss, self._slopes, self._parameters = loss, slopes, parameters

    @property
    def layout(self):
        return Layout({name: () for name in self._parameters})

    def theta(self):
        return np.array(list(self._parameters.values()))

    def _at(self, theta):
        return dict(zip(self._parameters, map(float, theta), strict=True))

    def value(self, theta):
        self.evaluations += 1
        return self._loss(self._at(theta))

    def gradient(self, theta):
        return {name: np.array(slope) for name, slope in self._slopes(self._at(theta)).items()}

    def preserved(self):
        return contextlib.nullcontext()
'''


@pytest.fixture
def another_package(tmp_path, monkeypatch):
    (tmp_path / "toy_floats.py").write_text(TOY)
    about = tmp_path / "toy_floats-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-floats\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[wellposed.backends]\nFloatsProblem = toy_floats:FloatsProblem\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def loss(p):
    return math.sin(p["a"]) * p["b"] ** 2 + math.exp(-p["a"] * p["c"])


def slopes(p, factor=1.0):
    inner = math.exp(-p["a"] * p["c"])
    return {
        "a": math.cos(p["a"]) * p["b"] ** 2 - p["c"] * inner,
        "b": factor * 2 * math.sin(p["a"]) * p["b"],
        "c": -p["a"] * inner,
    }


PARAMETERS = {"a": 0.7, "b": -1.3, "c": 0.4}


def test_the_gradient_of_a_backend_found_by_entry_point_is_checked(another_package):
    right = wp.FloatsProblem(loss, slopes, PARAMETERS)
    assert wp.check_gradients(right).ok
    report = wp.check_gradients(wp.FloatsProblem(loss, lambda p: slopes(p, 2.0), PARAMETERS))
    assert [(f.where, f.rule) for f in report.findings if f.verdict is wp.Verdict.FAILS] == [("b", "WP501")]
    assert report.problem.backend == "floats"


def test_what_it_does_not_offer_is_not_applicable(another_package):
    report = wp.checkup(wp.FloatsProblem(loss, slopes, PARAMETERS))
    assert report.ok
    for rule in ("WP101", "WP201", "WP301", "WP401", "WP404"):
        assert verdict(report, rule).verdict is wp.Verdict.NOT_APPLICABLE, rule
    with pytest.raises(wp.InputError, match="shows no layers"):
        wp.trace(wp.FloatsProblem(loss, slopes, PARAMETERS))


def test_a_name_that_nobody_brings_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'wellposed' has no attribute 'FloatsProblem'"):
        _ = wp.FloatsProblem
    assert "Problem" in dir(wp)
    assert not any(name.startswith("_") and not name.startswith("__") for name in dir(wp))


def test_the_core_of_a_problem_is_small():
    """What an adapter must know of; the rest it may inherit, by capability."""
    public = {name for name in vars(wp.Problem) if not name.startswith("_")} | {"backend", "dtype"}
    assert len(public) <= 13, sorted(public)


def test_capabilities_without_an_adapter_s_own_have_defaults():
    class Bare(wp.Problem):
        backend, dtype, layout = "bare", "float64", Layout({"w": (2,)})

        def theta(self):
            return np.array([1.0, 2.0])

        def value(self, theta):
            return float(theta @ theta)

        def gradient(self, theta):
            return {"w": 2 * theta}

        def preserved(self):
            return contextlib.nullcontext()

    bare = Bare()
    assert bare.network.run() is None
    assert bare.variants.precise() is bare
    assert bare.differentiation.value_along(bare.theta(), np.ones(2), 1.0) == 13.0
    assert np.all(bare.training.trained(bare.theta(), 2) < bare.theta())
