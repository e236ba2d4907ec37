"""The same gradient on two ways: faults planted in backward passes, right ways that are hard to compare, and known-good
networks on other paths.

    python benchmarks/paths.py [faulty|healthy|operators|zoo] [part of a name or kind]

`faulty`: each program's candidate must be told (found), with the cause that its head names (named), and its twin without
the fault must not be. `healthy`: both ways are right. `zoo`: networks of `zoo.py` recomputed, in autocast, in bfloat16 and
float16, with fused attention and channels last; what is told of them. `operators`: PyTorch's operator database in bfloat16
and float32, each operator against itself in float64.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import wellposed as wp

PROGRAMS = Path(__file__).parent / "paths"
FOUND = (wp.Verdict.FAILS, wp.Verdict.SUSPECT)
PATHS = ("checkpoint", "autocast", "bfloat16", "float16", "attention:flash", "channels-last")
EVERY = {"own": 2, "timm": 11, "causal": 10, "masked": 5, "translating": 4}  # network of a kind
LARGEST = 4e6  # parameters
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
    head = dict(re.findall(r"^# (cause|size|dtype): *(\S+)", file.read_text(), re.M))
    module = made(file)
    finding, twin = judged(module.case(True)), judged(module.case(False))
    found, named = finding.verdict in FOUND, finding.verdict in FOUND and finding.cause == head["cause"]
    alarm = twin.verdict in FOUND
    mark = "named" if named else "found" if found else "-----"
    line = f"{file.stem:36s} {head['dtype']:9s} {head['size']:8s} {head['cause']:17s} {mark} {finding.cause:17s} {'TWIN TOLD' if alarm else ''}"
    small = float(re.match(r"[0-9.e-]+", head["size"].lstrip("~"))[0]) < 0.03
    return line, found, named, small, alarm


def programs(kind: str, part: str) -> None:
    files = [file for file in sorted((PROGRAMS / kind).glob("*.py")) if part in file.stem]
    if kind == "healthy":
        findings = [(file, judged(made(file).case())) for file in files]
        told = [
            f"{file.stem}: {finding.verdict.value} {finding.cause}"
            for file, finding in findings
            if finding.verdict in FOUND
        ]
        print(f"\nhealthy: {len(told)} of {len(files)} told", *told, sep="\n  ")
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


def zoo(part: str) -> None:
    from zoo import problems

    counts = dict.fromkeys(("networks", "fails", "suspect", "undecided"), 0)
    for kind, step in EVERY.items():
        for name, build in list(problems((kind,)))[1::step]:
            if part not in (kind, "") and part not in name:
                continue
            problem = build(0)
            if problem.layout.size > LARGEST:
                continue
            start = time.perf_counter()
            report = wp.check_paths(problem, paths=PATHS)
            told = [
                f
                for f in report.findings
                if f.verdict is not wp.Verdict.HOLDS and "No available kernel" not in f.message
            ]
            counts["networks"] += 1
            for finding in told:
                counts[finding.verdict.value] += 1
                print(f"    {finding.verdict.value} {finding.cause} {finding.message[:160]}")
            print(f"{name}  {time.perf_counter() - start:.1f} s", flush=True)
    print(counts)


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = ("faulty", "healthy", "operators", "zoo")
    kinds = [argument for argument in arguments if argument in known] or known
    part = next((argument for argument in arguments if argument not in known), "")
    for kind in kinds:
        if kind in ("operators", "zoo"):
            {"operators": operators, "zoo": zoo}[kind](part)
        else:
            programs(kind, part)


if __name__ == "__main__":
    main(sys.argv[1:])
