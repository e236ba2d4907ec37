"""`wellposed explain`, `tour` and `completion`: what there is to know, and to type."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Group
from rich.text import Text

from wellposed.catalogue import CATALOGUE, guess
from wellposed.commands.app import HOLDS, app
from wellposed.errors import InputError
from wellposed.explained import explained, listed_rules
from wellposed.terminal import show


@app.command
def explain(
    rule: Annotated[
        str,
        Parameter(
            help="A rule (WP201), the beginning of several (WP2), a subject (signals), a cause (double-softmax); left"
            " out: all"
        ),
    ] = "",
    /,
) -> int:
    """What a rule claims, how it judges, which causes it knows and what helps; of several rules their titles."""
    named = rule.strip()
    found = [one for one in CATALOGUE.values() if one.id.startswith(named.upper()) or one.subject == named.lower()]
    found = found or [one for one in CATALOGUE.values() if named.lower() in (cause.slug for cause in one.causes)]
    if not found:
        raise InputError(f"there is no rule {rule!r}", hint=guess(named.upper()))
    show(explained(found[0]) if len(found) == 1 else listed_rules(found))
    return HOLDS


@app.command
def tour(chapter: Annotated[int | None, Parameter(help="1 to 6; left out: all of them")] = None, /) -> int:
    """The five notes and the training step, as short chapters that run."""
    from wellposed.tour import CHAPTERS
    from wellposed.tour.page import lay_out

    if chapter is not None and not 1 <= chapter <= len(CHAPTERS):
        raise InputError(f"there is no chapter {chapter}", hint=f"1 to {len(CHAPTERS)}")
    for number, made in enumerate(CHAPTERS, 1):
        if chapter in (None, number):
            show(Group(*([Text("")] if chapter is None and number > 1 else []), lay_out(number, made())))
    return HOLDS


@app.command
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that is to complete")] = "bash", /
) -> int:
    """Print a script that completes commands and options: eval "$(wellposed completion bash)" in ~/.bashrc."""
    print(app.generate_completion(shell=shell))
    return HOLDS
