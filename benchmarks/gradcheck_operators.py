"""The gradient check on PyTorch's operator database, beside torch.autograd.gradcheck: verdicts, planted errors, time.

python benchmarks/gradcheck_operators.py [verdicts|planted|referenced|time|large] ...   (all of them without an argument)
"planted 4" and "time 4" take a fourth of the operators: slow mode needs the better part of an hour for all of them.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from operators import OperatorCase, cases, operators
from planted import ERRORS, planted

import wellposed as wp

SAMPLES = 10
PLANTED = 1
SEEN = {
    torch.float64: 1e-8,
    torch.float32: 1e-3,
    torch.bfloat16: 5e-3,
}  # of the gradient's norm: an error below that is none here
PARTS_OF_DATABASE = 36
_HUGE = 2e7  # entries of a Jacobian beyond which slow mode is left out: it would need gigabytes


def every(dtype: torch.dtype) -> Iterator[OperatorCase]:
    for op in operators():
        yield from cases(op, dtype, SAMPLES)


def verdict(report: wp.Report) -> str:
    """fails, undecided (with its rule), suspect or holds: the worst that matters for the gradient."""
    found = {(f.rule, f.verdict.value) for f in report.findings if f.verdict is not wp.Verdict.HOLDS}
    if not report.ok:
        return "fails"
    if ("WP501", "undecided") in found and report.problem.parameters == 0:
        return "empty"
    undecided = any(v == "undecided" for _, v in found)
    return (
        "undecided"
        if undecided
        else "not differentiable"
        if ("WP502", "suspect") in found
        else "suspect"
        if found
        else "holds"
    )


def agrees_with_slow_mode(case: OperatorCase) -> bool:
    """Whether torch's slow mode, with tolerances tight enough for float64, finds the gradient right."""
    try:
        return bool(torch.autograd.gradcheck(case.fn, case.inputs, rtol=1e-9, atol=1e-7))
    except Exception:  # whatever it raises, it does not find it right
        return False


def verdicts() -> None:
    print("### Verdicts, default settings, no per-operator list\n")
    print(
        "| dtype | cases | holds | suspect | not differentiable | undecided | no entries | fails | of these confirmed | "
        "raises | evaluations |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    confirmed = confirmed_in_float64()
    told = []
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        count: Counter[str] = Counter()
        evaluations = 0
        for case in every(dtype):
            try:
                report = wp.gradcheck(case.fn, case.inputs)
            except wp.InputError as error:
                count["raises"] += 1
                told.append(f"{dtype}: {case.name} raises {str(error).splitlines()[0][:120]}")
                continue
            word = verdict(report)
            count[word] += 1
            evaluations += report.evaluations
            if word == "fails":
                known = case.operator in confirmed
                count["confirmed"] += known
                if not known:
                    finding = next(f for f in report.findings if f.verdict is wp.Verdict.FAILS)
                    told.append(f"{dtype}: {case.name}: {finding.rule} {finding.message[:160]}")
        total = sum(count.values()) - count["confirmed"]
        words = ("holds", "suspect", "not differentiable", "undecided", "empty", "fails", "confirmed", "raises")
        cells = " | ".join(str(count[word]) for word in words)
        name = str(dtype).removeprefix("torch.")
        print(f"| {name} | {total} | {cells} | {evaluations / max(total, 1):.0f} per case |", flush=True)
    print(
        "\nConfirmed: in float64 torch's own slow mode, tolerances 1e-9 and 1e-7, finds these operators' gradients wrong too:"
    )
    print(", ".join(sorted(confirmed)) + ".\n\nNot confirmed by it, or raised:\n")
    print("\n".join(f"- {line}" for line in told) or "none")


def confirmed_in_float64() -> set[str]:
    found = set()
    for case in every(torch.float64):
        try:
            fails = not wp.gradcheck(case.fn, case.inputs).ok
        except wp.InputError:
            continue
        if fails and not agrees_with_slow_mode(case):
            found.add(case.operator)
    return found


def _every_nth() -> int:
    given = [word for word in sys.argv if word.isdigit()]
    return int(given[0]) if given else 1


def planted_errors() -> None:
    every_nth = _every_nth()
    print("\n### Errors planted in the backward pass (by the first input)\n")
    print(f"{PLANTED} sample per operator that holds without; 1 in {every_nth} operators\n")
    print(
        f"An error below {SEEN[torch.float64]:g} of the gradient's norm (float32: {SEEN[torch.float32]:g}) is counted as none.\n"
    )
    print(
        "| error | float64, ours | float64, torch fast | float32, ours | float32, not decided | no error |\n|---|---|---|---|---|---|"
    )
    total: Counter[Any] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(_planted_in, range(0, PARTS_OF_DATABASE, every_nth)):
            total.update(part)
    for name in ERRORS:
        f64, f32 = ((name, dtype) for dtype in ("float64", "float32"))
        found = [
            f"{total[f64, 'found']} of {total[f64]}",
            f"{total[f64, 'fast']} of {total[f64]}",
            f"{total[f32, 'found']} of {total[f32]}",
        ]
        none = total[f64, "no error"] + total[f32, "no error"]
        print(f"| {name} | {' | '.join(found)} | {total[f32, 'undecided']} | {none} |")


def _planted_in(part: int) -> Counter[Any]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    count: Counter[Any] = Counter()
    for dtype in (torch.float64, torch.float32):
        for op in operators()[part::PARTS_OF_DATABASE]:
            for case in cases(op, dtype, PLANTED):
                if not _usable(case):
                    continue
                for name, error in ERRORS.items():
                    key = (name, str(dtype).removeprefix("torch."))
                    if not _changes(case, error, dtype):
                        count[key, "no error"] += 1
                        continue
                    wrong = OperatorCase(case.operator, case.sample, planted(case.fn, error), case.inputs)
                    report = wp.gradcheck(wrong.fn, wrong.inputs)
                    count[key] += 1
                    count[key, "found"] += not report.ok
                    count[key, "undecided"] += report.ok and verdict(report) != "holds"
                    if dtype is torch.float64:
                        count[key, "fast"] += not _fast(wrong)
                    if report.ok:
                        print(f"not found: {name} in {case.name}, {key[1]}: {verdict(report)}", file=sys.stderr)
    return count


def against_a_reference() -> None:
    """The same errors where a reference is given, in formats in which differences see little."""
    every_nth = _every_nth()
    print(f"\n### The same errors against a reference; 1 in {every_nth} operators, {PLANTED} sample each\n")
    print("| error | float32 | bfloat16 | no error |\n|---|---|---|---|")
    total: Counter[Any] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(_referenced_in, range(0, PARTS_OF_DATABASE, every_nth)):
            total.update(part)
    for name in ERRORS:
        found = [f"{total[(name, dtype), 'found']} of {total[name, dtype]}" for dtype in ("float32", "bfloat16")]
        none = sum(total[(name, dtype), "no error"] for dtype in ("float32", "bfloat16"))
        print(f"| {name} | {' | '.join(found)} | {none} |")


def _referenced_in(part: int) -> Counter[Any]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    count: Counter[Any] = Counter()
    for dtype in (torch.float32, torch.bfloat16):
        for op in operators()[part::PARTS_OF_DATABASE]:
            for case in cases(op, dtype, PLANTED):
                if case.inputs[0].layout is not torch.strided or not _holds_beside_itself(case):
                    continue
                for name, error in ERRORS.items():
                    key = (name, str(dtype).removeprefix("torch."))
                    if not _changes(case, error, dtype):
                        count[key, "no error"] += 1
                        continue
                    wrong = planted(case.fn, error)
                    report = wp.check_paths(case.fn, wrong, case.inputs, elsewhere=False)
                    count[key] += 1
                    count[key, "found"] += not report.ok
                    if report.ok:
                        told = f"{verdict(report)}: {report.findings[0].message}"
                        print(f"not found: {name} in {case.name}, {key[1]}: {told}", file=sys.stderr)
    return count


def _holds_beside_itself(case: OperatorCase) -> bool:
    try:
        (finding,) = wp.check_paths(case.fn, case.fn, case.inputs, elsewhere=False).findings
        outputs = [o for o in _tensors(case.fn(*case.inputs)) if o.requires_grad]
        weights = [torch.randn_like(o) for o in outputs]
        (gradient,) = torch.autograd.grad(outputs, case.inputs[:1], weights, allow_unused=True)
    except Exception:
        return False
    there = gradient is not None and gradient.layout is torch.strided and bool((gradient.abs() > 1e-9).any())
    return there and finding.verdict is wp.Verdict.HOLDS


def _usable(case: OperatorCase) -> bool:
    """An error must change something, and the right gradient must hold, for its detection to mean anything."""
    try:
        report = wp.gradcheck(case.fn, case.inputs)
        if (
            any(f.verdict is not wp.Verdict.HOLDS for f in report.findings)
            or case.inputs[0].layout is not torch.strided
        ):
            return False
        outputs = [o for o in _tensors(case.fn(*case.inputs)) if o.requires_grad]
        weights = [torch.randn_like(o) for o in outputs]
        (gradient,) = torch.autograd.grad(outputs, case.inputs[:1], weights, allow_unused=True)
    except Exception:
        return False
    return gradient is not None and gradient.layout is torch.strided and bool(gradient.abs().max() > 1e-9)


def _changes(case: OperatorCase, error: Any, dtype: torch.dtype) -> bool:
    """Whether the error is one: half of a gradient may be zero already, the entry in the middle 1e-30 of the others."""
    torch.manual_seed(0)
    outputs = [o for o in _tensors(case.fn(*case.inputs)) if o.requires_grad]
    (gradient,) = torch.autograd.grad(
        outputs, case.inputs[:1], [torch.randn_like(o) for o in outputs], allow_unused=True
    )
    return bool((error(gradient) - gradient).abs().double().norm() > SEEN[dtype] * gradient.abs().double().norm())


def _tensors(returned: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_flatten(returned)[0] if isinstance(leaf, torch.Tensor)]


def _fast(case: OperatorCase) -> bool:
    try:
        return bool(torch.autograd.gradcheck(case.fn, case.inputs, fast_mode=True))
    except Exception:
        return False


def times() -> None:
    every_nth = _every_nth()
    print(f"\n### Time over 1 in {every_nth} operators in float64, one process, interleaved, one thread\n")
    spent: Counter[str] = Counter()
    count = left_out = alarms_fast = alarms_slow = 0
    for case in (case for op in operators()[::every_nth] for case in cases(op, torch.float64, SAMPLES)):
        outputs = sum(o.numel() for o in _tensors(case.fn(*case.inputs)))
        if sum(x.numel() for x in case.inputs) * outputs > _HUGE:
            left_out += 1
            continue
        count += 1
        for name, check in (
            ("ours", lambda case=case: wp.gradcheck(case.fn, case.inputs)),
            ("torch fast mode", lambda case=case: torch.autograd.gradcheck(case.fn, case.inputs, fast_mode=True)),
            ("torch slow mode", lambda case=case: torch.autograd.gradcheck(case.fn, case.inputs)),
        ):
            started = time.perf_counter()
            try:
                check()
            except Exception:
                alarms_fast += name == "torch fast mode"
                alarms_slow += name == "torch slow mode"
            spent[name] += time.perf_counter() - started
    print("| checker | seconds | ours takes |\n|---|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {seconds:.1f} | {spent['ours'] / seconds:.3f} times its time |")
    print(
        f"\n{count} cases, {left_out} left out (a Jacobian of more than {_HUGE:g} entries). Fast mode raised in {alarms_fast}, "
        f"slow mode in {alarms_slow}."
    )


def large() -> None:
    print("\n### A network of 1,000,000 parameters (5 layers of 500, tanh, batch 32, float32 model)\n")
    torch.manual_seed(0)
    widths = [500] * 5
    layers: list[torch.nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(width_in, width_out), torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers)
    x, y = torch.randn(32, 500), torch.randn(32, 500)
    problem = wp.TorchProblem(model, torch.nn.MSELoss(), (x, y))
    started = time.perf_counter()
    report = wp.check_gradients(problem)
    ours = time.perf_counter() - started
    double, dx, dy = model.double(), x.double(), y.double()
    parameters = [p.detach().requires_grad_() for p in double.parameters()]
    names = [name for name, _ in double.named_parameters()]

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(double, dict(zip(names, tensors, strict=True)), (dx,))
        return torch.nn.functional.mse_loss(output, dy)

    # Slow mode perturbs every entry twice: the time of 200 such evaluations, extrapolated.
    started = time.perf_counter()
    with torch.no_grad():
        for entry in range(100):
            flat = parameters[0].view(-1)
            for sign in (1, -1):
                flat[entry] += sign * 1e-6
                loss(*parameters)
                flat[entry] -= sign * 1e-6
    slow = (time.perf_counter() - started) / 100 * sum(p.numel() for p in parameters)
    size = sum(p.numel() for p in parameters)
    word = "ok" if report else "not ok"
    print(f"{size:,} parameters: {word}, {report.evaluations} evaluations, {ours:.2f} s.")
    print(f"Slow mode, extrapolated from 100 entries: {slow:.0f} s, {slow / ours:.0f} times as long.")


PARTS = {
    "verdicts": verdicts,
    "planted": planted_errors,
    "referenced": against_a_reference,
    "time": times,
    "large": large,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, wellposed {wp.__version__}; {len(operators())} operators, up to {SAMPLES} samples each; CPU.\n"
    )
    for part in [word for word in sys.argv[1:] if not word.isdigit()] or list(PARTS):
        PARTS[part]()
