"""Names and messages as they may be printed."""

from __future__ import annotations

import unicodedata


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
