"""What an explanation says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """`cause` is a named cause of WP501, `number` the factor or coefficient, `words` a sentence for the report."""

    cause: str
    words: str
    number: float = float("nan")
