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
    text = "pools: {language_model: {default: {model: eleven, threads: 12}}}\nprofile: scripted"
    file = written(tmp_path, text)
    variable = "VOXRAY__POOLS__LANGUAGE_MODEL__DEFAULT__THREADS"
    loaded = load_with_origins(None, file, {variable: "13"})
    at = ("pools", "language_model", "default")
    model = loaded.config.pools.language_model["default"]
    assert (model.engine, model.model, model.threads) == ("scripted", "eleven", 13)  # type: ignore[attr-defined]
    assert loaded.origins[*at, "engine"] == "profile scripted"
    assert loaded.origins[*at, "model"] == str(file)
    assert loaded.origins[*at, "threads"] == f"environment variable {variable}"
    assert (*at, "niceness") not in loaded.origins


def test_pool_is_added_beside_the_default_and_null_takes_one_out(tmp_path: Path) -> None:
    added = "pools: {language_model: {large: {engine: scripted}}}"
    assert list(load_config(None, written(tmp_path, added), {}).pools.language_model) == ["default", "large"]
    alone = "pools: {language_model: {default: null, large: {engine: scripted}}}\nroutes: {language_model: [large]}"
    assert list(load_config(None, written(tmp_path, alone), {}).pools.language_model) == ["large"]


def test_pool_has_the_defaults_of_its_engine(tmp_path: Path) -> None:
    config = load_config(None, written(tmp_path, "pools: {transcriber: {default: {engine: nemo}}}"), {})
    pool = config.pools.transcriber["default"]
    assert (pool.model, pool.chunk_ms) == ("voxray-asr-small-en", 160)  # type: ignore[attr-defined]


def test_profile_is_taken_from_argument_then_variable_then_file(tmp_path: Path) -> None:
    file = written(tmp_path, "profile: scripted")
    assert load_config(None, file, {}).profile == "scripted"
    assert load_config(None, file, {"VOXRAY_PROFILE": "embedded"}).profile == "embedded"
    assert load_config("scripted", None, {"VOXRAY_PROFILE": "embedded"}).profile == "scripted"


def test_file_in_the_working_directory_is_read_unless_another_is_named(tmp_path: Path) -> None:
    written(tmp_path, "gateway: {default_agent: here}", "voxray.yaml")
    other = written(tmp_path, "gateway: {default_agent: there}")
    assert load_config(None, None, {}).gateway.default_agent == "here"
    assert load_config(None, None, {"VOXRAY_CONFIG": str(other)}).gateway.default_agent == "there"


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("VOXRAY__GATEWAY__MAX_CALLS", "10", lambda config: config.gateway.max_calls == 10),
        ("VOXRAY__GATEWAY__DEFAULT_AGENT", "123", lambda config: config.gateway.default_agent == "123"),
        ("VOXRAY__TOPOLOGY__IMAGE_TAG", "a: b, [c", lambda config: config.topology.image_tag == "a: b, [c"),
        (
            "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__MODEL",
            "123",
            lambda config: config.pools.transcriber["default"].model == "123",
        ),
        ("VOXRAY__TURN__VAD_THRESHOLD", "1", lambda config: config.turn.vad_threshold == 1.0),
        (
            "VOXRAY__POOLS__SYNTHESIZER__DEFAULT__REPLICAS__NUM_CPUS",
            "0.5",
            lambda config: config.pools.synthesizer["default"].replicas.num_cpus == 0.5,
        ),
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
        ("gateway: 5", ["gateway = 5", "is a section with the keys speculate_up_to_calls"]),
        ("turn: {vad_threshold: 1.5}", ["turn.vad_threshold = 1.5", "number, at least 0, at most 1"]),
        (
            "pools: {transcriber: {default: {engine: riva}}}",
            ['pools.transcriber.default.engine = "riva"', "one of whisper-ct2, nemo, scripted"],
        ),
        (
            "pools: {transcriber: {default: {engine: nemo, chunk_ms: 5}}}",
            ["pools.transcriber.default.chunk_ms = 5", "allowed: integer, at least 80, at most 2000"],
        ),
        (
            "pools: {transcriber: {default: {chunk_ms: 160}}}",
            ["pools.transcriber.default.chunk_ms", "unknown key"],
        ),
        ("pools: {transcriber: {Default: {}}}", ["pools.transcriber.Default", "not a valid name of a pool"]),
        ("pools: {transcriber: {default: 5}}", ["pools.transcriber.default = 5", "is a section with the keys engine"]),
        ("pools: {transcriber: {default: {replicas: {num_cpu: 1}}}}", ["replicas.num_cpu", "did you mean num_cpus?"]),
        ("gateway: {default_agent: [a]}", ['gateway.default_agent = ["a"]', "allowed: text"]),
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
        ("VOXRAY__PROFILE__NAME", "1", "profile is a value and has no keys below it"),
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
