"""Models that detect speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from deployments.engines.files import model_file
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.vad.silero import SileroSpeechDetector


class SileroSettings(EngineSettings):
    """Silero VAD, one model for all the calls of a gateway."""

    engine: Literal["silero"] = "silero"
    model: str = Field(default="silero-vad", description="Catalog name of the model.")
    tick_ms: int = Field(
        default=16, ge=1, le=100, description="How long windows of all calls are collected for one batch."
    )


def _open(settings: SileroSettings, site: EngineSite) -> SileroSpeechDetector:
    from deployments.engines.vad.silero import SileroSpeechDetector

    path = model_file(site, settings.model, "*.onnx")
    return SileroSpeechDetector(path, tick_ms=settings.tick_ms, threads=settings.threads)


SPEC = EngineSpec(
    component=Component.SPEECH_DETECTOR,
    name="silero",
    settings=SileroSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "voice-activity"),),
    memory_control="onnxruntime",
)
