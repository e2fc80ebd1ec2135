"""Piper voices, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from deployments.engines.files import model_file
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.piper.synthesizer import PiperSynthesizer


class PiperSettings(EngineSettings):
    """A Piper voice."""

    engine: Literal["piper"] = "piper"
    model: str = Field(default="piper-en-us-joe-medium", description="Catalog name of the voice.")


def _open(settings: PiperSettings, site: EngineSite) -> PiperSynthesizer:
    from deployments.engines.piper.synthesizer import PiperSynthesizer

    return PiperSynthesizer(model_file(site, settings.model, "*.onnx"), threads=settings.threads)


SPEC = EngineSpec(
    component=Component.SYNTHESIZER,
    name="piper",
    settings=PiperSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "speech"),),
    extra="embedded",
    memory_control="onnxruntime",
)
