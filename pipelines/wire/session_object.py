"""The protocol's session object as a client may send it, and how an update merges into the current one.

Every field is optional, since a client sends only what it wants to change. Unknown keys are ignored, because clients of
other versions send extras; known keys must hold a valid value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Modalities = Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)]
MaxOutputTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
JsonObject = dict[str, Any]


class WireModel(BaseModel):
    """Base of everything parsed from a client: frozen, strict about types, and tolerant of unknown keys."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class PcmFormat(WireModel):
    type: Literal["audio/pcm"]
    rate: Literal[24000] = 24000


class MuLawFormat(WireModel):
    type: Literal["audio/pcmu"]


class ALawFormat(WireModel):
    type: Literal["audio/pcma"]


AudioFormat = Annotated[PcmFormat | MuLawFormat | ALawFormat, Field(discriminator="type")]


class ServerVad(WireModel):
    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] | None = None
    silence_duration_ms: Annotated[int, Field(ge=1, le=30_000)] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: Annotated[int, Field(ge=5000, le=30_000)] | None = None


class SemanticVad(WireModel):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class NoiseReduction(WireModel):
    type: Literal["near_field", "far_field"] | None = None


class Transcription(WireModel):
    model: str | None = None
    language: str | None = None
    prompt: str | None = None


class AudioInput(WireModel):
    format: AudioFormat | None = None
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = None


class VoiceId(WireModel):
    id: Annotated[str, Field(min_length=1, max_length=128)]


Voice = Annotated[str, Field(min_length=1, max_length=128)] | VoiceId


class AudioOutput(WireModel):
    format: AudioFormat | None = None
    voice: Voice | None = None
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None


class SessionAudio(WireModel):
    input: AudioInput | None = None
    output: AudioOutput | None = None


class FunctionTool(WireModel):
    """A tool that the client runs. Unknown keys are kept, so that the echo contains the whole definition."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    type: Literal["function"] = "function"
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: str | None = None
    parameters: JsonObject | None = None


class NamedTool(WireModel):
    type: Literal["function"]
    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class SessionObject(WireModel):
    """Session fields. `type` is optional: sessions are "realtime" unless a client says "transcription"."""

    type: Literal["realtime", "transcription"] | None = None
    model: str | None = None
    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: SessionAudio | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxOutputTokens | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    prompt: JsonObject | None = None
    tracing: Literal["auto"] | JsonObject | None = None
    truncation: Literal["auto", "disabled"] | JsonObject | None = None
    reasoning: JsonObject | None = None


_NESTED: Final = frozenset({"audio", "input", "output"})
_NULL_MEANS_OFF: Final = frozenset({"turn_detection", "transcription", "noise_reduction", "prompt", "tracing"})


def merge_session(current: Mapping[str, Any], update: Mapping[str, Any]) -> JsonObject:
    """Return `current` with the keys that `update` sets.

    `audio`, `audio.input` and `audio.output` are merged key by key; every other value is replaced as a whole. A null
    keeps the current value, except where the protocol defines it as "off" (turn detection, transcription, noise
    reduction, ...).
    """
    merged = dict(current)
    for key, value in update.items():
        if isinstance(value, Mapping) and key in _NESTED:
            merged[key] = merge_session(merged.get(key) or {}, value)
        elif value is not None or key in _NULL_MEANS_OFF:
            merged[key] = value
    return merged
