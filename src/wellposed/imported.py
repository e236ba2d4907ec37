"""What is to be done as soon as a package is imported."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class WhenImported(MetaPathFinder):
    """Enter it, and each function is called when its package has been imported, at once where it has been already."""

    def __init__(self, then: Mapping[str, Callable[[], None]]) -> None:
        self._then = dict(then)
        self._asked: set[str] = set()

    def __enter__(self) -> WhenImported:
        for name in [name for name in self._then if name in sys.modules]:
            self._then.pop(name)()
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: Any) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._then or fullname in self._asked:
            return None
        self._asked.add(fullname)  # the other finders are asked, and not this one again
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asked.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, lambda: self._then.pop(fullname, _nothing)())
        return spec


def _nothing() -> None:
    """Is to be done a second time."""


class _Then(Loader):
    def __init__(self, own: Any, then: Callable[[], None]) -> None:
        self._own, self._then = own, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._own.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._own
        self._own.exec_module(module)
        self._then()
