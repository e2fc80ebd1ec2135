"""Whisper on CTranslate2, which recognises whole utterances repeatedly while they grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cluster.config.engines import EngineSite, EngineSpec, FittedSettings, ModelUse
from cluster.processor import this_processor
from deployments.engines.files import model_folder
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.whisper.recognizer import WhisperRecognizer


class WhisperSettings(FittedSettings):
    """Whisper on CTranslate2."""

    engine: Literal["whisper-ct2"] = "whisper-ct2"
    model: str = Field(default="whisper-tiny", description="Catalog name of the model.")
    language: str = Field(default="en", description="Language of the callers, as a code that Whisper knows.")


def _open(settings: WhisperSettings, site: EngineSite) -> WhisperRecognizer:
    from deployments.engines.whisper.recognizer import WhisperRecognizer

    folder = model_folder(site, settings.model)
    threads = settings.threads_on(this_processor())
    return WhisperRecognizer(folder, threads=threads, language=settings.language)


SPEC = EngineSpec(
    component=Component.TRANSCRIBER,
    name="whisper-ct2",
    settings=WhisperSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "recognition"),),
    extra="embedded",
    runs_on_gpu=True,
    memory_control="ctranslate2",
    fit=lambda settings, processor: {"threads": str(settings.threads_on(processor))},
)
