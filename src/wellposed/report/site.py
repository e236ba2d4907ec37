"""Where the documentation is, as the package says of itself."""

from __future__ import annotations

from functools import cache
from importlib.metadata import metadata


@cache
def page_of(rule: str = "") -> str:
    """The address of a rule's page, or of the first one; "" where the package was installed without any."""
    links = dict(link.split(", ", 1) for link in metadata("wellposed").get_all("Project-URL") or [])
    site = links.get("Documentation", "")
    return f"{site}rules/{rule}.html" if site and rule else site
