"""What `import wellposed` takes beyond numpy and scipy: medians of fresh processes, the two in turn."""

import statistics
import subprocess
import sys
import time

import wellposed as wp

RUNS = 9


def seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    pairs = [(seconds("import numpy, scipy"), seconds("import numpy, scipy, wellposed")) for _ in range(RUNS)]
    base, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"wellposed {wp.__version__}, Python {sys.version.split()[0]}; medians of {RUNS} processes each")
    print(
        f"numpy, scipy: {base:.3f} s; with wellposed: {whole:.3f} s; wellposed alone: {whole - base:.3f} s, {whole / base:.2f} times"
    )


if __name__ == "__main__":
    main()
