"""The array types that annotations name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""float64 of any shape; a docstring that needs the shape gives it."""

Array = NDArray[Any]
"""NumPy of any dtype and shape."""
