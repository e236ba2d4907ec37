"""Names and messages as they may be printed."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any


def harmless(text: str) -> str:
    """Text in which no control character reaches a terminal: names come from files that nobody may have looked at.
    Lines and tabs stay.
    """
    return "".join(
        char if char in "\n\t" or not _controls(char) else char.encode("unicode_escape").decode() for char in text
    )


def _controls(char: str) -> bool:
    """Escape sequences and marks that turn the direction of writing, as Unicode counts them; halves of characters
    cannot be printed.
    """
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def name_of(function: Any) -> str:
    """What a function is called, or the class of what has no name."""
    return str(getattr(function, "__name__", type(function).__name__))


def listed(things: Sequence[str], most: int = 4) -> str:
    """The first few, and how many more there are."""
    more = len(things) - most
    return ", ".join(things[:most]) + (f" and {more} more" if more > 0 else "")


def with_article(noun: str) -> str:
    """`a Module`, `an int`."""
    return f"{'an' if noun[:1] in 'aeiouAEIO' else 'a'} {noun}"
