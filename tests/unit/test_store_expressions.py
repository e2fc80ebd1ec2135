"""No file but `deployments/engines/milvus/expressions.py` writes a filter expression for Milvus.

With it, that no search and no job leaves the tenant out can be read in one file: whatever takes an expression takes
the type that only this file makes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.engines.milvus.fields import NUMBER_COLUMNS, TEXT_COLUMNS
from deployments.engines.milvus.schema import LEDGER_DEFAULTS, STORED_FIELDS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
HOME = "deployments/engines/milvus/expressions.py"
COLUMNS = {"pk", "tenant", *STORED_FIELDS, *LEDGER_DEFAULTS, *TEXT_COLUMNS, *NUMBER_COLUMNS}
# A column, an operator and a literal; or the beginnings of one that is put together.
EXPRESSION = re.compile(
    rf"(?:^|[\s(])(?:{'|'.join(sorted(COLUMNS))})\s*(?:[=!<>]=|[<>]|(?:not )?in \[|like )|\}} (?:not )?in \[",
    re.IGNORECASE,
)
QUOTED_COMPARISON = re.compile(r"\w\s*[=!]=\s*[\"']|\bin \[[\"'{]")


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the strings of a source as written, f-strings with their braces; docstrings and parts left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            pieces = [part.value if isinstance(part, ast.Constant) else "{x}" for part in node.values]
            yield node.lineno, "".join(map(str, pieces))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            yield node.lineno, node.value


def expressions_in(text: str) -> list[int]:
    """Return the lines on which a source writes a filter expression."""
    found = [
        line for line, each in texts_of(ast.parse(text)) if EXPRESSION.search(each) or QUOTED_COMPARISON.search(each)
    ]
    return sorted(set(found))


def test_only_one_file_writes_filter_expressions() -> None:
    files = {path.relative_to(ROOT).as_posix(): path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")}
    found = [
        f"{name}:{line}"
        for name, path in sorted(files.items())
        if name != HOME
        for line in expressions_in(path.read_text("utf-8"))
    ]
    assert not found, f"put it into {HOME}: {found}"


def test_only_one_file_makes_values_of_the_type() -> None:
    made = re.compile(r"\bExpression\(")
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "deployments/engines/milvus").rglob("*.py")
        if made.search(path.read_text("utf-8"))
    }
    jobs = {path.name for path in (ROOT / "ingest_jobs").rglob("*.py") if made.search(path.read_text("utf-8"))}
    assert makers == {HOME}
    assert not jobs


@pytest.mark.parametrize(
    "line",
    [
        "f'subject == \"{digest}\"'",
        "f'doc in [{listed}]'",
        "'expires_at > 0'",
        "f'{column} in [{values}]'",
        "'pk != \"\"'",
        "f' and origin != \"{origin}\"'",
    ],
)
def test_an_expression_is_found(line: str) -> None:
    assert expressions_in(f"x = {line}") == [1]
