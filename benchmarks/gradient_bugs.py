"""The corpus of gradient bugs: what is found, where, and why; torch's and JAX's own checkers on the same cases.

python benchmarks/gradient_bugs.py
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from jax.test_util import check_grads

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import wellposed as wp
from corpus import jax_cases, numpy_cases, torch_cases

CASES = {"numpy": numpy_cases.CASES, "torch": torch_cases.CASES, "jax": jax_cases.CASES}


def judged(case: Any, seed: int) -> dict[str, Any]:
    """Whether the fault is found, at the right tensors, for the right cause, and the healthy twin left alone.

    Of a part of the way that is cut (`left-out`) the report says so, and judges the rest: nobody but its author knows whether it is meant.
    """
    if case.cause == "left-out":
        return _noted(case, seed)
    failing = [f for f in wp.check_gradients(case.build(case.fault, seed)).findings if f.verdict is wp.Verdict.FAILS]
    twin = wp.check_gradients(case.build("", seed))
    # Where the report says where to start, the cause given there counts, else that of the first finding.
    start = next((f for f in failing if "Start here" in f.message), failing[0] if failing else None)
    return {
        "found": bool(failing),
        "tensors": {f.where for f in failing} == case.wrong,
        "cause": start is not None and start.cause == case.cause,
        "alarm": not twin.ok,
        "told": f"{sorted({f.where for f in failing})}, {start.cause if start else '-'}",
    }


def _noted(case: Any, seed: int) -> dict[str, Any]:
    report, twin = (wp.check_gradients(case.build(fault, seed)) for fault in (case.fault, ""))
    noted = [f.message for f in report.findings if f.rule == "WP501" and f.cause == "detached"]
    told = bool(noted) and report.ok
    return {
        "found": told,
        "tensors": told,
        "cause": told,
        "alarm": not twin.ok or any(f.cause for f in twin.findings),
        "told": "".join(noted),
    }


def torch_finds(problem: Any, **options: Any) -> bool:
    """torch.autograd.gradcheck of the loss as a function of the model's parameters, in float64."""
    model = problem.model.double()
    batch = [x.double() if x.is_floating_point() else x for x in problem.batch]
    names, parameters = zip(
        *((n, p.detach().clone().requires_grad_()) for n, p in model.named_parameters()), strict=True
    )

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        return problem.loss(
            torch.func.functional_call(model, dict(zip(names, tensors, strict=True)), (batch[0],)), batch[1]
        )

    try:
        return not torch.autograd.gradcheck(loss, parameters, **options)
    except Exception:  # however it says so
        return True


def jax_finds(problem: Any) -> bool:
    """jax.test_util.check_grads of the loss, in float64, default tolerances."""
    with jax.enable_x64(True):
        double = [np.asarray(leaf, np.float64) for leaf in problem._leaves.values()]
        params = jax.tree_util.tree_unflatten(problem._tree, double)
        args = [np.asarray(a, np.float64) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in problem.args]
        try:
            check_grads(lambda p: problem.loss(p, *args), (params,), order=1, modes=["rev"])
        except Exception:  # however it says so
            return True
    return False


PEERS = {
    "torch": {
        "torch.autograd.gradcheck, slow": torch_finds,
        "torch.autograd.gradcheck, fast": lambda problem: torch_finds(problem, fast_mode=True),
    },
    "jax": {"jax.test_util.check_grads": jax_finds},
}


def main() -> None:
    print(
        f"torch {torch.__version__}, jax {jax.__version__}, numpy {np.__version__}, wellposed {wp.__version__}; CPU.\n"
    )
    print(
        "| framework | bugs | found | right tensors | right cause | false alarms on healthy twins |\n|---|---|---|---|---|---|"
    )
    total: Counter[str] = Counter()
    missed, peers = [], []
    for framework, cases in CASES.items():
        count: Counter[str] = Counter()
        for seed, case in enumerate(cases):
            result = judged(case, seed)
            count.update({key: int(value) for key, value in result.items() if key != "told"})
            if not (result["tensors"] and result["cause"]) or result["alarm"]:
                missed.append(f"{case.name} (expected {sorted(case.wrong)}, {case.cause}): told {result['told']}")
        count["cases"] = len(cases)
        total += count
        print(f"| {framework} | {_row(count)} |", flush=True)
        for name, finds in PEERS.get(framework, {}).items():
            found = sum(finds(case.build(case.fault, seed)) for seed, case in enumerate(cases))
            alarms = sum(finds(case.build("", seed)) for seed, case in enumerate(cases))
            peers.append(f"| {name} | {len(cases)} | {found} | names no parameter | names no cause | {alarms} |")
    print(f"| all | {_row(total)} |")
    print("\n".join(peers))
    print("\nNot as expected:\n\n" + ("\n".join(f"- {line}" for line in missed) or "none"))


def _row(count: Counter[str]) -> str:
    share = {key: f"{count[key]} ({100 * count[key] / count['cases']:.0f} %)" for key in ("found", "tensors", "cause")}
    return f"{count['cases']} | {share['found']} | {share['tensors']} | {share['cause']} | {count['alarm']}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
