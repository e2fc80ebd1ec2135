"""Programs are started by name; each name is one of a module that runs, and no name stands anywhere else."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

from cluster.programs import Program

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines")
# "path": why it starts a module that is none of ours, or itself.
OTHERS = {
    "cluster/catalog/indexes.py": "pip",
    "ingest_jobs/knowledge/read/formats/confined.py": "itself",
}


# Libraries that programs import, such as Ray, warn of each other.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("program", Program, ids=lambda program: program.name)
def test_program_can_be_imported_and_runs_when_it_is_started(program: Program) -> None:
    module = importlib.import_module(program)
    assert module.__file__ is not None
    assert re.search(r'^if __name__ == "__main__":', Path(module.__file__).read_text("utf-8"), re.MULTILINE)


def test_command_line_is_of_the_interpreter_that_runs_it() -> None:
    assert Program.REINDEX.command("--help") == [sys.executable, "-m", "ingest_jobs.knowledge.run.reindex", "--help"]
    there = Program.DRAIN_WATCH.command("5", "main", python="python")
    assert there == ["python", "-m", "deployments.commands.drain_watch", "5", "main"]


def test_programs_are_named_in_one_place() -> None:
    started = {
        path.relative_to(ROOT).as_posix()
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and (node.value == "-m" or node.value in set(Program))
    }
    assert started == {"cluster/programs.py", *OTHERS}
