"""Models that judge whether the caller has finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, ModelUse
from deployments.engines.files import model_file
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.turn_end.smart_turn import SmartTurnDetector


class SmartTurnSettings(EngineSettings):
    """Smart Turn, which judges from the sound of the last seconds."""

    engine: Literal["smart-turn"] = "smart-turn"
    model: str = Field(default="smart-turn-v3.2", description="Catalog name of the model.")


def _open(settings: SmartTurnSettings, site: EngineSite) -> SmartTurnDetector:
    from deployments.engines.turn_end.smart_turn import SmartTurnDetector

    return SmartTurnDetector(model_file(site, settings.model, "*.onnx"), threads=settings.threads)


SPEC = EngineSpec(
    component=Component.TURN_DETECTOR,
    name="smart-turn",
    settings=SmartTurnSettings,
    open=_open,
    models=lambda settings: (ModelUse("model", settings.model, "turn-end"),),
    memory_control="onnxruntime",
)
