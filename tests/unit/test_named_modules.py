"""Each module of the product is named by a test: imported, or written out as the target of a patch or a start.

A module that only others' tests reach breaks in a place where nobody looks for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
DOTTED = re.compile(r"[a-z_]+(?:\.[A-Za-z_0-9]+)+")


def modules() -> Iterator[str]:
    """Yield the modules that hold code; a package with a docstring alone is none."""
    for path in sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        if not is_package or any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text("utf-8")).body):
            yield ".".join(parts[:-1] if is_package else parts)


def names_in(text: str) -> Iterator[str]:
    """Yield every dotted name that a test imports or writes out, with all its beginnings."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for name in DOTTED.findall(node.value):
                parts = name.split(".")
                yield from (".".join(parts[:count]) for count in range(2, len(parts) + 1))


def test_every_module_is_named_by_a_test() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__).resolve()]
    named = {name for path in tests for name in names_in(path.read_text("utf-8"))}
    assert sorted(set(modules()) - named) == [], "write a test that names it"


def test_imports_and_written_names_are_found() -> None:
    text = "from a.b import c\nimport d.e\npatch('f.g.H.run')\n"
    assert set(names_in(text)) == {"a.b", "a.b.c", "d.e", "f.g", "f.g.H", "f.g.H.run"}
