"""The line of the user's file that a finding is about, as far as it or names tell."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

from wellposed.findings import Finding

_NAMES = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def place_in(file: Path, name: str, finding: Finding) -> tuple[str, int]:
    """The file, as it was named, and the line of it that the finding tells, else the one that `line_of` finds."""
    said = f"{finding.where} {finding.message}"
    told = re.search(rf"(?<![\w.-]){re.escape(file.name)}:(\d+)", said)
    if told is not None:
        return file.as_posix(), int(told[1])
    shown = re.search(r"\bline (\d+): `([^`]+)`", said)  # of this file or of another: the text says which
    if shown is not None and _line(file, int(shown[1])).strip().startswith(shown[2].removesuffix("...")):
        return file.as_posix(), int(shown[1])
    return file.as_posix(), line_of(file, finding.where, name)


def line_of(file: Path, where: str, name: str) -> int:
    """Where what `where` starts with is assigned (`self.layers = ...` for layers.3.weight), else where the problem
    `name` is; else 1.
    """
    assigned = _assigned(_text(file))
    first = _NAMES.match(where)
    return assigned.get(first[0] if first else "", assigned.get(name, 1))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError:
        return ""


def _line(file: Path, number: int) -> str:
    lines = _text(file).splitlines()
    return lines[number - 1] if 0 < number <= len(lines) else ""


@lru_cache(maxsize=8)  # a report asks for each finding in each of its forms
def _assigned(text: str) -> dict[str, int]:
    """Where each name is first given a value; nothing of what is no Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    assigned: dict[str, int] = {}
    for node in ast.walk(tree):
        for given in _given(node):
            assigned.setdefault(given, node.lineno)  # type: ignore[attr-defined]
    return assigned


def _given(node: ast.AST) -> list[str]:
    """The names that a statement gives a value to."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        places = [
            place
            for target in node.targets
            for place in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
        ]
    elif isinstance(node, ast.AnnAssign):
        places = [node.target]
    else:
        return []
    return [
        place.attr if isinstance(place, ast.Attribute) else place.id
        for place in places
        if isinstance(place, ast.Attribute | ast.Name)
    ]
