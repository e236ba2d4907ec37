"""Healthy set-ups of many kinds, written by people who had not seen the rules: what a quick check-up says of them is a false alarm.

python benchmarks/controls.py [--train] [names or kinds ...]

Each trains; `--train` shows that. Per set-up: seconds, evaluations, and what was found; then the totals. Those of
`objectives` have losses that are, or may become, negative, and have no faulty counterpart or are the mended one of it;
`controls.py faulty` shows what is said of the faulty ones.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import healthy_jax
import healthy_torch
import torch

import wellposed as wp

OBJECTIVES = Path(__file__).with_name("objectives")
GRAVE = (wp.Verdict.FAILS, wp.Verdict.SUSPECT)


def set_ups(wanted: list[str]) -> Iterator[tuple[str, Callable[[], wp.Problem]]]:
    for make in healthy_torch.CONTROLS:
        if not wanted or make.name in wanted or make.kind in wanted:
            yield make.name, lambda make=make: _torch(*make())
    for make in healthy_jax.CONTROLS:
        if not wanted or make.name in wanted or make.kind in wanted:
            yield make.name, lambda make=make: _jax(*make())

    for kind in ("healthy", "twins", *(["faulty"] if "faulty" in wanted else [])):
        for file in sorted((OBJECTIVES / kind).glob("*.py")):
            if not wanted or {file.stem, kind} & set(wanted):
                yield f"objectives/{kind}/{file.stem}", lambda file=file: _module(file).problem()


def _module(file: Path):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _torch(model, loss, batch, optimizer):
    return wp.TorchProblem(model, loss, batch, optimizer=optimizer)


def _jax(loss, params, args):
    return wp.JaxProblem(loss, params, *args)


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    if "--train" in words:
        for make in healthy_torch.CONTROLS:
            before, after, *_, trained = healthy_torch.train(make)
            print(f"{make.name}: {before:.4g} to {after:.4g}{'' if trained else '  DOES NOT TRAIN'}", flush=True)
        return
    found: Counter[str] = Counter()
    totals: Counter[wp.Verdict] = Counter()
    raised, number, started = [], 0, time.perf_counter()
    for name, problem in set_ups(words):
        number += 1
        begun = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                report = wp.checkup(problem())
        except Exception:
            raised.append(name)
            traceback.print_exc()
            continue
        told = [finding for finding in report.findings if finding.verdict in GRAVE]
        totals.update(finding.verdict for finding in told)
        found.update(f"{finding.verdict.value} {finding.rule} {finding.cause}" for finding in told)
        said = "; ".join(
            f"{finding.verdict.value} {finding.rule} {finding.cause} at {finding.where}" for finding in told
        )
        print(
            f"{name}: {time.perf_counter() - begun:.2f} s, {report.evaluations} evaluations{f': {said}' if said else ''}",
            flush=True,
        )
    fails, suspect = (totals[verdict] for verdict in GRAVE)
    print(
        f"\n{number} set-ups in {time.perf_counter() - started:.0f} s: {fails} fails, {suspect} suspect ({suspect / max(number, 1):.3f} each)"
    )
    print(f"raised: {len(raised)} {' '.join(raised)}")
    for what, times in found.most_common():
        print(f"{times:4d} {what}")


if __name__ == "__main__":
    main(sys.argv[1:])
