"""How many files a value of a profile passes through until it is used, with `turn.min_silence_ms` as the example.

A file counts when it takes the value, or the object that holds it, out of one thing and puts it into another: whoever
follows the value has to read it. What carries a whole part along without looking into it (the loader, Serve, a
constructor) does not count.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
LONGEST_WAY = 8
# From the profile to the comparison: each file, and the name by which it takes hold of the value or of its holder.
WAY = (
    ("cluster/config/schema.py", "min_silence_ms"),
    ("cluster/config/parts.py", "turn"),
    ("deployments/gateway/call.py", "session_settings"),
    ("pipelines/wire/translate/__init__.py", "defaults"),
    ("pipelines/wire/translate/session_view.py", "turn_detection"),
    ("pipelines/session/listening.py", "turn_detection"),
    ("pipelines/session/turn_policy.py", "min_silence_ms"),
)
# Beside the way: the check of a profile, and the type that the session keeps the value in.
BESIDE = {"cluster/config/checks.py", "pipelines/session/settings.py"}


def names_of(path: Path) -> set[str]:
    """Return every attribute and keyword that a file uses, and every field that it declares."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            names.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_the_way_of_a_value_is_short() -> None:
    profile = 1
    assert profile + len(WAY) <= LONGEST_WAY


@pytest.mark.parametrize(("file", "name"), WAY)
def test_each_file_of_the_way_takes_hold_of_the_value(file: str, name: str) -> None:
    assert name in names_of(ROOT / file)


def test_no_file_off_the_way_names_the_value() -> None:
    folders = ("cluster", "deployments", "pipelines", "ingest_jobs", "autoscaling")
    files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    naming = {str(path.relative_to(ROOT)) for path in files if "min_silence_ms" in names_of(path)}
    assert naming <= {file for file, _ in WAY} | BESIDE
