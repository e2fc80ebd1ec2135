"""What engines declare: their settings, the models that they load, and which files of a model they open."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.config.engines import EngineSite, EngineSpec, ModelUse
from deployments.engines import piper, scripted, turn_end, vad, whisper
from deployments.engines.files import model_file, model_folder
from deployments.engines.registry import ENGINES, spec_of
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit
SPECS = [
    (piper.SPEC, "speech", "onnxruntime"),
    (turn_end.SPEC, "turn-end", "onnxruntime"),
    (vad.SPEC, "voice-activity", "onnxruntime"),
    (whisper.SPEC, "recognition", "ctranslate2"),
]


def name_of(value: object) -> str:
    return value.name if isinstance(value, EngineSpec) else str(value)


@pytest.mark.parametrize(("spec", "kind", "memory"), SPECS, ids=name_of)
def test_engine_loads_the_model_that_its_settings_name(spec: EngineSpec, kind: str, memory: str) -> None:
    named = spec.settings.model_validate({"model": "my-own"})
    assert spec.models(named) == (ModelUse("model", "my-own", kind),)
    assert spec.memory_control == memory
    assert spec_of(spec.component, spec.name) is spec
    assert not spec.is_streaming


@pytest.mark.parametrize("spec", [spec for spec, _, _ in SPECS], ids=name_of)
def test_engine_without_its_weights_says_how_to_fetch_them(spec: EngineSpec) -> None:
    with pytest.raises(ConfigError, match="'my-own'; fetch it with 'voxray models fetch'"):
        spec.open(spec.settings.model_validate({"model": "my-own"}), EngineSite())


@pytest.mark.parametrize("spec", [spec for spec, _, _ in SPECS], ids=name_of)
def test_settings_refuse_another_engines_name_and_unknown_keys(spec: EngineSpec) -> None:
    for wrong in ({"engine": "another"}, {"no_such_key": 1}, {"threads": -1}):
        with pytest.raises(ValidationError):
            spec.settings.model_validate(wrong)


@pytest.mark.parametrize("tick_ms", [0, 101])
def test_detection_tick_has_bounds(tick_ms: int) -> None:
    with pytest.raises(ValidationError):
        vad.SileroSettings(tick_ms=tick_ms)


def test_every_stage_has_a_scripted_engine_that_opens_without_a_model() -> None:
    for component, engines in ENGINES.items():
        spec = spec_of(component, "scripted")
        assert "scripted" in engines
        assert spec.component is component
        settings = spec.settings.model_validate({})
        assert spec.models(settings) == ()
        assert spec.open(settings, EngineSite()) is not None


def test_scripted_stream_takes_as_many_utterances_as_it_is_told() -> None:
    spec = scripted.STREAMING_TRANSCRIBER
    assert spec.is_streaming
    for told, slots in ((0, scripted.SLOTS), (3, 3)):
        engine = spec.open(spec.settings.model_validate({"max_streams": told}), EngineSite())
        try:
            engine.warm_up()
            assert engine.stats()["slots"] == slots
        finally:
            engine.close()


def test_folder_of_a_model_is_the_one_that_the_process_was_told() -> None:
    site = EngineSite(models={"voice": "/models/voice"})
    assert model_folder(site, "voice") == Path("/models/voice")
    with pytest.raises(ConfigError, match="no path is known for model 'other'"):
        model_folder(site, "other")


def test_file_of_a_model_is_found_deep_and_must_be_the_only_one(tmp_path: Path) -> None:
    site = EngineSite(models={"voice": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"should hold one \*\.onnx file in .*, it holds 0"):
        model_file(site, "voice", "*.onnx")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.onnx").write_text("")
    (tmp_path / "a.json").write_text("")
    assert model_file(site, "voice", "*.onnx") == tmp_path / "deep" / "a.onnx"
    (tmp_path / "b.onnx").write_text("")
    with pytest.raises(ConfigError, match="it holds 2"):
        model_file(site, "voice", "*.onnx")
