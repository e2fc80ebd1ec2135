"""The application of one engine pool: one deployment, a thin shell around one engine."""

from __future__ import annotations

from typing import Any

from ray import serve

from cluster.config.parts import PoolPart
from cluster.render.placement import deployment_name
from deployments.shells.language_model import LanguageModel
from deployments.shells.opener import EngineOpener
from deployments.shells.retriever import Retriever
from deployments.shells.streaming_transcriber import StreamingTranscriber
from deployments.shells.synthesizer import Synthesizer
from deployments.shells.transcriber import Transcriber
from pipelines.errors import Component

_SHELLS: dict[Component, type] = {
    Component.TRANSCRIBER: Transcriber,
    Component.RETRIEVER: Retriever,
    Component.LANGUAGE_MODEL: LanguageModel,
    Component.SYNTHESIZER: Synthesizer,
}


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application.

    Args:
        args: `part` is a `PoolPart` as plain data. Other keys only make Serve see a different application.
    """
    part = PoolPart.model_validate(args["part"])
    shell = StreamingTranscriber if part.spec.is_streaming else _SHELLS[part.component]
    return serve.deployment(name=deployment_name(part.component, part.pool))(shell).bind(EngineOpener(part))
