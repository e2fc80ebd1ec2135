"""Hides modules that HIDDEN_MODULES names, as if they were not installed. Python imports this at its start."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_HIDDEN = frozenset(os.environ.get("HIDDEN_MODULES", "").split())


class _PartialFinder(PathFinder):
    """Finds what Python's own finder finds, but for installed packages that are hidden (Ray has copies of some)."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in _HIDDEN:
            path = [folder for folder in sys.path if not folder.endswith("site-packages")]
        return super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = _PartialFinder
