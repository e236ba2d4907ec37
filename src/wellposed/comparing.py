"""`wp.check_paths` and `wp.fingerprint`: the same gradient on two ways, and at two times."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from wellposed.backends.protocol import Problem
from wellposed.backends.select import torch_paths, torch_problem, ways_of
from wellposed.backends.ways import Ways
from wellposed.checks.order import order
from wellposed.checks.run import demand_problem
from wellposed.errors import InputError
from wellposed.findings import Finding, Summary, Verdict
from wellposed.gradients.paths.apart import COSTS, MODEL_COSTS
from wellposed.gradients.paths.fingerprint import Print, as_data, compare, from_data, prints_of
from wellposed.gradients.paths.held import Held
from wellposed.gradients.paths.judge import judge
from wellposed.gradients.rules.paths import PATHS
from wellposed.reading import regular_text
from wellposed.report import Report
from wellposed.users_code import Raised, attempt


def check_paths(
    reference: Any,
    candidate: Callable[..., Any] | str | os.PathLike[str] | None = None,
    batch: Any = None,
    *,
    paths: Sequence[str] = (),
    elsewhere: bool = True,
) -> Report:
    """Outputs and gradients on two ways: are they the same up to rounding, also in bfloat16?

    `check_paths(reference, candidate, inputs)` calls both as f(*inputs). They are functions of tensors, or modules
    whose parameters have the same names; inputs that require a gradient and parameters are differentiated. The
    candidate is the way in doubt (a kernel, a custom backward pass, a compiled or recomputing model), in the format in
    which it is used; the reference is simple, and runs in float64 too. They may be functions of JAX arrays as well,
    differentiated by every floating-point array among the inputs. Functions that are right are then tried on other
    inputs of the same kind (other sizes, down to one and none, other layouts, large, small and zero values, all of a
    mask off), and the smallest shapes are told at which they are wrong; `elsewhere=False` asks about those given alone.

    `check_paths(model, loss, (inputs, targets), paths=("compile", "checkpoint", "autocast"))` holds a model with its
    loss (or a `TorchProblem`, as the first argument alone) against itself on other paths, each with a finding of its
    own. The paths: compile, checkpoint, checkpoint:reentrant, autocast, autocast:float16, channels-last, bfloat16,
    float16, attention:math, :flash, :efficient, :cudnn, and for a `TorchProblem` with an optimizer optimizer:foreach
    and :fused, of which three steps are compared.

    `check_paths(problem)` holds a problem as it is against itself in float64 with nothing fused, cast or recomputed;
    `check_paths(problem, "fingerprint.json")` against what `wp.fingerprint` has kept of it.

    Both ways are run at four points that are a few units in the last place apart, in 11 forward and backward passes for
    each path: rounding is another one at each point, a fault is the same. Returns a `Report` of WP509; models, their
    gradients and buffers, inputs and random numbers are as before. Raises `InputError` for a path that is not known,
    where nothing requires a gradient, and where the two have other parameters.
    """
    if isinstance(candidate, str | os.PathLike):
        return _check_fingerprint(reference, os.fspath(candidate))
    started = time.perf_counter()
    costs = MODEL_COSTS if paths or candidate is None else COSTS
    findings: list[Finding] = []
    held: list[tuple[str, Finding]] = []
    runs = 0
    for name, two in _pairs(reference, candidate, batch, paths):
        made = attempt(partial(_judged, two, costs)) if name else _judged(two, costs, elsewhere=elsewhere)
        if isinstance(made, Raised):
            made = [PATHS.undecided(f"It does not run: {made.line.rstrip('.')}.")], 0
        findings += [_named(name, finding) for finding in made[0] if finding.verdict is not Verdict.HOLDS]
        held += [(name, finding) for finding in made[0] if finding.verdict is Verdict.HOLDS]
        runs += made[1]
    findings += _together(held)
    about = f"torch, {len(paths)} paths" if paths else "torch, two ways"
    return Report(Summary(about), order(findings), runs, time.perf_counter() - started)


def fingerprint(problem: Problem) -> str:
    """What is to be kept of a problem's outputs and gradients, as JSON: products with random signs, in float64 and as
    they are computed, with the scatter of rounding. No weights; about a kilobyte for each tensor.

    Build the problem from the same seed later, with another library, device or code, and hold it against it:
    `wp.check_paths(problem, "fingerprint.json")`. Raises `InputError` for what is no problem, and where it does not run
    in float64.
    """
    held = _held(problem)
    kept = {
        "wellposed": "fingerprint", "schema": _SCHEMA, "format": held.ways.format, "unit": held.ways.unit,
        "parameters": _digest(problem), "tensors": as_data(prints_of(held)),
    }  # fmt: skip
    return json.dumps(kept, indent=1) + "\n"


_SCHEMA = 1


def _held(problem: Problem) -> Held:
    demand_problem(problem)
    ways = problem.variants.ways()
    held = None if ways is None else Held(ways)
    if held is None or held.exact is None:
        raise InputError(
            "this problem cannot be run in float64 beside itself",
            hint="a fingerprint is of a TorchProblem whose parameters are its model's, on one process",
        )
    return held


def _check_fingerprint(problem: Problem, file: str) -> Report:
    started = time.perf_counter()
    held = _held(problem)
    kept, then = _kept(file)
    if kept["parameters"] != _digest(problem):
        text = (
            f"The parameters are others than those that {file} was made with: the same seed, before the model is built?"
        )
        findings = [PATHS.undecided(text)]
    else:
        findings = compare(then, prints_of(held), max(held.ways.unit, float(kept["unit"])))
    return Report(Summary("torch, a fingerprint"), order(findings), held.ways.runs, time.perf_counter() - started)


def _kept(file: str) -> tuple[dict[str, Any], dict[str, Print]]:
    try:
        kept = json.loads(regular_text(file))
        if kept["wellposed"] != "fingerprint" or kept["schema"] != _SCHEMA:
            raise ValueError
        return kept, from_data(kept["tensors"])
    except OSError as error:
        raise InputError(
            f"{file} cannot be read: {error.strerror}", hint="write it first: wp.fingerprint(problem)"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is no fingerprint", hint="Path(file).write_text(wp.fingerprint(problem))") from error


def _digest(problem: Problem) -> str:
    return hashlib.sha256(problem.theta().tobytes()).hexdigest()


def _judged(two: Callable[[], Ways | None], costs: float, *, elsewhere: bool = False) -> tuple[list[Finding], int]:
    ways = two()
    if ways is None:
        text = (
            "This problem cannot be run in float64 beside itself: its parameters are in shards or outside of its model."
        )
        return [PATHS.not_applicable(text)], 0
    return judge(ways, costs, elsewhere=elsewhere), ways.runs


def _pairs(
    reference: Any, candidate: Any, batch: Any, paths: Sequence[str]
) -> list[tuple[str, Callable[[], Ways | None]]]:
    if isinstance(paths, str) or not isinstance(paths, Sequence):
        raise InputError(f"paths takes several, not {paths!r}", hint=f"paths=({paths!r},)")
    alone = candidate is None and batch is None
    if alone:
        demand_problem(reference)
    if alone and not paths:
        return [("", reference.variants.ways)]
    if paths:
        other = torch_paths()
        problem = reference if alone else torch_problem(reference, candidate, batch)
        return [(path, other.ways_on(problem, path)) for path in paths]
    for name, given in (("reference", reference), ("candidate", candidate)):
        if not callable(given):
            raise InputError(
                f"{name} must be a function or a module, not a {type(given).__name__}",
                hint="wp.check_paths(reference, candidate, inputs), or a model, its loss and batch with paths=",
            )
    return [("", partial(ways_of, reference, candidate, batch))]


def _named(path: str, finding: Finding) -> Finding:
    return replace(finding, message=f"On the path {path}: {finding.message}") if path else finding


def _together(held: Sequence[tuple[str, Finding]]) -> list[Finding]:
    """What holds, in one finding."""
    if len(held) <= 1:
        return [_named(path, finding) for path, finding in held]
    text = f"Outputs and gradients are the same up to rounding on the paths {', '.join(path for path, _ in held)}."
    return [PATHS.holds(tuple(entry for _, finding in held for entry in finding.evidence), text)]
