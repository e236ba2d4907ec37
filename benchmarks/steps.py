"""Training scripts run unchanged: captured, made again, gone on with bit for bit; and faults planted in their steps.

    python benchmarks/steps.py [healthy|faulty] [part of a name]

`healthy`: every script is run by itself and with `wellposed run --continue`; the last line that it prints, a digest of
all its weights, must be the same. `faulty`: `wellposed run` must find the rule that the file's head names (found), with
its cause (named).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(words: list[str]) -> tuple[int, str, str, float]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    return done.returncode, done.stdout, done.stderr, time.perf_counter() - start


def watched(script: Path, *options: str) -> tuple[dict, str, str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        _, said, errors, _ = run(["-m", "wellposed", "run", "--json", str(out), *options, str(script)])
        return (json.loads(out.read_text()) if out.exists() else {}), said, errors


def digest(said: str) -> str:
    return next((line for line in said.splitlines() if line.startswith("digest ")), "none")


def healthy(script: Path) -> tuple[str, bool]:
    _, alone, _, seconds = run([str(script)])
    start = time.perf_counter()
    report, said, errors = watched(script, "--continue")
    longer = time.perf_counter() - start - seconds
    same = digest(alone) == digest(said) != "none"
    found = [f for f in report.get("findings", ()) if f["verdict"] in ("fails", "suspect")]
    unlike = [f["message"] for f in report.get("findings", ()) if "could not be" in f["message"]]
    told = " ".join(f"{f['rule']}:{f['cause'] or '-'}:{f['verdict']}" for f in found)
    good = same and bool(report) and not unlike
    tail = "" if report else errors.strip()[-300:]
    fails = any(f["verdict"] == "fails" for f in found)
    line = f"{script.stem:24s} {'same' if same else 'OTHER':5s} {'' if report else 'no report'} {longer:+5.1f} s  {told} {unlike[:1] or ''} {tail}"
    return line, good and not fails


def faulty(script: Path) -> tuple[str, bool, bool]:
    head = dict(re.findall(r"^# (rule|cause): (\S+)", script.read_text(), re.M))
    options = ["--continue"] if head["rule"] == "WP606" else []
    report, _, errors = watched(script, *options)
    found = [f for f in report.get("findings", ()) if f["verdict"] in ("fails", "suspect")]
    of_rule = [f for f in found if f["rule"] == head["rule"]]
    named = any(f["cause"] == head["cause"] for f in of_rule)
    told = " ".join(f"{f['rule']}:{f['cause'] or '-'}" for f in found)
    tail = "" if report else errors.strip()[-300:]
    mark = "named" if named else "found" if of_rule else "-----"
    return f"{script.stem:48s} {head['cause']:20s} {mark}  {told} {tail}", bool(of_rule), named


def main(arguments: list[str]) -> None:
    kinds = [argument for argument in arguments if argument in ("healthy", "faulty")] or ["healthy", "faulty"]
    part = next((argument for argument in arguments if argument not in kinds), "")
    with ThreadPoolExecutor(2) as pool:
        for kind in kinds:
            files = [file for file in sorted((SCRIPTS / kind).glob("*.py")) if part in file.stem]
            results = []
            for result in pool.map(healthy if kind == "healthy" else faulty, files):
                print(result[0], flush=True)
                results.append(result[1:])
            counts = [sum(column) for column in zip(*results, strict=True)]
            if kind == "healthy":
                print(f"\ncaptured, made again, the same to the bit, no `fails`: {counts[0]} of {len(files)}\n")
            else:
                print(f"\nfound {counts[0]} of {len(files)}, named {counts[1]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
