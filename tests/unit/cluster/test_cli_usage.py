"""What commands say to wrong input, with which exit code; and what they tell the programs that they start."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cluster.caller.line import TurnResult
from cluster.caller.playout import Playout
from cluster.cli import app
from cluster.cli.call import DEFAULT_ANSWER_FILE, api_key_of
from cluster.cli.deploy import CALLS_LEFT
from cluster.cli.ingest.erase import erase
from cluster.cli.measuring import asr, bench, retrieve
from cluster.cli.options import config_of
from cluster.cli.preflight import preflight
from cluster.cli.render import serve
from cluster.cli.scaling.compare import TARGETS
from cluster.cli.scaling.simulate import SWEPT, numbers
from cluster.config.schema import VoxrayConfig
from cluster.programs import Program
from cluster.render.changes import Changes
from pipelines.errors import ConfigError

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("no_voxray_variables")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def plain(text: str) -> str:
    """Return an error box as one line of words."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("asr", "eval", "x.jsonl", "--engine", "vosk"), "'vosk' is not one of nemo, whisper, both"),
        (("asr", "eval", "x.jsonl", "--threads", "0"), "Invalid value for '--threads'"),
        (("bench", "--calls", "1,none", "--profile", "scripted"), "'1,none' is not a list of numbers like 1,2,4"),
        (("bench", "--calls", "0", "--profile", "scripted"), "'0' is not a list of numbers"),
        (("simulate", "--trace", "no-such.jsonl"), "'no-such.jsonl' is neither a file nor one of"),
        (("simulate", "--sweep", "colour=1", "--hours", "0.1"), f"with a name of {', '.join(SWEPT)}"),
        (("simulate", "--sweep", "headroom=a", "--hours", "0.1"), "'a' is not a list of numbers like 0.7,0.85"),
        (("compare", "--targets", "0.7"), "a frontier needs at least two of Ray's targets"),
        (("compare", "--traces", "weekly"), "'weekly' is not one of"),
        (("compare", "--devices", "abacus"), "unknown device abacus"),
        (("render", "kuberay", "--part", "half"), "'half' is not one of"),
        (("retrieve", "ask", "why", "--limit", "51"), "Invalid value for '--limit'"),
    ],
)
def test_wrong_input_is_named_and_is_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in plain(done.output)


@pytest.mark.parametrize("subject", ["", "somebody"])
def test_erase_wants_either_a_person_or_a_receipt(subject: str) -> None:
    with pytest.raises(ConfigError, match="--subject ID to erase a person, or --verify RECEIPT"):
        erase(subject=subject, verify=Path("receipt.json") if subject else None)


def test_receipt_that_does_not_hold_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    class Cluster:
        def ask(self, *question: Any) -> dict[str, Any]:
            asked.append(question)
            return {"holds": len(asked) > 1}

    monkeypatch.setattr("cluster.cli.ingest.erase.open_cluster", lambda _profile, _file: Cluster())
    receipt = tmp_path / "r.json"
    assert run("erase", "--verify", str(receipt), "--tenant", "acme").exit_code == 1
    assert run("erase", "--verify", str(receipt), "--tenant", "acme").exit_code == 0
    assert asked == [("verify", ["--receipt", str(receipt)], "acme")] * 2
    done = run("erase", "--subject", "ann", "--out", str(tmp_path / "out.json"))
    assert json.loads(done.stdout) == json.loads((tmp_path / "out.json").read_text()) == {"holds": True}


def test_unknown_profile_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-profile"):
        config_of("no-such-profile", None)
    settings = tmp_path / "mine.yaml"
    settings.write_text("profile: scripted\ningress: {port: 8123}\n")
    config = config_of(None, settings)
    assert (config.profile, config.ingress.port) == ("scripted", 8123)


def test_preflight_shows_findings_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cluster.lifecycle.attach", lambda _config: None)
    settings = tmp_path / "mine.yaml"
    settings.write_text("profile: scripted\ngateway: {api_key_env: NO_SUCH_KEY_HERE}\n")
    done = run("preflight", "--file", str(settings), "--here")
    assert done.exit_code == 2
    assert "secret-missing" in done.output
    assert "1 findings; the configuration would not work as it is" in done.output
    preflight(file=settings, here=False)
    assert "(elsewhere)" in capsys.readouterr().out


def test_profile_without_nodes_has_nothing_for_kubernetes_and_can_be_served(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = run("render", "kuberay", "--profile", "scripted")
    assert isinstance(done.exception, ConfigError)
    assert "take the profile nvidia or inferentia" in str(done.exception)
    serve("scripted")
    names = {application["name"] for application in yaml.safe_load(capsys.readouterr().out)["applications"]}
    assert "voxray" in names


class Child:
    """Stands in the place of a program that is started; ends with 3."""

    started: list[list[str]]

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        Child.started.append(command)
        assert env["HF_HUB_OFFLINE"] == "1"

    def wait(self) -> int:
        return 3


def test_question_without_a_command_is_asked_and_the_programs_exit_code_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Child.started = []
    monkeypatch.setattr(retrieve.subprocess, "Popen", Child)  # type: ignore[attr-defined]
    monkeypatch.setattr(retrieve, "_engines", lambda *_: ["--tenant", "acme"])
    done = run(
        "retrieve", "--where is it?", "--explain", "--milvus", "http://m.invalid", "--source", "a", "--where", "x<=1"
    )
    assert done.exit_code == 2  # what looks like an option is none of ours
    done = run(
        "retrieve", "where is it?", "--explain", "--milvus", "http://m.invalid", "--source", "a", "--where", "x<=1"
    )
    assert done.exit_code == 3
    (command,) = Child.started
    told = command[len(Program.RETRIEVAL.command()) :]
    assert told[:3] == ["ask", "--milvus", "http://m.invalid"]
    assert told[-3:] == ["--explain", "--", "where is it?"]
    assert {"--where=x<=1", "--source", "acme"} <= set(told)


def test_search_without_a_cluster_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "attach", lambda _config: None)
    done = run("retrieve", "why?", "--profile", "embedded")
    assert isinstance(done.exception, ConfigError)
    assert "`voxray up` starts it; or give --milvus URI" in str(done.exception)


def test_training_is_told_its_folders_and_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[tuple[Program, list[str]]] = []
    monkeypatch.setattr(asr, "_run", lambda program, arguments: started.append((program, arguments)))
    monkeypatch.setattr(asr, "_config", lambda _profile, _file: VoxrayConfig(profile="scripted"))
    monkeypatch.setattr(asr, "_state", lambda _config: tmp_path)
    assert run("asr", "train", "--minutes", "5", "--resume").exit_code == 0
    ((program, told),) = started
    assert program is Program.SPEECH_TRAINING
    assert told[:4] == ["train", str(tmp_path / "asr-corpus"), "--folder", str(tmp_path / "asr-training")]
    assert "--resume" in told
    assert "--bfloat16" not in told
    assert "--start-from" not in told


def test_numbers_are_read_with_gaps() -> None:
    assert numbers(" 0.7, ,0.85,") == [0.7, 0.85]
    assert len(numbers(TARGETS)) >= 2
    assert bench._numbers("1, 4,") == [1, 4]


def test_drain_that_leaves_calls_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [2, 0]
    waits: list[float] = []

    def drain(_config: object, _console: object, *, timeout_s: float, show: Any) -> int:
        waits.append(timeout_s)
        show(3)
        show(3)
        return left.pop(0)

    monkeypatch.setattr("cluster.lifecycle.rollouts.operations.drain", drain)
    done = run("drain", "--profile", "scripted", "--timeout", "7")
    assert done.exit_code == CALLS_LEFT
    assert "2 calls are still open after 7 s" in done.output
    assert done.output.count("3 calls are open") == 1
    assert run("drain", "--profile", "scripted").exit_code == 0
    assert waits == [7, VoxrayConfig(profile="scripted").ingress.longest_call_s]


def test_deployment_that_is_only_looked_at_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    agreed: list[bool] = []

    def deploy(_config: object, _console: object, *, show: Any, progress: object) -> None:
        assert progress is not None
        agreed.append(show(Changes((), keeps_calls=True, leaving=(), needs_restart=())))

    monkeypatch.setattr("cluster.lifecycle.rollouts.operations.deploy", deploy)
    looked = run("deploy", "--profile", "scripted", "--dry-run")
    made = run("deploy", "--profile", "scripted")
    assert agreed == [False, True]
    assert "nothing changes" in looked.output
    assert made.exit_code == 0


def test_call_with_a_wrong_recording_starts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cluster.cli.call._up_with_sample_data", lambda *_: pytest.fail("a cluster was started"))
    broken = tmp_path / "x.wav"
    broken.write_bytes(b"no recording")
    done = run("call", "--wav", str(broken), "--profile", "scripted")
    assert done.exit_code != 0
    assert not isinstance(done.exception, AssertionError)


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1)])
def test_call_saves_a_complete_answer_alone(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def held(*_: object) -> TurnResult:
        return TurnResult(status=status, playout=Playout(pcm_24k=bytearray(48_000)))

    async def spoken(*_: object) -> None:
        return None

    monkeypatch.setattr("cluster.cli.call._up_with_sample_data", lambda *_: None)
    monkeypatch.setattr("cluster.cli.call._spoken", spoken)
    monkeypatch.setattr("cluster.cli.call._held_call", held)
    out = tmp_path / DEFAULT_ANSWER_FILE
    done = run("call", "--profile", "scripted", "--out", str(out))
    assert done.exit_code == code
    assert out.exists() is (code == 0)


def test_key_of_the_gateway_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    config = VoxrayConfig.model_validate({"profile": "scripted", "gateway": {"api_key_env": "MY_GATEWAY_KEY"}})
    monkeypatch.setenv("MY_GATEWAY_KEY", "k")
    assert api_key_of(config) == "k"
    monkeypatch.delenv("MY_GATEWAY_KEY")
    with pytest.raises(ConfigError, match="MY_GATEWAY_KEY"):
        api_key_of(config)


def test_module_is_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["voxray", "frobnicate"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("cluster.cli.__main__", run_name="__main__")
    assert left.value.code == 2
