"""Combinations of settings that cannot work, and secrets that must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.config import app
from cluster.config.loading import load_config
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit

PRODUCTION = {
    "VOXRAY__SERVICES__REDIS__URL": "rediss://redis.internal:6379",
    "VOXRAY__SERVICES__MILVUS__URI": "http://milvus.internal:19530",
    "VOXRAY__SERVICES__SQL__URL": "postgresql://voxray@db.internal/voxray",
    "VOXRAY__SERVICES__OBJECTS__URL": "s3://bucket",
}


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, no_voxray_variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def variables(**settings: object) -> dict[str, str]:
    return {f"VOXRAY__{key.upper()}": str(value) for key, value in settings.items()}


def complaint(profile: str, environment: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(profile, None, environment)
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gateway__replicas__min_replicas": 3}, "gateway.replicas.max_replicas"),
        ({"turn__min_silence_ms": 1300}, "turn.min_silence_ms = 1300: must be at most turn.max_silence_ms"),
        ({"turn__speculation_silence_ms": 1300}, "turn.speculation_silence_ms = 1300"),
        ({"pools__language_model__default__replicas__num_gpus": 0.5}, "the profile embedded has no accelerator"),
        ({"pools__language_model__default__replicas__neuron_cores": 2}, "asks for 2 NeuronCores"),
        ({"pools__language_model__default__engine": "neuron"}, "runs on Inferentia only"),
        ({"pools__language_model__default__engine": "riva"}, "allowed: one of vllm, neuron, scripted"),
        ({"pools__language_model__other__max_num_seq": 3}, "did you mean max_num_seqs?"),
        ({"routes__synthesizer": "[warm]"}, "there is no pool warm; pools of this stage: default"),
        ({"answering__max_tokens": 4096}, "must leave room for the prompt"),
        ({"ingress__host": "0.0.0.0"}, "gateway.api_key_env must name the variable"),
        ({"ingress__host": "voice.example"}, "gateway.api_key_env must name the variable"),
        ({"ingress__drain_s": 7200}, "must be at most ingress.longest_call_s"),
        ({"gateway__max_calls": 501}, "at most gateway.replicas.max_ongoing_requests, which is 500"),
        ({"ray__num_cpus": 4}, "the smallest number of replicas asks for 5"),
        ({"services__redis__url": "http://h"}, "redis://... or rediss://..."),
        ({"services__objects__url": "gs://b"}, "s3://..."),
        ({"pools__transcriber__default__model": "../whisper"}, "takes the name of a catalog entry"),
        (
            {"pools__transcriber__default__engine": "nemo", "pools__transcriber__default__chunk_ms": 100},
            "must be a multiple of 80",
        ),
        (
            {"pools__transcriber__default__engine": "nemo", "pools__transcriber__default__device": "cuda"},
            "needs a GPU, or a fraction of one",
        ),
        (
            {"pools__transcriber__default__engine": "nemo", "pools__transcriber__default__replicas__max_replicas": 2},
            "streams do not count as requests to Ray Serve",
        ),
        ({"hearing__link__answer_s": 10}, "must be less than hearing.link.wait_s = 10"),
    ],
)
def test_impossible_embedded_setting_is_refused(settings: dict[str, object], expected: str) -> None:
    assert expected in complaint("embedded", variables(**settings))


@pytest.mark.parametrize(
    ("profile", "settings", "expected"),
    [
        ("nvidia", {"pools__transcriber__default__replicas__num_gpus": 0}, "needs a GPU, or a fraction of one"),
        ("nvidia", {"pools__transcriber__default__replicas__num_gpus": 1.5}, "a fraction below 1 or a whole number"),
        (
            "nvidia",
            {"pools__language_model__default__replicas__neuron_cores": 2},
            "cannot be set beside num_gpus, which is 1",
        ),
        ("nvidia", {"pools__language_model__default__replicas__num_gpus": 0.5}, "is a share of the whole GPU"),
        ("nvidia", {"services__redis__url": "redis://h"}, "allowed with the profile nvidia: rediss://..."),
        ("nvidia", {"services__sql__url": "sqlite:///x"}, "postgresql://..."),
        ("inferentia", {"pools__transcriber__default__replicas__num_gpus": 1}, "an Inferentia node has no GPU"),
        ("inferentia", {"pools__language_model__default__engine": "vllm"}, "does not run on Inferentia"),
        (
            "inferentia",
            {"pools__transcriber__default__engine": "nemo"},
            "is not in the images of Inferentia clusters",
        ),
        ("nvidia", {"pools__transcriber__default__device": "cpu"}, "leaves idle the GPU"),
        (
            "inferentia",
            {"pools__language_model__default__replicas__neuron_cores": 0},
            "the engine neuron needs whole NeuronCores",
        ),
    ],
)
def test_impossible_production_setting_is_refused(profile: str, settings: dict[str, object], expected: str) -> None:
    assert load_config(profile, None, PRODUCTION).profile == profile
    assert expected in complaint(profile, PRODUCTION | variables(**settings))


@pytest.mark.parametrize("missing", sorted(PRODUCTION))
def test_production_profile_needs_every_address(missing: str) -> None:
    path = missing.removeprefix("VOXRAY__").lower().replace("__", ".")
    message = complaint("nvidia", {key: value for key, value in PRODUCTION.items() if key != missing})
    assert f"not set: {path}: the profile nvidia starts no local services" in message


def test_open_host_is_allowed_with_a_key_and_loopback_without() -> None:
    assert load_config(None, None, variables(ingress__host="::1")).ingress.host == "::1"
    opened = variables(ingress__host="0.0.0.0", gateway__api_key_env="VOXRAY_KEY")
    assert load_config(None, None, opened).gateway.api_key_env == "VOXRAY_KEY"


def test_number_of_cpus_is_not_checked_when_joining_a_cluster() -> None:
    assert load_config(None, None, variables(ray__num_cpus=1, ray__address="10.0.0.1:6379")).ray.num_cpus == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"services__redis__url": "redis://me:hunter2@h:1"}, "services.redis.password_env"),
        ({"services__milvus__uri": "http://h?token=hunter2"}, "services.milvus.token_env"),
        ({"services__sql__url": "postgresql://me:hunter2@h/db"}, "services.sql.password_env"),
        ({"gateway__api_key_env": "sk-hunter2"}, "takes the NAME of an environment variable"),
        ({"services__redis__url": "ftp://me:hunter2@h:1"}, "services.redis.url"),
    ],
)
def test_secret_in_a_setting_is_refused_and_not_shown(settings: dict[str, object], expected: str) -> None:
    message = complaint("embedded", variables(**settings))
    assert expected in message
    assert "hunter2" not in message


def test_value_of_an_unknown_key_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("services: {redis: {password: hunter2}}")
    with pytest.raises(ConfigError) as caught:
        load_config(None, file, {})
    assert "services.redis.password: unknown key" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_show_prints_the_tree_so_that_it_can_be_read_back(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["show"], env={"VOXRAY__TOPOLOGY__IMAGE_REPOSITORY": "fjord: & co #1"})
    assert shown.exit_code == 0
    file = tmp_path / "back.yaml"
    file.write_text(shown.output)
    assert load_config(None, file, {}).topology.image_repository == "fjord: & co #1"


def test_show_origin_names_the_variable_beside_its_value() -> None:
    shown = CliRunner().invoke(app, ["show", "--origin"], env={"VOXRAY__GATEWAY__MAX_CALLS": "7"})
    line = next(line for line in shown.output.splitlines() if "max_calls:" in line)
    assert line.split("#")[1].strip() == "environment variable VOXRAY__GATEWAY__MAX_CALLS"


def test_check_judges_the_file_and_not_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text("gateway: {max_calls: 7}")
    judged = CliRunner().invoke(app, ["check", str(file)], env={"VOXRAY__GATEWAY__MAX_CALLS": "no"})
    assert judged.exit_code == 0
    assert "right, with the profile embedded" in judged.output
