"""Layers of settings, who wins, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.config.environment import process_environment, secret
from cluster.config.loading import PROFILES, PROFILES_FOLDER, load_config, load_with_origins
from cluster.config.paths import resolve_paths
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit

PRODUCTION_ADDRESSES = """
services:
  redis: {url: "rediss://redis.internal:6379", password_env: REDIS_PASSWORD}
  milvus: {uri: "http://milvus.internal:19530"}
  sql: {url: "postgresql+psycopg://voxray@db.internal/voxray", password_env: SQL_PASSWORD}
  objects: {url: "s3://bucket/voxray"}
"""


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, no_voxray_variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(folder: Path, text: str, name: str = "settings.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def complaint(text: str, folder: Path, *, profile: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(profile, written(folder, text), {})
    return str(caught.value)


def test_embedded_profile_is_the_class_defaults() -> None:
    assert load_config(None, None, {}) == VoxrayConfig()


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_file_names_itself_and_loads_with_addresses(profile: str, tmp_path: Path) -> None:
    file = written(tmp_path, PRODUCTION_ADDRESSES if profile in ("nvidia", "inferentia") else "")
    assert load_config(profile, file, {}).profile == profile
    assert {path.stem for path in PROFILES_FOLDER.glob("*.yaml")} == set(PROFILES)


def test_each_layer_wins_over_the_ones_below(tmp_path: Path) -> None:
    file = written(tmp_path, "language_model: {max_tokens: 11, max_num_seqs: 12}\nprofile: scripted")
    variables = {"VOXRAY__LANGUAGE_MODEL__MAX_NUM_SEQS": "13"}
    loaded = load_with_origins(None, file, variables)
    model = loaded.config.language_model
    assert (model.engine, model.max_tokens, model.max_num_seqs) == ("scripted", 11, 13)
    assert loaded.origins["language_model", "engine"] == "profile scripted"
    assert loaded.origins["language_model", "max_tokens"] == str(file)
    assert (
        loaded.origins["language_model", "max_num_seqs"] == "environment variable VOXRAY__LANGUAGE_MODEL__MAX_NUM_SEQS"
    )
    assert ("language_model", "max_model_len") not in loaded.origins


def test_profile_is_taken_from_argument_then_variable_then_file(tmp_path: Path) -> None:
    file = written(tmp_path, "profile: scripted")
    assert load_config(None, file, {}).profile == "scripted"
    assert load_config(None, file, {"VOXRAY_PROFILE": "embedded"}).profile == "embedded"
    assert load_config("scripted", None, {"VOXRAY_PROFILE": "embedded"}).profile == "scripted"


def test_file_in_the_working_directory_is_read_unless_another_is_named(tmp_path: Path) -> None:
    written(tmp_path, "agent: {company: Here}", "voxray.yaml")
    other = written(tmp_path, "agent: {company: There}")
    assert load_config(None, None, {}).agent.company == "Here"
    assert load_config(None, None, {"VOXRAY_CONFIG": str(other)}).agent.company == "There"


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("VOXRAY__GATEWAY__MAX_CALLS", "10", lambda config: config.gateway.max_calls == 10),
        ("VOXRAY__AGENT__COMPANY", "123", lambda config: config.agent.company == "123"),
        ("VOXRAY__AGENT__REFUSAL", "a: b, [c", lambda config: config.agent.refusal == "a: b, [c"),
        ("VOXRAY__TURN__VAD_THRESHOLD", "1", lambda config: config.turn.vad_threshold == 1.0),
        ("VOXRAY__SYNTHESIZER__REPLICAS__NUM_CPUS", "0.5", lambda config: config.synthesizer.replicas.num_cpus == 0.5),
        ("VOXRAY_STATE", "here", lambda config: config.paths.state == Path.cwd() / "here"),
        ("VOXRAY_PROFILE", "", lambda config: config.profile == "embedded"),
    ],
)
def test_variable_sets_its_key_with_the_type_of_the_key(variable: str, text: str, read) -> None:  # type: ignore[no-untyped-def]
    assert read(load_config(None, None, {variable: text}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gateway: {max_cals: 7}", ["gateway.max_cals", "unknown key", "did you mean max_calls?"]),
        ("gatway: {max_calls: 7}", ["gatway", "unknown key", "did you mean gateway?"]),
        ("gateway: {max_calls: ten}", ['gateway.max_calls = "ten"', "allowed: integer, at least 1"]),
        ('gateway: {max_calls: "10"}', ['gateway.max_calls = "10"', "integer"]),
        ("gateway: {max_calls: true}", ["gateway.max_calls = true", "integer"]),
        ("gateway: {max_calls: 0}", ["gateway.max_calls = 0", "at least 1"]),
        ("gateway: 5", ["gateway = 5", "is a section with the keys replicas"]),
        ("turn: {vad_threshold: 1.5}", ["turn.vad_threshold = 1.5", "number, at least 0, at most 1"]),
        ("transcriber: {engine: riva}", ['transcriber.engine = "riva"', "one of whisper-ct2, nemo, scripted"]),
        ("agent: {company: [a]}", ['agent.company = ["a"]', "allowed: text"]),
        ("paths: {state: 4}", ["paths.state = 4", "path or empty"]),
        ("ray: {num_cpus: 16}\nray: {num_cpus: 17}", ["line 2", "'ray' appears twice"]),
        ("ray: [1", ["line 1"]),
        ("- ray", ["must hold sections"]),
    ],
)
def test_wrong_file_is_refused_with_file_key_value_and_what_is_allowed(
    text: str, expected: list[str], tmp_path: Path
) -> None:
    message = complaint(text, tmp_path)
    for part in [str(tmp_path / "settings.yaml"), *expected]:
        assert part in message


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("VOXRAY__GATEWAY__MAX_CALLS", "ten", 'gateway.max_calls = "ten": allowed: integer, at least 1'),
        ("VOXRAY__GATEWAY__MAX_CALS", "1", "unknown key gateway.max_cals; did you mean max_calls?"),
        ("VOXRAY__GATEWAY", "1", "gateway is a section; set one of its keys"),
        ("VOXRAY__PROFILE__NAME", "1", "profile is a value, it has no keys below it"),
        ("VOXRAY_GATEWAY__MAX_CALLS", "1", "did you mean VOXRAY__GATEWAY__MAX_CALLS?"),
        ("VOXRAY_PROFILE", "embeded", "did you mean embedded?"),
        ("VOXRAY_CONFIG", "nowhere.yaml", "nowhere.yaml: there is no such file"),
    ],
)
def test_wrong_variable_is_refused_by_name(variable: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, None, {variable: text})
    assert expected in str(caught.value)
    assert variable in str(caught.value) or text in str(caught.value)


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    message = complaint("gateway: {max_cals: 7}\nturn: {vad_threshold: 2}", tmp_path)
    assert message.startswith("2 problems:")
    assert "max_cals" in message
    assert "vad_threshold" in message


def test_empty_section_and_empty_file_change_nothing(tmp_path: Path) -> None:
    assert load_config(None, written(tmp_path, "turn:\ngateway: {}\n"), {}) == VoxrayConfig()
    assert load_config(None, written(tmp_path, ""), {}) == VoxrayConfig()


def test_relative_path_starts_at_the_file_that_says_it(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    config = load_config(None, written(folder, "paths: {state: data, models: /m}"), {})
    paths = resolve_paths(config)
    assert (paths.state, paths.models) == (folder / "data", Path("/m"))


def test_state_lies_beside_the_project_when_started_inside_it(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert resolve_paths(VoxrayConfig(), start=inside).state == inside / ".voxray"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "voxray"\n')
    assert resolve_paths(VoxrayConfig(), start=inside).state == tmp_path / ".voxray"


def test_secret_is_read_by_name_and_missing_one_is_named_without_value() -> None:
    assert secret({"KEY": "s3cret"}, "KEY", needed_by="gateway.api_key_env") == "s3cret"
    assert secret({}, "", needed_by="gateway.api_key_env") == ""
    with pytest.raises(ConfigError, match=r"KEY is not set, but gateway\.api_key_env names it"):
        secret({"OTHER": "s3cret"}, "KEY", needed_by="gateway.api_key_env")


def test_process_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXRAY_PROFILE", "scripted")
    environment = process_environment()
    environment["VOXRAY_PROFILE"] = "embedded"
    assert process_environment()["VOXRAY_PROFILE"] == "scripted"
