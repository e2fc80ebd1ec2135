"""The pinned OpenAI SDK as the oracle: it must read all that we write, and we must read all that it writes."""

import json
from dataclasses import fields
from typing import Annotated, Any, get_args

import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import Field, TypeAdapter

from pipelines.wire import server_events
from pipelines.wire.client_events import CLIENT_EVENT_TYPES, parse_client_event
from pipelines.wire.payloads import RateLimit
from tests.unit.pipelines.wire.scenarios import SCENARIOS

pytestmark = pytest.mark.contract

SDK_SERVER_CLASSES = get_args(get_args(RealtimeServerEvent)[0])
SDK_SERVER = TypeAdapter(Annotated[get_args(RealtimeServerEvent)[0], Field(discriminator="type")])
SDK_CLIENT_CLASSES = get_args(get_args(RealtimeClientEvent)[0])


def wire_type(model: type) -> str:
    (name,) = get_args(model.model_fields["type"].annotation)
    return name


SDK_SERVER_CLASS = {wire_type(model): model for model in SDK_SERVER_CLASSES}


def assert_sdk_reads(event: dict[str, Any]) -> None:
    parsed = SDK_SERVER.validate_json(json.dumps(event), strict=True)
    assert type(parsed) is SDK_SERVER_CLASS[event["type"]]
    assert parsed.model_dump(mode="json", exclude_unset=True) == event


@pytest.mark.parametrize("name", SCENARIOS)
def test_sdk_reads_every_event_of_a_conversation(name: str) -> None:
    for event in SCENARIOS[name]().events:
        assert_sdk_reads(event)


def test_sdk_knows_every_public_event_that_we_can_send() -> None:
    events = get_args(server_events.ServerEvent)
    ours = {field.default for model in events for field in fields(model) if field.name == "type"}
    assert len(ours) == len(events)
    assert {name for name in ours if not name.startswith("voxray.")} <= SDK_SERVER_CLASS.keys()


@pytest.mark.parametrize("event", [
    server_events.InputAudioBufferTimeoutTriggered(event_id="e", audio_start_ms=1, audio_end_ms=2, item_id="i"),
    server_events.RateLimitsUpdated(event_id="e", rate_limits=(RateLimit("requests", 10, 9, 1.5),)),
])  # fmt: skip
def test_sdk_reads_the_events_that_no_scenario_sends(event: server_events.ServerEvent) -> None:
    assert_sdk_reads(json.loads(server_events.serialize(event)))


def test_session_is_read_as_the_session_kind_that_it_is() -> None:
    for name, kind in (("audio_turn", "realtime"), ("transcription_session", "transcription")):
        parsed = SDK_SERVER.validate_python(SCENARIOS[name]().events[0])
        assert parsed.session.type == kind
        assert parsed.session.audio.input.turn_detection.type == "server_vad"


def test_client_event_types_are_those_of_the_sdk() -> None:
    assert {wire_type(model) for model in SDK_CLIENT_CLASSES} == CLIENT_EVENT_TYPES


SDK_EXAMPLES: list[dict[str, Any]] = [
    {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["audio"], "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}, "noise_reduction": {"type": "near_field"},
                  "transcription": {"model": "gpt-4o-transcribe", "language": "en", "keywords": ["Voxray"]},
                  "turn_detection": {"type": "semantic_vad", "eagerness": "high", "create_response": True}},
        "output": {"voice": "marin", "speed": 1.0, "format": {"type": "audio/pcmu"}}},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "tool_choice": "auto",
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8}, "tracing": "auto",
        "reasoning": {"effort": "low"}, "prompt": {"id": "p"}, "include": ["item.input_audio_transcription.logprobs"]}},
    {"type": "session.update", "session": {"type": "transcription", "audio": {"input": {"turn_detection": None}}}},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "previous_item_id": "root", "item": {
        "type": "message", "role": "user", "id": "i", "object": "realtime.item", "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}]}},
    {"type": "conversation.item.create", "item": {
        "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}},
    {"type": "conversation.item.create", "item": {
        "type": "function_call_output", "call_id": "c", "output": "42"}},
    {"type": "conversation.item.retrieve", "item_id": "i"},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 5},
    {"type": "conversation.item.delete", "item_id": "i"},
    {"type": "response.create", "response": {"conversation": "none", "metadata": {"a": "b"}, "max_output_tokens": "inf",
                                             "input": [], "output_modalities": ["text"]}},
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "r"},
    {"type": "output_audio_buffer.clear"},
]  # fmt: skip


@pytest.mark.parametrize("example", SDK_EXAMPLES, ids=lambda example: example["type"])
@pytest.mark.parametrize("is_null_kept", [False, True])
def test_event_written_by_the_sdk_is_read(example: dict[str, Any], is_null_kept: bool) -> None:
    """Some clients dump unset fields as null: those mean "not given"."""
    model = next(model for model in SDK_CLIENT_CLASSES if wire_type(model) == example["type"])
    written = model.model_validate({**example, "event_id": "e"})
    text = json.dumps(written.model_dump(mode="json", exclude_unset=not is_null_kept))
    event = parse_client_event(text)
    assert (event.type, event.event_id) == (example["type"], "e")
