"""The same gradient on two ways: faults planted in backward passes, right ways that are hard to compare, and known-good
networks on other paths.

    python benchmarks/paths.py [faulty|healthy|regressions|elsewhere|jax|triton|operators|zoo|device] [part of a name]

`faulty`: each program's candidate must be told (found), with the cause that its head names (named), and its twin without
the fault must not be. `healthy`: both ways are right. `regressions`: gradients of public libraries that were wrong, replayed. `elsewhere`:
kernels that are right on the inputs given and wrong on others of their kind. `jax`: custom rules and Pallas kernels.
`triton`: kernels on a CUDA device, or interpreted where TRITON_INTERPRET=1 (30 minutes). `zoo`: networks of `zoo.py` recomputed, in autocast, in bfloat16 and
float16, with fused attention and channels last; what is told of them. `operators`: PyTorch's operator database in bfloat16
and float32, each operator against itself in float64. `device`: networks on a CUDA device, on every path that it has.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch

import wellposed as wp

PROGRAMS = Path(__file__).parent / "paths"
FOUND = (wp.Verdict.FAILS, wp.Verdict.SUSPECT)
PATHS = (
    "checkpoint",
    "autocast",
    "bfloat16",
    "float16",
    "attention:flash",
    "channels-last",
    "optimizer:foreach",
    "optimizer:fused",
)
DEVICE_PATHS = ("autocast:float16", "attention:math", "attention:efficient", "attention:cudnn")
EVERY = {"own": 2, "timm": 11, "causal": 10, "masked": 5, "translating": 4}  # network of a kind
LARGEST = 4e6  # parameters
COMPILED = 3  # of these one is compiled, which takes a minute
SAMPLES = 10  # of an operator


def made(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(case: dict[str, Any]) -> Any:
    (finding,) = wp.check_paths(case["reference"], case["candidate"], case["inputs"]).findings
    return finding


def faulty(file: Path) -> tuple[str, bool, bool, bool, bool]:
    """What was said; whether it was found, and named; whether its error is small; whether its twin was told."""
    head = {"size": "1"} | dict(re.findall(r"^# (cause|size|dtype): *([\w.~+-]+)", file.read_text(), re.M))
    module = made(file)
    finding, twin = judged(module.case(True)), judged(module.case(False))
    found, named = finding.verdict in FOUND, finding.verdict in FOUND and finding.cause == head["cause"]
    alarm = twin.verdict in FOUND
    mark = "named" if named else "found" if found else "-----"
    line = f"{file.stem:36s} {head['dtype']:9s} {head['size']:8s} {head['cause']:17s} {mark} {finding.cause:17s} {'TWIN TOLD' if alarm else ''}"
    size = re.match(r"[0-9.e-]+", head["size"].lstrip("~"))
    small = size is not None and float(size[0]) < 0.03
    return line, found, named, small, alarm


def programs(kind: str, part: str) -> None:
    files = [file for file in sorted((PROGRAMS / kind).glob("*.py")) if part in file.stem]
    print(f"\n{kind}")
    if kind.endswith("healthy"):
        findings = [(file, judged(made(file).case())) for file in files]
        told = [
            f"{file.stem}: {finding.verdict.value} {finding.cause}"
            for file, finding in findings
            if finding.verdict in FOUND
        ]
        print(f"{len(told)} of {len(files)} told", *told, sep="\n  ")
        return
    results = []
    for file in files:
        results.append(faulty(file))
        print(results[-1][0], flush=True)
    for name, rows in (
        ("all", results),
        ("below 3 %", [r for r in results if r[3]]),
        ("above", [r for r in results if not r[3]]),
    ):
        found, named = (sum(row[place] for row in rows) for place in (1, 2))
        print(f"{name}: found {found} of {len(rows)}, named {named}, twins told {sum(row[4] for row in rows)}")


def triton(part: str) -> None:
    """Of every file the right kernels and those with each of its faults."""
    device = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
    counts: Counter[str] = Counter()
    for file in sorted((PROGRAMS / "triton").glob("*.py")):
        module = made(file) if part in file.stem else None
        for fault in ("", *module.FAULTS) if module else ():
            start = time.perf_counter()
            finding = judged(module.case(fault, device))
            told = finding.verdict in FOUND
            cause = module.FAULTS.get(fault, "")
            counts.update(faults=bool(fault), found=bool(fault and told), alarms=told and not fault)
            counts["named"] += bool(fault) and told and finding.cause == cause
            took = time.perf_counter() - start
            print(
                f"{file.stem:14s} {fault or '(right)':30s} {cause:13s} {finding.verdict.value} {finding.cause} {took:.1f} s",
                flush=True,
            )
    print(dict(counts))


def operators(part: str) -> None:
    from operators import cases
    from operators import operators as database

    for dtype in (torch.bfloat16, torch.float32):
        counts: Counter[str] = Counter()
        for op in database():
            for case in cases(op, dtype, SAMPLES) if part in op.formatted_name else ():
                try:
                    (finding,) = wp.check_paths(case.fn, case.fn, case.inputs).findings
                except Exception as error:  # samples that torch itself refuses in this format
                    counts["raises"] += 1
                    print(f"    {case.name} raises {type(error).__name__}: {str(error)[:100]}", flush=True)
                    continue
                counts[finding.verdict.value] += 1
                if finding.verdict in FOUND:
                    print(
                        f"    {dtype} {case.name}: {finding.verdict.value} {finding.cause} {finding.message[:150]}",
                        flush=True,
                    )
        print(dtype, dict(counts), flush=True)


def zoo(part: str, device: str = "cpu") -> None:
    """Networks of `zoo.py`, which each get an optimizer, on every path that the device has."""
    from zoo import problems

    paths = (*PATHS, *(DEVICE_PATHS if device == "cuda" else ()))
    counts: Counter[str] = Counter()
    for kind, step in EVERY.items():
        for number, (name, build) in enumerate(list(problems((kind,)))[1::step]):
            if part not in (kind, "") and part not in name:
                continue
            start = time.perf_counter()
            with torch.device(device):
                problem = with_optimizer(build(0), device)
            if problem.layout.size > LARGEST:
                continue
            compiled = ("compile",) if number % COMPILED == 0 else ()
            try:
                report = wp.check_paths(problem, paths=(*paths, *compiled))
            except Exception as error:  # what does not run there
                counts["raises"] += 1
                print(f"{name} raises {type(error).__name__}: {str(error)[:200]}", flush=True)
                continue
            told = [
                finding
                for finding in report.findings
                if finding.verdict is not wp.Verdict.HOLDS and "No available kernel" not in finding.message
            ]
            counts.update(["networks", *(finding.verdict.value for finding in told)])
            counts.update({"paths": len(report.findings)})
            for finding in told:
                print(f"    {finding.verdict.value} {finding.cause} {finding.message[:160]}")
            print(f"{name}  {time.perf_counter() - start:.1f} s", flush=True)
    print(dict(counts))


def with_optimizer(problem: Any, device: str) -> Any:
    move = lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf  # noqa: E731
    model, batch = problem.model.to(device), torch.utils._pytree.tree_map(move, problem.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if problem.takes_model:
        return wp.TorchProblem(model, problem.loss, optimizer=optimizer)
    return wp.TorchProblem(model, problem.loss, batch, optimizer=optimizer)


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    of_files = ("faulty", "healthy", "regressions", "elsewhere", "jax")
    known = (*of_files, "triton", "operators", "zoo", "device")
    kinds = [argument for argument in arguments if argument in known] or (*of_files, "operators", "zoo")
    part = next((argument for argument in arguments if argument not in known), "")
    for kind in kinds:
        if kind not in of_files:
            {"triton": triton, "operators": operators, "zoo": zoo, "device": partial(zoo, device="cuda")}[kind](part)
        elif kind in ("elsewhere", "jax"):
            programs(f"{kind}/faulty", part)
            programs(f"{kind}/healthy", part)
        else:
            programs(kind, part)


if __name__ == "__main__":
    main(sys.argv[1:])
