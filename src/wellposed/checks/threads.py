"""Small problems are measured with one thread: where an operation takes microseconds, threads wait for each other more
than they work, and on a busy machine most of the time.
"""

from __future__ import annotations

import sys

from threadpoolctl import threadpool_limits

LONG = 0.05  # seconds that an evaluation takes from which on threads are worth while


class OneThread:
    """Within it linear algebra (BLAS, OpenMP, torch's own operations) has one thread, until it is lifted; after it, as
    many as before. What JAX compiles has the threads that it began with.
    """

    def __enter__(self) -> OneThread:
        torch = sys.modules.get("torch")  # which has a number of its own, where it is in use at all
        self._set = None if torch is None else torch.set_num_threads
        self._before = 1 if torch is None else torch.get_num_threads()
        self._limits: threadpool_limits | None = threadpool_limits(limits=1)
        if self._set is not None:
            self._set(1)
        return self

    def lift(self) -> None:
        """As many threads as before; nothing where it is lifted already."""
        if self._limits is not None:
            self._limits.restore_original_limits()
            self._limits = None
            if self._set is not None:
                self._set(self._before)

    def __exit__(self, *_: object) -> None:
        self.lift()
