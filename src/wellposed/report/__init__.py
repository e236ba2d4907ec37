"""Showing a record: as text and as JSON. This package knows findings and nothing else of wellposed."""

import random

_state = random.getstate()  # rich draws as it is imported, and a user's numbers would be others
from wellposed.report.report import Report  # noqa: E402

random.setstate(_state)

__all__ = ["Report"]
