"""What a project has settled: `[tool.wellposed]` in pyproject.toml, and comments in the file that is checked.

    [tool.wellposed]
    files = ["problem.py"]
    select = ["WP2", "WP5"]
    budget = 120  # seconds

    [tool.wellposed.ignore]
    WP103 = "the border of these images is always black"

In the file `# wellposed: ignore WP103 the border is black` on a line of its own is about the whole file, at the end of
a line about what is found at that line.
"""

from __future__ import annotations

import io
import re
import tokenize
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from wellposed.catalogue import guess, names_a_rule
from wellposed.errors import InputError
from wellposed.findings import Finding, Verdict
from wellposed.reading import regular_text

_FILE = "pyproject.toml"
_KEYS = ("files", "select", "ignore", "budget")
_COMMENT = re.compile(r"#\s*wellposed:\s*(?P<word>\w+)\s*(?P<rest>.*)")
_RULES = re.compile(r"(?P<rules>WP\w*(?:\s*,\s*WP\w*)*)(?:[\s:]+(?P<reason>.*)|$)")


@dataclass(frozen=True)
class Ignored:
    """Rules, by their beginnings, that are not to be told of, why, who says so, and at which line alone (0: all)."""

    rules: tuple[str, ...]
    reason: str
    said_in: str
    line: int = 0


@dataclass(frozen=True)
class Settings:
    """Of a project. `source` is the file that they stand in, "" without one; `budget` is in seconds."""

    source: str = ""
    files: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = field(default=())
    budget: float = inf


def settings_of(folder: Path) -> Settings:
    """Those of the nearest pyproject.toml that has a table for wellposed, upwards from a folder. Raises `InputError`
    for what it does not know.
    """
    for place in (folder, *folder.parents):
        file = place / _FILE
        if file.is_file():
            table = _table(file)
            if table is not None:
                return _settings(table, file)
    return Settings()


def _table(file: Path) -> dict[str, Any] | None:
    try:
        found = tomllib.loads(regular_text(str(file)))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML: {error}") from error
    table = found.get("tool", {}).get("wellposed")
    if table is not None and not isinstance(table, dict):
        raise InputError(f"{file}: tool.wellposed must be a table")
    return table


def _settings(table: dict[str, Any], file: Path) -> Settings:
    unknown = sorted(table.keys() - set(_KEYS))
    if unknown:
        raise InputError(f"{file}: tool.wellposed knows no {unknown[0]!r}", hint=f"known: {', '.join(_KEYS)}")
    files = tuple(str(file.parent / name) for name in _strings(table, "files", file))
    ignore = table.get("ignore", {})
    if isinstance(ignore, dict):
        reasons = {name.upper(): reason for name, reason in ignore.items()}
        if not all(isinstance(reason, str) for reason in reasons.values()):
            raise InputError(f"{file}: tool.wellposed.ignore takes a reason for each rule", hint='WP103 = "why"')
    else:
        reasons = dict.fromkeys((name.upper() for name in _strings(table, "ignore", file)), "")
    ignored = tuple(Ignored((rule,), reason, file.name) for rule, reason in reasons.items())
    selected = tuple(name.upper() for name in _strings(table, "select", file))
    for key, names in (("select", selected), ("ignore", tuple(reasons))):
        _demand_rules(names, f"{file}: tool.wellposed.{key}")
    return Settings(str(file), files, selected, ignored, _budget(table, file))


def _demand_rules(names: Sequence[str], where: str) -> None:
    """Raises `InputError`: what is misspelt would be checked, or not ignored, in silence."""
    for name in names:
        if not names_a_rule(name):
            raise InputError(f"{where} names {name or 'an empty rule'!r}, which matches no rule", hint=guess(name))


def _budget(table: dict[str, Any], file: Path) -> float:
    found = table.get("budget", inf)
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        raise InputError(f"{file}: tool.wellposed.budget must be a number of seconds above 0", hint="budget = 120")
    return float(found)


def _strings(table: dict[str, Any], key: str, file: Path) -> list[str]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError(f"{file}: tool.wellposed.{key} must be a list of strings", hint=f'{key} = ["..."]')
    return found


def comments_in(file: Path) -> tuple[Ignored, ...]:
    """What a Python file says of itself. Raises `InputError` for a comment to wellposed that says something else."""
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(regular_text(str(file))).readline):
            if token.type == tokenize.COMMENT:
                said = _COMMENT.match(token.string)
                if said is not None:
                    alone = not token.line[: token.start[1]].strip()
                    found.append(_ignored(said, file, token.start[0], alone=alone))
    except (OSError, SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return tuple(found)  # running it says what is wrong
    return tuple(found)


def _ignored(said: re.Match[str], file: Path, line: int, *, alone: bool) -> Ignored:
    rules = _RULES.match(said["rest"]) if said["word"] == "ignore" else None
    if rules is None:
        raise InputError(
            f"{file} says {said[0]!r} at line {line}", hint="# wellposed: ignore WP103 and why: rules, then a reason"
        )
    names = tuple(name.strip() for name in rules["rules"].split(","))
    _demand_rules(names, f"{file}, line {line},")
    return Ignored(names, (rules["reason"] or "").strip(), f"{file.name}:{line}", 0 if alone else line)


def without_ignored(
    findings: Sequence[Finding], ignored: Sequence[Ignored], line_of: Callable[[Finding], int]
) -> tuple[Finding, ...]:
    """What is ignored is told as not applicable, with who says so: silence is never a pass."""
    return tuple(_kept(finding, ignored, line_of) for finding in findings)


def _kept(finding: Finding, ignored: Sequence[Ignored], line_of: Callable[[Finding], int]) -> Finding:
    for one in ignored if finding.found or finding.verdict is Verdict.UNDECIDED else ():
        if finding.rule.startswith(one.rules) and one.line in (0, line_of(finding)):
            why = f": {one.reason.rstrip('.')}" if one.reason else ""
            text = f"Ignored by {one.said_in}{why}. It was: {finding.message}"
            return replace(finding, verdict=Verdict.NOT_APPLICABLE, message=text, remedies=(), follows="")
    return finding
