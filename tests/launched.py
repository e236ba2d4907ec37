"""Programs on several ranks on loopback, as torchrun starts them, without its own process."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass


@dataclass
class Launched:
    returncode: int
    stdout: str
    stderr: str


def on_ranks(ranks, *command, timeout=300):
    """All that the ranks print, the first one's first; the status is the first that is not 0. `command` follows the
    interpreter.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]
    try:
        said = [one.communicate(timeout=timeout) for one in started]
    finally:
        for one in started:
            one.kill()
    status = next((one.returncode for one in started if one.returncode), 0)
    return Launched(status, "".join(out for out, _ in said), "".join(err for _, err in said))
