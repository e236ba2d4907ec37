"""The check-up in figures: programs that people asked about in public, other tools beside ours, and what a quick check-up costs.

python benchmarks/checkup.py [programs peers cost zoo] [--only NAME,NAME]
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from programs import PROGRAMS, Asked, Program, train
from torch import nn
from torch.overrides import TorchFunctionMode

import wellposed as wp
from wellposed.backends.torch.objective import LOSSES
from wellposed.backends.torch.rerouted_loss import Rerouted, indices
from wellposed.findings import Finding, Verdict
from wellposed.remedies.treatments import treatment_of
from wellposed.report import Report

warnings.filterwarnings("ignore")
SEED, LATER, MOST = 0, 100, 4
PATIENCE, LONGEST = 1.0, 60  # seconds: of a gradient, and of a check-up


class TooLong(BaseException):
    """Not an Exception, which a check takes for the user's."""


def _late(*_: Any) -> None:
    raise TooLong


def built(asked: Asked, fixed: bool) -> Program:
    torch.manual_seed(SEED)
    return asked.build(fixed)


def posed(program: Program, rows: int | None = None) -> wp.TorchProblem:
    """As its author would give it: the first batch of the shuffled data, and the optimizer."""
    chosen = torch.randperm(len(program.inputs), generator=torch.Generator().manual_seed(SEED))[: rows or program.batch]
    return wp.TorchProblem(
        program.model, program.loss, (program.inputs[chosen], program.targets[chosen]), optimizer=program.optimizer
    )


# --- programs ----------------------------------------------------------------------------------


def programs(only: tuple[str, ...]) -> None:
    """Each program and its twin: trained, checked, checked again after some training, and the first remedy carried out."""
    chosen = [asked for asked in PROGRAMS if not only or asked.name in only]
    print(f"### {len(chosen)} faulty programs that were asked about in public, and their twins\n")
    print(
        "| program | category | trained: faulty, twin (goal) | first finding | fault named | remedy | twin |\n|---|---|---|---|---|---|---|"
    )
    rows = [_row(asked) for asked in chosen]
    n = len(rows)
    confirmed = sum(row["confirmed"] for row in rows)
    print(f"\nConfirmed by training (the twin reaches the goal, the program does not): {confirmed} of {n}.\n")
    print("| | quick | with `after_steps=100` | target |\n|---|---|---|---|")
    for key, what, target in (("found", "fault found", "95 %"), ("first", "first finding names it", "85 %")):
        print(f"| {what} | {_share(rows, key)} | {_share(rows, key + ' later')} | {target} |")
    for key, what, target in (("fails", "twins with a `fails`", "1 %"), ("suspect", "twins with a `suspect`", "")):
        print(f"| {what} | {_share(rows, key)} | {_share(rows, key + ' later')} | {target} |")
    machine = [row for row in rows if row["remedy"] in ("trains", "does not train")]
    hand = [row for row in rows if row["remedy"] == "by hand"]
    trained = sum(row["remedy"] == "trains" for row in machine)
    print(
        f"\nRemedy of the first finding, carried out by the machine and trained to the goal: {trained} of {len(machine)}."
    )
    print(
        f"Remedy to be carried out by hand, where the finding names the fault (the twin is what it asks for): {len(hand)}, which train."
    )
    print(f"Together: {trained + len(hand)} of {n} ({100 * (trained + len(hand)) / n:.0f} %; target 80 %).\n")
    for category in dict.fromkeys(asked.category for asked in chosen):
        some = [row for row, asked in zip(rows, chosen, strict=True) if asked.category == category]
        print(
            f"- {category}: {_share(some, 'found')} found, {_share(some, 'first')} first; later {_share(some, 'found later')} found"
        )


def _row(asked: Asked) -> dict[str, Any]:
    faulty = train(built(asked, False), asked.epochs)
    twin = train(built(asked, True), asked.epochs)
    row: dict[str, Any] = {"confirmed": faulty < asked.goal <= twin}
    reports: dict[tuple[bool, str], Report] = {}
    for fixed in (False, True):
        for steps, suffix in ((0, ""), (LATER, " later")):
            reports[fixed, suffix] = wp.checkup(posed(built(asked, fixed)), after_steps=steps)
    for suffix in ("", " later"):
        findings = _found(reports[False, suffix])
        row["found" + suffix] = any(finding.rule in asked.named_by for finding in findings)
        row["first" + suffix] = bool(findings) and findings[0].rule in asked.named_by
        row["fails" + suffix] = not reports[True, suffix].ok
        row["suspect" + suffix] = bool(_found(reports[True, suffix]))
    first = _found(reports[False, " later"])[:1]
    row["remedy"] = _remedied(asked, first[0]) if first else "none"
    named = "first" if row["first"] else "found" if row["found"] else "later" if row["found later"] else "missed"
    told = f"{first[0].rule} {first[0].cause}" if first else ""
    other = ", ".join(f"{finding.rule} {finding.verdict.value}" for finding in _found(reports[True, ""]))
    scores = f"{faulty:.3g}, {twin:.3g} ({asked.goal:g})"
    print(f"| {asked.name} | {asked.category} | {scores} | {told} | {named} | {row['remedy']} | {other} |", flush=True)
    return row


def _found(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.found]


def _remedied(asked: Asked, first: Finding) -> str:
    """What comes of doing what the report says, one remedy at a time, with a check-up after each as a user would run it: on all data,
    trained as the program is. By hand where no machine can carry out the first.
    """
    program = built(asked, False)
    problem: Any = wp.TorchProblem(
        program.model, program.loss, (program.inputs, program.targets), optimizer=program.optimizer
    )
    done: set[tuple[str, str]] = set()
    finding: Finding | None = first
    while finding is not None and len(done) < MOST:
        treatment = treatment_of(finding)
        treated = None if treatment is None or problem is None else treatment.apply(problem, finding)
        if treated is None and not done:
            return "by hand" if finding.rule in asked.named_by and (finding.remedies or finding.cause) else "none"
        problem = problem if treated is None else treated
        done.add((finding.rule, finding.cause))
        batch = posed(replace(program, inputs=problem.batch[0], targets=problem.batch[1])).batch
        loss = (
            Rerouted(problem.loss.loss, batch, problem.loss.route)
            if isinstance(problem.loss, Rerouted)
            else problem.loss
        )
        report = wp.checkup(wp.TorchProblem(problem.model, loss, batch, optimizer=problem.optimizer))
        left = [
            f for f in _found(report) if not f.follows and (f.rule, f.cause) not in done and treatment_of(f) is not None
        ]
        finding = left[0] if left else None
    return "trains" if train(_trainable(asked, problem), asked.epochs) >= asked.goal else "does not train"


def _trainable(asked: Asked, problem: Any) -> Program:
    program = built(asked, False)
    better = replace(
        program, model=problem.model, inputs=problem.batch[0], targets=problem.batch[1], optimizer=problem.optimizer
    )
    if not isinstance(problem.loss, Rerouted):
        return better
    loss, route = problem.loss.loss, problem.loss.route
    twin = built(asked, True)  # outputs are what the loss gets now, and are read as the twin's are
    if route == "classes":
        return replace(better, targets=indices(problem.model(better.inputs), better.targets), score=twin.score)
    better.whole = lambda model, x, y: Rerouted(loss, (x, y), route)(model)
    better.score = lambda _outputs, targets: twin.score(_given_to_the_loss(better), targets)
    return better


def _given_to_the_loss(program: Program) -> torch.Tensor:
    assert program.whole is not None
    with Given() as given:
        program.whole(program.model, program.inputs, program.targets)
    assert given.outputs is not None
    return given.outputs


class Given(TorchFunctionMode):
    """Notes what a loss function is given, below whatever changes that."""

    outputs: torch.Tensor | None = None

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in LOSSES and self.outputs is None:
            self.outputs = args[0].detach()
        return function(*args, **(kwargs or {}))


def _share(rows: list[dict[str, Any]], key: str) -> str:
    count = sum(bool(row[key]) for row in rows)
    return f"{count} of {len(rows)} ({100 * count / len(rows):.1f} %)" if rows else "none"


# --- peers -------------------------------------------------------------------------------------


def _torchtest2(program: Program) -> bool:
    """All its checks: any failure or warning."""
    import torchtest2

    problem = posed(program)
    report = torchtest2.check_model(program.model, problem.batch[0], problem.batch[1], loss_fn=program.loss)
    return bool(report.failures or report.warnings)


def _torch_audit(program: Program) -> bool:
    """All its rules of every phase, errors and warnings."""
    import torch_audit

    problem = posed(program)
    problem.loss(problem.model(problem.batch[0]), problem.batch[1]).backward()
    phases = ("static", "init", "forward", "backward", "optimizer")
    findings = []
    for phase in phases:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            result = torch_audit.audit(program.model, phase=phase, batch=problem.batch, optimizer=program.optimizer)
            findings += [
                finding
                for finding in result.findings
                if str(finding.severity).upper().rpartition(".")[2] not in ("INFO",)
            ]
    return bool(findings)


def peers(only: tuple[str, ...]) -> None:
    """Whether a tool says anything at all of a program, and of its twin: none of them says which of these faults it is."""
    chosen = [asked for asked in PROGRAMS if not only or asked.name in only]
    print("### Other tools: whether they say anything of a program, and of its twin\n")
    print("| tool | programs | twins | raised |\n|---|---|---|---|", flush=True)
    for name, says in {"torchtest2": _torchtest2, "torch-audit": _torch_audit}.items():
        said, raised = [0, 0], 0
        for asked in chosen:
            for fixed in (False, True):
                try:
                    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                        said[fixed] += says(built(asked, fixed))
                except Exception:
                    raised += 1
                    said[fixed] += not fixed  # a program that cannot be run is seen not to run
        _told(name, said, len(chosen), raised)
    failing, found = [0, 0], [0, 0]
    for asked in chosen:
        for fixed in (False, True):
            report = wp.checkup(posed(built(asked, fixed)))
            failing[fixed] += not report.ok
            found[fixed] += bool(_found(report))
    _told("wellposed, `fails`", failing, len(chosen), 0)
    _told("wellposed, `fails` or `suspect`", found, len(chosen), 0)


def _told(name: str, said: list[int], n: int, raised: int) -> None:
    shares = " | ".join(f"{count} of {n} ({100 * count / n:.0f} %)" for count in said)
    print(f"| {name} | {shares} | {raised} |", flush=True)


# --- zoo ---------------------------------------------------------------------------------------


def zoo(only: tuple[str, ...]) -> None:
    """A quick check-up of known-good networks with the optimizer that such networks are trained with; those with slow steps are left out."""
    from zoo import KINDS, complete_torchvision, problems

    kept = complete_torchvision()
    kinds = tuple(kind for kind in KINDS if not only or kind in only)
    counts: dict[str, int] = {"networks": 0, "fails": 0, "suspect": 0, "raised": 0, "slow": 0, "long": 0}
    signal.signal(signal.SIGALRM, _late)
    spent: list[float] = []
    told = []
    for name, build in problems(kinds):
        torch.manual_seed(SEED)
        try:
            problem = build(SEED)
            started = time.perf_counter()
            problem.gradient(problem.theta())
            step = time.perf_counter() - started
            if step > PATIENCE:
                counts["slow"] += 1
                continue
            problem.optimizer = torch.optim.AdamW(problem.model.parameters(), 1e-4)
            signal.alarm(LONGEST)
            report = wp.checkup(problem)
            spent.append(report.seconds / step)
        except TooLong:
            counts["long"] += 1
            told.append(f"- {name} takes longer than {LONGEST} s")
            continue
        except Exception as error:
            counts["raised"] += 1
            told.append(f"- {name} raised {type(error).__name__}: {str(error)[:120]}")
            continue
        finally:
            signal.alarm(0)
        counts["networks"] += 1
        counts["fails"] += not report.ok
        counts["suspect"] += report.count(Verdict.SUSPECT)
        told += [
            f"- {name}: {f.verdict.value} {f.rule} {f.cause} at {f.where}: {f.message[:120]}"
            for f in _found(report)
            if not f.follows
        ]
        print(told[-1] if told and told[-1].startswith(f"- {name}") else f"- {name}", file=sys.stderr, flush=True)
    del kept
    n = counts["networks"]
    print(f"### A quick check-up of {n} known-good networks ({', '.join(kinds)}), AdamW at 1e-4\n")
    print(
        f"With a `fails`: {counts['fails']} ({100 * counts['fails'] / max(n, 1):.1f} %); `suspect` per network: {counts['suspect'] / max(n, 1):.2f}; "
    )
    print(
        f"raised: {counts['raised']}; left out, as a gradient takes more than {PATIENCE:g} s here: {counts['slow']}; "
        f"not done in {LONGEST} s: {counts['long']}."
    )
    print(
        f"In evaluations of the gradient: median {np.median(spent):.0f}, 9 in 10 below {np.quantile(spent, 0.9):.0f}.\n"
    )
    print("\n".join(told))


# --- cost --------------------------------------------------------------------------------------


KEPT: list[Any] = []


def _resnet() -> tuple[nn.Module, Any, Any, Any]:
    from zoo import complete_torchvision

    KEPT.append(complete_torchvision())
    import torchvision

    model = torchvision.models.resnet18(num_classes=10)
    return model, nn.CrossEntropyLoss(), torch.randn(32, 3, 64, 64), torch.randint(10, (32,))


def _gpt2() -> tuple[nn.Module, Any, Any, Any]:
    from zoo import complete_torchvision

    KEPT.append(complete_torchvision())
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    indices = torch.randint(50257, (4, 128))
    return (
        model,
        lambda out, wanted: nn.functional.cross_entropy(out.logits.flatten(0, 1), wanted.flatten()),
        indices,
        indices.roll(-1, 1),
    )


NETWORKS = {"ResNet-18, 32 images of 64 x 64": (_resnet, "sgd"), "GPT-2 small, 4 x 128 tokens": (_gpt2, "adamw")}


def measure(name: str) -> None:
    """In a process of its own: the check-up in training steps of the same batch, and its memory beyond that of training."""
    torch.manual_seed(SEED)
    make, kind = NETWORKS[name]
    model, loss, inputs, targets = make()
    optimizer = (
        torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        if kind == "sgd"
        else torch.optim.AdamW(model.parameters(), 1e-4)
    )

    def step() -> float:
        started = time.perf_counter()
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
        return time.perf_counter() - started

    step()
    seconds = statistics.median(step() for _ in range(5))
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    report = wp.checkup(wp.TorchProblem(model, loss, (inputs, targets), optimizer=optimizer))
    spent = time.perf_counter() - started
    copies = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / size
    told = "ok" if report.ok else "not ok"
    print(
        f"| {name} | {size / 4e6:.1f} M | {seconds:.2f} s | {spent:.1f} s | {spent / seconds:.1f} | {report.evaluations} | {copies:.1f} "
        f"| {told} |",
        flush=True,
    )


def cost(_only: tuple[str, ...]) -> None:
    """The quick check-up in training steps (forward, backward, optimizer), and the most memory beyond training's in copies of the weights."""
    print("### What a quick check-up costs (targets: 40 steps, 2 copies)\n")
    print(
        "| network | parameters | one step | check-up | in steps | evaluations | extra copies | report |\n|---|---|---|---|---|---|---|---|"
    )
    sys.stdout.flush()
    for name in NETWORKS:
        subprocess.run(
            [sys.executable, __file__, "measure", name], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )


def main(words: list[str]) -> None:
    if words[:1] == ["measure"]:
        measure(words[1])
        return
    only = tuple(words[words.index("--only") + 1].split(",")) if "--only" in words else ()
    parts: dict[str, Callable[[tuple[str, ...]], None]] = {
        "programs": programs,
        "peers": peers,
        "cost": cost,
        "zoo": zoo,
    }
    wanted = [word for word in words if word in parts] or list(parts)
    for part in wanted:
        parts[part](only)
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
