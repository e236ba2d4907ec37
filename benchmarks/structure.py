"""What a problem's structure is (WP401, WP404 to WP411): 97 faulty programs of PyTorch and 24 of JAX, each with a twin in
which the fault alone is mended, and 131 and 20 healthy ones of many kinds. None of their authors had seen the rules; all
sources are public reports.

python benchmarks/structure.py [NAME ...]
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

import wellposed as wp

HERE = Path(__file__).parent / "structures"
NAMED_BY = {
    "future": {"WP405", "WP406"},
    "targets": {"WP401", "WP405", "WP406"},
    "padding": {"WP407"},
    "order": {"WP408"},
    "terms": {"WP409"},
    "range": {"WP401", "WP404", "WP410"},
    "mode": {"WP411"},
}


def programs(folder: str, chosen: list[str]) -> Iterator[tuple[str, ModuleType]]:
    for path in sorted((HERE / folder).glob("*.py")):
        if chosen and path.stem not in chosen:
            continue
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        yield path.stem, module


def found(module: ModuleType, *given: object) -> list[tuple[str, str, str]]:
    """Rule, verdict and cause of what a quick check-up finds."""
    torch.manual_seed(0)
    made = module.make(0, *given)
    if len(made) == 3:  # loss, parameters and arguments of JAX
        loss, params, args = made
        problem = wp.JaxProblem(loss, params, *args)
    else:
        model, loss, batch, optimizer = made
        problem = wp.TorchProblem(model, loss, batch, optimizer=optimizer)
    report = wp.checkup(problem)
    return [(one.rule, one.verdict.value, one.cause) for one in report.findings if one.found]


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = sys.argv[1:]
    for framework, of in (("PyTorch", ""), ("JAX", "_jax")):
        started = time.perf_counter()
        print(f"\n{framework}\n")
        faulty(f"faulty{of}", chosen)
        healthy(f"healthy{of}", chosen)
        print(f"{time.perf_counter() - started:.0f} s.")


def faulty(folder: str, chosen: list[str]) -> None:
    counts: dict[str, Counter[str]] = {}
    twins: Counter[str] = Counter()
    for name, module in programs(folder, chosen):
        told, twin = found(module, False), found(module, True)
        count, named = counts.setdefault(module.KIND, Counter()), NAMED_BY[module.KIND]
        count["all"] += 1
        count["found"] += any(rule in named for rule, _, _ in told)
        count["first"] += bool(told) and told[0][0] in named
        twins.update(verdict for _, verdict, _ in twin)
        if not any(rule in named for rule, _, _ in told) or any(verdict == "fails" for _, verdict, _ in twin):
            print(f"{name} ({module.KIND}): {told or '-'}; twin: {twin or '-'}", flush=True)
    print("\n| kind | programs | found | first finding right |\n|---|---|---|---|")
    for kind, count in counts.items():
        print(f"| {kind} | {count['all']} | {count['found']} | {count['first']} |")
    whole = sum(counts.values(), Counter())
    print(f"| all | {whole['all']} | {whole['found']} | {whole['first']} |")
    print(f"\nTwins: {twins['fails']} `fails`, {twins['suspect']} `suspect`.\n")


def healthy(folder: str, chosen: list[str]) -> None:
    counts: Counter[str] = Counter()
    for name, module in programs(folder, chosen):
        told = found(module)
        counts["all"] += 1
        counts.update(verdict for _, verdict, _ in told)
        if any(verdict == "fails" for _, verdict, _ in told):
            print(f"{name}: {told}")
    print(f"{counts['all']} healthy: {counts['fails']} `fails`, {counts['suspect']} `suspect`.")


if __name__ == "__main__":
    main()
