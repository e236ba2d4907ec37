"""The random generators of Python and NumPy, left as they were found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def generators_restored() -> Iterator[None]:
    """Whatever is drawn within, the global generators of `random` and `numpy.random` come out unchanged.

    Entering it anew before every evaluation also gives each evaluation the same random numbers.
    """
    python, legacy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
