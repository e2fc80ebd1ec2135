"""The command table."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cluster.cli import COMMANDS, app, main
from pipelines.errors import ConfigError, EngineError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_a_module_that_exists(name: str) -> None:
    assert importlib.util.find_spec(COMMANDS[name].target.partition(":")[0]) is not None


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys\nfrom cluster.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'ray', 'torch', 'cluster.cli.models'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, entry in COMMANDS.items():
        assert f"{name} " in run.stdout
        assert entry.help in run.stdout


def test_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(app, ["frobnicate"]).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("a.yaml: wrong"), 2, "voxray: configuration: a.yaml: wrong"),
        (EngineError("redis", "gone", retryable=False), 1, "voxray: redis: gone"),
    ],
)
def test_error_of_ours_is_one_message_and_an_exit_code(
    error: Exception, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("cluster.cli.app", fail)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
    assert capsys.readouterr().err.strip() == message
