"""Engines without a model, one for each component, for tests, load tests and demonstrations.

They accept the same requests as the engines with models, and open at once. Their modules define what they answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec
from pipelines.errors import Component

if TYPE_CHECKING:
    from deployments.engines.scripted.detection import ScriptedSpeechDetector, ScriptedTurnDetector
    from deployments.engines.scripted.language_model import ScriptedLanguageModel
    from deployments.engines.scripted.recognizer import ScriptedRecognizer
    from deployments.engines.scripted.retriever import ScriptedRetriever
    from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
    from deployments.engines.streaming.loop import StreamLoop

# Default number of concurrent streams, and default length of the audio that is heard at once.
SLOTS = 64
CHUNK_MS = 160


class ScriptedSettings(EngineSettings):
    """An engine without a model."""

    engine: Literal["scripted"] = "scripted"
    model: str = Field(default="scripted", description="Name that clients are shown; nothing is loaded.")


class ScriptedStreamingSettings(EngineSettings):
    """A streaming recogniser without a model."""

    engine: Literal["scripted-streaming"] = "scripted-streaming"
    model: str = Field(default="scripted", description="Name that clients are shown; nothing is loaded.")
    chunk_ms: int = Field(default=CHUNK_MS, ge=80, le=2000, description="Length of the audio that is heard at once.")
    max_streams: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Most utterances at a time; further ones are refused. 0 means as many as slots.",
    )
    end_silence_ms: int = Field(
        default=0, ge=0, le=5000, description="Silence after words that ends an utterance. 0 means that none does."
    )


def _speech_detector(_settings: ScriptedSettings, _site: EngineSite) -> ScriptedSpeechDetector:
    from deployments.engines.scripted.detection import ScriptedSpeechDetector

    return ScriptedSpeechDetector()


def _turn_detector(_settings: ScriptedSettings, _site: EngineSite) -> ScriptedTurnDetector:
    from deployments.engines.scripted.detection import ScriptedTurnDetector

    return ScriptedTurnDetector()


def _recognizer(_settings: ScriptedSettings, _site: EngineSite) -> ScriptedRecognizer:
    from deployments.engines.scripted.recognizer import ScriptedRecognizer

    return ScriptedRecognizer()


def _streaming_recognizer(settings: ScriptedStreamingSettings, _site: EngineSite) -> StreamLoop:
    from deployments.engines.scripted.streaming import ScriptedStepper
    from deployments.engines.streaming.loop import LoopLimits, StreamLoop

    slots = settings.max_streams or SLOTS

    def stepper() -> ScriptedStepper:
        return ScriptedStepper(slots=slots, chunk_ms=settings.chunk_ms, end_silence_ms=settings.end_silence_ms)

    return StreamLoop(stepper, LoopLimits(max_streams=slots))


def _retriever(_settings: ScriptedSettings, _site: EngineSite) -> ScriptedRetriever:
    from deployments.engines.scripted.retriever import ScriptedRetriever

    return ScriptedRetriever()


def _language_model(_settings: ScriptedSettings, _site: EngineSite) -> ScriptedLanguageModel:
    from deployments.engines.scripted.language_model import ScriptedLanguageModel

    return ScriptedLanguageModel()


def _synthesizer(_settings: ScriptedSettings, _site: EngineSite) -> ScriptedSynthesizer:
    from deployments.engines.scripted.synthesizer import ScriptedSynthesizer

    return ScriptedSynthesizer()


SPEECH_DETECTOR = EngineSpec(Component.SPEECH_DETECTOR, "scripted", ScriptedSettings, _speech_detector)
TURN_DETECTOR = EngineSpec(Component.TURN_DETECTOR, "scripted", ScriptedSettings, _turn_detector)
TRANSCRIBER = EngineSpec(Component.TRANSCRIBER, "scripted", ScriptedSettings, _recognizer)
STREAMING_TRANSCRIBER = EngineSpec(
    Component.TRANSCRIBER,
    "scripted-streaming",
    ScriptedStreamingSettings,
    _streaming_recognizer,
    is_streaming=True,
)
RETRIEVER = EngineSpec(Component.RETRIEVER, "scripted", ScriptedSettings, _retriever)
LANGUAGE_MODEL = EngineSpec(Component.LANGUAGE_MODEL, "scripted", ScriptedSettings, _language_model)
SYNTHESIZER = EngineSpec(Component.SYNTHESIZER, "scripted", ScriptedSettings, _synthesizer)
