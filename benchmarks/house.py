"""How the source is built, in figures: files, probes, literals, cycles, what a new rule touches, what the import takes.

python benchmarks/house.py [FOLDER ...]  (src/wellposed; another package's folder for comparison)
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

RUNS = 7
LONGEST_FILE, LONGEST_FUNCTION, SHORT_FILE, LONG_LINE = 400, 60, 60, 100  # lines, lines, lines, columns
EXPECTED = {0, 1, -1, 2}  # numbers that need no name in a comparison


def main(folders: list[str]) -> None:
    for folder in folders or ["src/wellposed"]:
        described(Path(folder))
    if not folders:
        imported()


def described(folder: Path) -> None:
    files = {path: path.read_text() for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts}
    trees = {path: ast.parse(text) for path, text in files.items()}
    lengths = [text.count("\n") for text in files.values()]
    lines = [line for text in files.values() for line in text.splitlines()]
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    probes = Counter(node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    functions = [
        (path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    long = [f"{path.relative_to(folder)}:{node.name}" for path, node in functions if _length(node) > LONGEST_FUNCTION]
    catches = sum(
        isinstance(node, ast.ExceptHandler) and _names(node.type) & {"Exception", "BaseException"} != set()
        for node in nodes
    )
    names = sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    print(f"### {folder}\n\n| | |\n|---|---|")
    rows = {
        "files, lines, median lines of a file": f"{len(files)}, {len(lines)}, {statistics.median(lengths):.0f}",
        f"files under {SHORT_FILE} lines": f"{100 * sum(length < SHORT_FILE for length in lengths) / len(lengths):.0f} %",
        f"files over {LONGEST_FILE} lines": _listed(
            str(p.relative_to(folder)) for p, t in files.items() if t.count("\n") > LONGEST_FILE
        ),
        f"functions over {LONGEST_FUNCTION} lines": _listed(long),
        "getattr and hasattr": str(probes["getattr"] + probes["hasattr"]),
        "except Exception": str(catches),
        "`Any` per 1,000 lines": f"{1000 * names / len(lines):.0f}",
        "bare literals in comparisons": str(sum(_bare(node) for node in nodes if isinstance(node, ast.Compare))),
        f"lines over {LONG_LINE} columns": f"{100 * sum(len(line) > LONG_LINE for line in lines) / len(lines):.1f} %",
        "names that mean two numbers": _listed(_two_meanings(trees)),
        "modules that share a name": _listed(f"{name} ({n})" for name, n in _names_of(files).items() if n > 2),
        "circles of imports": _listed(_circles(folder, trees)),
        "members of `Problem`": str(_members(trees, "Problem")),
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    print()


def _length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def _names(node: ast.expr | None) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} if node is not None else {"BaseException"}


def _bare(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    values = [side.value for side in sides if isinstance(side, ast.Constant)]
    return any(
        isinstance(value, int | float) and not isinstance(value, bool) and value not in EXPECTED for value in values
    )


def _two_meanings(trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Constants of one name and different numbers."""
    found: dict[str, set[str]] = {}
    for tree in trees.values():
        for node in tree.body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, int | float)
            ):
                for target in node.targets:
                    if isinstance(target, ast.Name) and re.fullmatch(r"_?[A-Z][A-Z_0-9]*", target.id):
                        found.setdefault(target.id, set()).add(repr(node.value.value))
    yield from (f"`{name}`" for name, values in sorted(found.items()) if len(values) > 1)


def _names_of(files: dict[Path, str]) -> Counter[str]:
    return Counter(path.name for path in files if path.name != "__init__.py")


def _circles(folder: Path, trees: dict[Path, ast.Module]) -> Iterator[str]:
    """Modules that import each other at the top, by depth-first search."""
    package = folder.name
    modules = {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in trees
    }
    edges = {
        name: {m for m in _imports(trees[path], modules) if m in modules and m != name}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def search(name: str, way: tuple[str, ...]) -> Iterator[str]:
        if name in way:
            yield " -> ".join((*way[way.index(name) :], name))
        elif name not in done:
            for other in sorted(edges[name]):
                yield from search(other, (*way, name))
            done.add(name)

    for name in sorted(edges):
        yield from search(name, ())


def _imports(tree: ast.Module, modules: Container[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from submodules
            if not all(name in modules for name in submodules):
                yield node.module


def _members(trees: dict[Path, ast.Module], name: str) -> int:
    """Public attributes, properties and methods of a class."""
    found = next(
        (node for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name),
        None,
    )
    if found is None:
        return 0
    named = {node.name for node in found.body if isinstance(node, ast.FunctionDef)}
    named |= {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return len({one for one in named if not one.startswith("_")})


def _listed(things: Iterator[str] | list[str]) -> str:
    found = list(things)
    return f"{len(found)}: {', '.join(found)}" if found else "0"


def imported() -> None:
    """Fresh processes, in turn: NumPy alone, and wellposed."""
    codes = ("import numpy", "import wellposed")
    rounds = [[_seconds(code) for code in codes] for _ in range(RUNS)]
    numpy, own = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"`import wellposed`: {own:.3f} s, {own / numpy:.2f} times `import numpy` ({numpy:.3f} s); medians of {RUNS} processes\n"
    )


def _seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(sys.argv[1:])
