"""No file over 400 lines, no function over 40 (docstring not counted), no folder over 14 modules. Ruff has no rule."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines", "tests")
FILE_LINES = 400
FUNCTION_LINES = 40
FOLDER_MODULES = 14

# "path" or "path::function": the reason, one line each.
ALLOWED: dict[str, str] = {}


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def oversized(name: str, text: str) -> Iterator[str]:
    """Yield every limit that a source breaks, as "where: lines"."""
    line_count = len(text.splitlines())
    if line_count > FILE_LINES and name not in ALLOWED:
        yield f"{name}: {line_count} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where, lines = f"{name}::{node.name}", function_lines(node)
            if lines > FUNCTION_LINES and where not in ALLOWED:
                yield f"{where}: {lines} lines"


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def test_sources_stay_within_the_limits() -> None:
    files = sources()
    assert len(files) > 20
    found = [line for path in files for line in oversized(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))]
    assert not found, "\n".join(["too long (split, or allow it with a reason):", *found])


def crowded(paths: Iterable[Path]) -> dict[str, int]:
    """Return the folders of product code with too many modules, `__init__` not counted."""
    modules = Counter(path.parent.as_posix() for path in paths if path.name != "__init__.py")
    return {folder: count for folder, count in modules.items() if count > FOLDER_MODULES}


def test_folders_of_product_code_hold_no_more_modules_than_can_be_seen_at_once() -> None:
    assert crowded(path.relative_to(ROOT) for path in sources() if "tests" not in path.parts) == {}


def test_a_folder_of_15_modules_is_found() -> None:
    modules = [Path(f"a/{number}.py") for number in range(15)]
    assert crowded([*modules, Path("a/__init__.py")]) == {"a": 15}
    assert crowded(modules[1:]) == {}


def test_allowed_excesses_exist() -> None:
    known = {path.relative_to(ROOT).as_posix() for path in sources()}
    assert {name.partition("::")[0] for name in ALLOWED} <= known


def test_a_function_of_41_lines_is_found_and_its_docstring_is_not_counted() -> None:
    body = "\n".join(["    x = 1"] * 40)
    assert list(oversized("m.py", f"def f():\n{body}\n")) == ["m.py::f: 41 lines"]
    shorter = "\n".join(["    x = 1"] * 39)
    assert list(oversized("m.py", f'def f():\n    """Long\n\n    text."""\n{shorter}\n')) == []


def test_a_file_of_401_lines_is_found() -> None:
    assert list(oversized("m.py", "x = 1\n" * 401)) == ["m.py: 401 lines"]
