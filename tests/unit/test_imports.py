"""Import rules that import-linter's contracts (pyproject.toml) cannot say."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
# numpy everywhere; pydantic where data is parsed; soxr and orjson at the rims of audio and wire.
CONVERSATION_LIBRARIES = {"numpy", "orjson", "pydantic", "pydantic_core", "soxr"}
# Telephone plans and check digits of all countries are data that nobody should keep a copy of.
PRIVACY_LIBRARIES = {"phonenumbers", "stdnum"}
# The core takes time and chance as arguments, and performs nothing.
CORE_FORBIDDEN = {
    "asyncio",
    "datetime",
    "logging",
    "os",
    "pathlib",
    "random",
    "socket",
    "subprocess",
    "threading",
    "time",
}
ENVIRONMENT_READER = "cluster/config/environment.py"


def imports_of(text: str) -> Iterator[str]:
    """Yield the dotted name of every module that a source imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def environment_reads(text: str) -> list[int]:
    """Return the lines that read the process's environment; setting a variable for a library is no read."""
    lines: list[int] = []
    tree = ast.parse(text)
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    written |= {
        id(node.func.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("setdefault", "update")
    }
    for node in ast.walk(tree):
        is_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if is_os and node.attr in ("environ", "environb", "getenv") and id(node) not in written:  # type: ignore[attr-defined]
            lines.append(node.lineno)  # type: ignore[attr-defined]
    return lines


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources("pipelines"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_conversation_imports_only_the_standard_library_and_few_others(path: Path) -> None:
    foreign = {
        name for name in imports_of(path.read_text("utf-8")) if name.partition(".")[0] not in sys.stdlib_module_names
    }
    is_privacy = path.parent == ROOT / "pipelines" / "privacy"
    allowed = CONVERSATION_LIBRARIES | {"pipelines"} | (PRIVACY_LIBRARIES if is_privacy else set())
    assert {name for name in foreign if name.partition(".")[0] not in allowed} == set()


@pytest.mark.parametrize("path", sources("pipelines/session"), ids=lambda path: path.name)
def test_session_core_imports_nothing_that_acts_or_knows_the_time(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports_of(path.read_text("utf-8"))}
    assert roots <= set(sys.stdlib_module_names) | {"pipelines"}
    assert roots & CORE_FORBIDDEN == set()


@pytest.mark.parametrize("path", sources("ingest_jobs"), ids=lambda path: path.name)
def test_ingest_jobs_use_engines_and_stores_and_no_other_part_of_deployments(path: Path) -> None:
    used = {name for name in imports_of(path.read_text("utf-8")) if name.partition(".")[0] == "deployments"}
    assert {name for name in used if not name.startswith(("deployments.engines", "deployments.stores"))} == set()


def test_environment_is_read_in_one_place() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}"
        for path in sources(*PRODUCT)
        if path.relative_to(ROOT).as_posix() != ENVIRONMENT_READER
        for line in environment_reads(path.read_text("utf-8"))
    ]
    assert not found, f"use cluster.config.environment.process_environment: {found}"


def test_environment_reads_are_told_from_writes() -> None:
    text = "import os\nos.environ['A'] = '1'\nos.environ.setdefault('A', '1')\nos.getenv('A')\nx = {**os.environ}\n"
    assert environment_reads(text) == [4, 5]
