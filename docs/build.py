"""Build the documentation into `build/site`: its sources are made, its examples run. Whatever is amiss ends it: a
warning, a link that leads nowhere, an example that raises.

    python docs/build.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import generate

_ROOT = Path(__file__).parent.parent
_AMISS = re.compile(r"exited with errors|\b[1-9]\d* issues? found", re.I)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """The exit status; what was said is printed only where something is amiss."""
    generate.main()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(_ROOT / "mkdocs.yml")]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    said = _COLOURS.sub("", done.stdout + done.stderr)
    if done.returncode or _AMISS.search(said):
        print(said, file=sys.stderr)
        return done.returncode or 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
