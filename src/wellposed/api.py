"""The verbs of the library. Each returns a `Report`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.backends.select import (
    accumulation_of,
    array_function,
    elementwise,
    fans_of,
    initializable_of,
    input_map_of,
    ranks_problem,
    tensor_function,
    ways_of,
)
from wellposed.checks import subjects
from wellposed.checks.higher_order import function_report
from wellposed.checks.order import order as in_order
from wellposed.checks.run import Progress, demand_problem, report_on, users_errors_told
from wellposed.errors import InputError
from wellposed.findings import Summary
from wellposed.gradients import check_gradients as gradient_checks
from wellposed.gradients.effort import FULL, QUICK
from wellposed.gradients.equivalence import compare, over_ranks
from wellposed.gradients.paths.judge import judge as judge_paths
from wellposed.inputs.audit import audit_statistics
from wellposed.inputs.features import features_of
from wellposed.inputs.measured import MeasuredInputs
from wellposed.inputs.sources import Source, source_of
from wellposed.numerics.fans import Fan
from wellposed.remedies.trial import try_remedies
from wellposed.report import Report
from wellposed.signals.spectrum import Spectrum, spectrum_of
from wellposed.signals.trace import Trace, trace_of
from wellposed.signals.trace_table import PrintedTrace
from wellposed.weights import gains
from wellposed.weights.plan import Plan, initialize_weights

_SOME = 20


def checkup(
    problem: Problem,
    *,
    only: Callable[[str], bool] | None = None,
    after_steps: int = 0,
    remedies: bool = False,
    full: bool = False,
    progress: Progress | None = None,
    seconds: float = inf,
) -> Report:
    """Check a training problem from all sides: inputs, signals, weights, what is minimised, the gradient.

    problem:      a TorchProblem, JaxProblem or FunctionProblem.
    only:         a function of a rule's id, which says whether it is wanted.
    after_steps:  signals and gradient once more after so many optimizer steps on a copy: some mistakes show only there.
    remedies:     try what each finding says to do, on a copy: the loss after 50 steps without it and with it (of the
                  optimizer given, of Adam without one). Verdicts stay as they are.
    full:         as closely as `check_gradients` looks, once more after 20 steps, with remedies tried. Without it the
                  gradient is checked by as few evaluations as show it right, in a large model on some rows.
    progress:     a function that is told what begins, and the share of the work behind it.
    seconds:      what is not judged by then is undecided; the measurement under way is ended.

    Returns a `Report`, false when something fails, its findings in the order in which to act; all else is as before.
    Raises `InputError` for what is no problem, and with the user's own error as its cause where the model or the loss
    raises; on Ctrl-C `Interrupted`, which is a KeyboardInterrupt, with the report so far in `report`.
    """
    return report_on(
        problem,
        subjects.ALL,
        only or (lambda _rule: True),
        after_steps or (_SOME if full else 0),
        effort=FULL if full else QUICK,
        progress=progress or (lambda _what, _share: None),
        treat=try_remedies if remedies or full else None,
        seconds=seconds,
    )


def check_inputs(
    problem_or_data: Any, *, axis: int | tuple[int, ...] | None = None, statistics: Any = None, held_out: bool = False
) -> Report:
    """WP101 to WP104 on a problem's inputs, or on an array, tensor or table of shape [N, D]; WP105 where `statistics`
    are given.

    `statistics` are a fitted `Standardizer` or a pair (mean, std): the data may then be anything that
    `Standardizer.fit` reads, and only whether they belong to it is judged. `held_out` says that the data is a
    validation or test set, which they must not have seen. `axis` counts the features of plain data (see
    `Standardizer`). Raises `InputError` for data that are no numbers.
    """
    started = time.perf_counter()
    if statistics is not None:
        data = problem_or_data.network.inputs() if isinstance(problem_or_data, Problem) else problem_or_data
        return audit(statistics, source_of(data), axis=axis, held_out=held_out)
    if isinstance(problem_or_data, Problem):
        return report_on(problem_or_data, (subjects.INPUTS,))
    features = features_of(problem_or_data, axis)
    findings = subjects.judge_array(MeasuredInputs(features), subjects.INPUTS.rules)
    summary = Summary(f"data of shape {list(features.array.shape)}", dtype=str(features.array.dtype))
    return Report(summary, tuple(findings), 0, time.perf_counter() - started)


def audit(
    statistics: Any, source: Source, *, axis: int | tuple[int, ...] | None = None, held_out: bool = False
) -> Report:
    """WP105 on the rows of a source, as `check_inputs` with `statistics`."""
    started = time.perf_counter()
    findings = audit_statistics(statistics, source, axis, held_out=held_out)
    return Report(Summary(f"statistics and {source.what}"), tuple(findings), 0, time.perf_counter() - started)


def trace(problem: Problem) -> Trace:
    """One forward and backward pass on the problem's batch at its parameters as they are: what every layer makes and
    gets back.

    Per place of the trunk the root mean square, the standard deviation over the batch, the similarity of different
    inputs and the norm of the gradient, with theory's factors beside the measured ones; residual branches, attention,
    recurrence; the size of each gradient, and of the optimizer's first update where one was given, beside its weights.
    `print` shows it as a table. Raises `InputError` for a problem that shows no layers. Theory: Poole et al. 2016,
    arXiv 1606.05340; Schoenholz et al. 2017, arXiv 1611.01232.
    """
    demand_problem(problem)
    with problem.preserved():
        with users_errors_told(problem.network.called()):
            run = problem.network.run()
        if run is None:
            raise InputError(
                subjects.NO_LAYERS,
                hint="FunctionProblem(value, gradient, params, activations=...) shows what each layer makes",
            )
        updates = _updates(problem) if problem.training.optimized else {}
    return PrintedTrace.of(trace_of(run, problem.dtype, updates))


def spectrum(problem_or_function: Any, x: Any = None, *, examples: int = 4) -> Spectrum:
    """Singular values of a network's input-output Jacobian at the first rows of a batch, and its nonlinearity
    coefficient.

    Of a problem whose batch is one tensor of real numbers, or of any torch or JAX function of one array `x` of shape
    [N, ...] to outputs [N, ...]. In float64 where the problem runs so. Raises `InputError` where inputs are indices or
    outputs have no row per input.
    """
    if not isinstance(problem_or_function, Problem):
        if not callable(problem_or_function) or x is None:
            raise InputError("spectrum takes a problem, or a function and its inputs", hint="wp.spectrum(model, x)")
        return spectrum_of(input_map_of(problem_or_function, x), examples)
    problem = problem_or_function.variants.precise()
    with problem.preserved():
        network = problem.network.input_map()
        if network is None:
            raise InputError(
                "this problem does not show its network as a function of real inputs",
                hint="wp.spectrum(function, x), with a function from inputs (or embeddings) [N, ...] to outputs",
            )
        return spectrum_of(network, examples)


def _updates(problem: Problem) -> dict[str, float]:
    """The root mean square of the optimizer's first step over that of the weights, by parameter; zero weights are left
    out.
    """
    theta = problem.variants.here()
    weights, after = (problem.layout.named(at) for at in (theta, problem.training.trained(theta, 1)))
    return {
        name: float(np.linalg.norm(after[name] - weight) / np.linalg.norm(weight))
        for name, weight in weights.items()
        if weight.any()
    }


def check_signals(problem: Problem) -> Report:
    """WP201 to WP208: the signal on its way through the network and the gradient on its way back; what made NaN or
    infinity.

    Sizes are root mean squares and norms per example along the places that every signal passes, as ratios from one end
    to the other. Returns a `Report`; where the problem shows no layers its rules are not applicable. Raises
    `InputError` for what is no problem or does not run. Theory: Schoenholz et al. 2017, arXiv 1611.01232.
    """
    return report_on(problem, (subjects.SIGNALS,))


def check_weights(problem: Problem) -> Report:
    """WP301 to WP306: the weights as they are, and the loss that they give.

    Per layer fan_in mean(W^2) beside what its activation asks for (He et al. 2015, arXiv 1502.01852), units that are
    alike, biases, residual branches; the loss in nats above a constant prediction. Returns a `Report`; where the
    problem shows no layers its rules are not applicable. Raises `InputError` for what is no problem or does not run.
    """
    return report_on(problem, (subjects.WEIGHTS,))


def check_objective(problem: Problem) -> Report:
    """WP401 to WP411: does the loss fit outputs and targets, the learning rate the curvature; what is trained; what
    outputs depend on, and what they are asked for; padding, order, terms, reach and modes.

    Returns a `Report`. The optimizer's steps are tried on a copy; without an optimizer WP402 is not applicable. A loss
    that raises on its arguments is judged (WP401) and leaves the other rules undecided. Raises `InputError` for what is
    no problem.
    """
    return report_on(problem, (subjects.OBJECTIVE,))


def check_gradients(problem: Problem, *, after_steps: int = 0) -> Report:
    """WP501 to WP505 and WP508: the gradient held against differences of the loss.

    With `after_steps` also at the parameters after that many steps, on a copy, of the optimizer the problem was given,
    or of Adam: some mistakes show only there. In float64 where the problem runs so. There is no tolerance: slopes, in
    units of the loss, are told apart beyond the error bar of the measured one (Moré & Wild 2011).

    Returns a `Report`, false when a tensor's gradient is wrong. Raises `InputError` for what is no problem, and where
    the loss raises.
    """
    return report_on(problem, (subjects.GRADIENTS,), after_steps=after_steps)


def check_accumulation(
    problem: Problem, micro_batches: int = 4, *, step: Callable[[Any, Sequence[Any]], Any] | None = None
) -> Report:
    """WP506: the gradient accumulated over micro-batches held against that of the whole batch, for a `TorchProblem`.

    `step(model, batches)` is the training step as it is written, from the first forward to the last backward, or
    further: what it leaves in `grad` is compared. It gets the problem's batch in that many parts (inputs, targets).
    Without it the usual recipe is checked: each loss divided by their number. Model, gradients and optimizer's
    parameters are as before afterwards. Raises `InputError` for a problem without a batch to split.
    """
    started, before = time.perf_counter(), problem.evaluations if isinstance(problem, Problem) else 0
    full, parts, left, rounding = accumulation_of(problem, micro_batches, step)
    finding = compare(full, parts, left, rounding)
    summary = Summary(problem.backend, problem.layout.size, len(problem.layout.names), problem.dtype)
    return Report(summary, (finding,), problem.evaluations - before, time.perf_counter() - started)


def check_ranks(
    model: Any, loss: Callable[..., Any], batch: Any, *, step: Callable[[Any, Any], Any] | None = None
) -> Report:
    """WP507, under `torchrun`: what the ranks arrive at together, held against differences of the loss on their joint
    batch.

    `model` is wrapped in DistributedDataParallel or sharded by `fully_shard`, `batch` this rank's (inputs, targets),
    `loss` a mean over examples, `step(model, batch)` the training step up to and with backward (model, loss and
    backward where it is left out). Every rank gets the same report. Raises `InputError` without a process group.
    """
    problem = ranks_problem(model, loss, batch, step)
    started = time.perf_counter()
    with problem.preserved():
        values, gradients = problem.apart()
        found = over_ranks(problem.world, values, gradients, lambda: gradient_checks.check(problem))
    summary = Summary(problem.backend, problem.layout.size, len(problem.layout.names), problem.dtype)
    return Report(summary, tuple(found), problem.evaluations, time.perf_counter() - started)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 1,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    raise_exception: bool = False,
    reference: Callable[..., Any] | None = None,
    **options: Any,
) -> Report:
    """The gradient of any torch function of tensors, called as `torch.autograd.gradcheck` is.

    Every input that requires a gradient is checked, of any floating-point or complex dtype, dense or sparse, in the
    dtype it has; and every leaf that fn closes over. `order=2` also checks the gradient of the gradient,
    `check_forward_ad` forward mode; without `check_backward_ad` that alone. Other options of the original (eps, atol,
    rtol, nondet_tol, fast_mode, ...) are accepted and have no effect: steps and tolerances come from the measured
    noise. `reference` is another way to the same outputs: WP509 holds fn against it, which shows an error of 0.5 % in
    bfloat16, where differences end.

    Returns a `Report`, true when nothing fails; with `raise_exception` a failure raises `CheckFailed`. Raises
    `InputError` where no input requires a gradient or one is NaN, and for an option that the original does not know.
    `wellposed.testing.gradcheck` raises by default, as the original does.
    """
    demand_known(options)
    if order not in (1, 2):
        raise InputError(f"order must be 1 or 2, not {order!r}")
    report = function_report(
        tensor_function(fn, inputs, order), check_forward_ad or not check_backward_ad, check_backward_ad
    )
    if reference is not None:
        ways = ways_of(reference, fn, inputs)
        told = (*report.findings, *judge_paths(ways))
        report = replace(report, findings=in_order(told), evaluations=report.evaluations + ways.runs)
    if raise_exception:
        report.raise_if_failed()
    return report


def demand_known(options: Mapping[str, Any]) -> None:
    """Raises `InputError` for an option that torch's gradcheck does not know."""
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise InputError(f"gradcheck knows no option {unknown[0]!r}", hint=f"torch's are {', '.join(sorted(_OPTIONS))}")


_OPTIONS = {
    "eps",
    "atol",
    "rtol",
    "nondet_tol",
    "fast_mode",
    "masked",
    "check_sparse_nnz",
    "check_undefined_grad",
    "check_grad_dtypes",
    "check_batched_grad",
    "check_batched_forward_ad",
}


def check_grads(
    f: Callable[..., Any], args: Sequence[Any], order: int = 1, modes: str | Sequence[str] = ("fwd", "rev")
) -> Report:
    """The gradient of any JAX function of arrays, called as `jax.test_util.check_grads` is.

    Checked in float64 where f runs so, else in its own dtype; integers and keys in args are left alone. `order=2` also
    checks the gradient of the gradient, and so on; "fwd" in `modes` forward mode, without "rev" that alone (of order
    1). Returns a `Report`, true when nothing fails. Raises `InputError` for an unknown mode, or where args hold no
    floating-point array.
    """
    modes = (modes,) if isinstance(modes, str) else modes
    unknown = [mode for mode in modes if mode not in ("fwd", "rev")]
    if unknown:
        raise InputError(f"modes must be 'fwd' and 'rev', not {unknown[0]!r}")
    if not isinstance(order, int) or order < 1:
        raise InputError(f"order must be a whole number from 1 on, not {order!r}")
    if not modes:
        raise InputError("modes must hold 'fwd' or 'rev'")
    return function_report(array_function(f, args, order, forward="rev" not in modes), "fwd" in modes, "rev" in modes)


def gain(activation: str | Callable[..., Any], q: float = 1.0) -> gains.Gain:
    """The gain of an activation: a name, a torch or JAX function or module, any elementwise function, or a gated unit.

    `q` is the mean square of the pre-activations at which it works. A gated unit halves the last axis, as `nn.GLU`
    does, or is a function of two arrays. Raises `InputError` for an unknown name and for a function that is not finite,
    or neither elementwise nor a product.

    >>> round(gain("relu").forward, 5)
    1.41421
    """
    return gains.gain(
        activation if isinstance(activation, str) or not callable(activation) else elementwise(activation), q
    )


def fan(layer: Any, inputs: Any = None) -> Fan:
    """How many inputs a torch layer sums into one output, and how many outputs one input reaches.

    Weights of variance 1 / fan_in keep the mean square of the signal, of variance 1 / fan_out that of the gradient.
    Convolutions are counted tap by tap, with groups, strides and dilation, and transposed ones the right way round. A
    layer with several weights (attention with packed projections, recurrent gates, a whole model) has them in
    `.weights`, by name. With `inputs`, what the layer is called with, zeros of padding are left out, and layers of any
    kind are read from a call.

    >>> import torch
    >>> fan(torch.nn.ConvTranspose2d(8, 4, 4, stride=2))
    Fan(fan_in=32.0, fan_out=64.0)

    Raises `InputError` where the layer has no weights, or weights whose use only a call shows.
    """
    found = fans_of(layer, inputs)
    first = next(iter(found.values()))
    return Fan(first.fan_in, first.fan_out, found)


def initialize(model: Any, batch: Any = None, *, scheme: str = "auto", seed: int = 0, dry_run: bool = False) -> Plan:
    """Give every weight of a model what suits its place; a torch model is changed in place.

    `model` is a torch module, a pytree of JAX arrays (dictionaries, Flax variables, an Equinox module) or a dictionary
    of NumPy arrays, which is changed in place too. `batch` shows it at work: for torch its inputs, or a pair (inputs,
    targets); for arrays a function of them that runs the model. A first forward pass shows what each weight multiplies
    and what follows, a second one fits the size of each layer's output. Without a batch the order in which a torch
    model's modules were registered is taken for the order in which they run, and sizes are those of theory.

    Schemes: `he`, `glorot`, `lecun`, `orthogonal`, `delta-orthogonal`, `looks-linear`, `fixup`, `gpt2`, `siren`,
    `calibrated` (outputs of root mean square 1), and `auto`: the operating point that depth asks for in a plain
    network, branches of a residual one scaled by their number, embeddings, recurrent gates and heads by rules of their
    own. Weights that are frozen, trained or zero on purpose are left alone and listed. The same seed gives a layer the
    same weights whatever the other layers are, in whatever order or precision they were built, sharded or not. With
    `dry_run` nothing is changed.

    Returns the plan: per weight the rule, the standard deviation aimed at and had, the size of the output aimed at and
    reached, and why. Its `params` are the new parameters of a pytree. A model on the meta device is given memory first
    (`to_empty` alone may leave anything in it). Raises `InputError` for an unknown scheme and for a model of another
    framework; if the model fails to run, its weights are left as they were.
    """
    return initialize_weights(initializable_of(model, batch), scheme, seed, dry_run=dry_run)
