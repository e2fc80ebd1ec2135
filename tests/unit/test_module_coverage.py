"""The check of what the unit tests cover counts each module by itself."""

from __future__ import annotations

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "module-coverage"


def script() -> Any:
    loader = SourceFileLoader("module_coverage", str(SCRIPT))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


def measured(percent: float, lines: list[int], branches: list[list[int]]) -> dict[str, Any]:
    return {"summary": {"percent_covered": percent}, "missing_lines": lines, "missing_branches": branches}


def checked(files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"files": files}), "utf-8")
    monkeypatch.setattr("sys.argv", ["module-coverage", str(report)])
    code: int = script().main()
    return code


def test_a_module_under_the_bound_is_named_with_what_was_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "pipelines/good.py": measured(99.0, [4], []),
        "pipelines/thin.py": measured(94.9, [7, 8], [[6, 7], [9, -1]]),
        "cluster/elsewhere.py": measured(10.0, [1], []),
    }
    assert checked(files, tmp_path, monkeypatch) == 1
    assert capsys.readouterr().err == "pipelines/thin.py: 94.9%, not run: 7, 8, 6->7, 9->exit\n"


def test_modules_that_are_covered_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked({"pipelines/good.py": measured(95.0, [], [])}, tmp_path, monkeypatch) == 0
    assert capsys.readouterr().out == "1 modules, each covered by 95.0% or more\n"


def test_a_report_of_something_else_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked({"cluster/x.py": measured(100.0, [], [])}, tmp_path, monkeypatch) == 1
