import base64
import json

import pytest

from pipelines.errors import PeerError
from pipelines.wire.client_events import (
    CLIENT_EVENT_TYPES,
    MAX_AUDIO_BYTES,
    MAX_CONTROL_BYTES,
    MAX_FRAME_BYTES,
    InputAudioBufferAppend,
    parse_client_event,
)

pytestmark = pytest.mark.unit

USER_TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
VALID = {
    "session.update": {"session": {"type": "realtime", "instructions": "be brief"}},
    "input_audio_buffer.append": {"audio": base64.b64encode(b"\1\2").decode()},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "conversation.item.create": {"item": USER_TEXT, "previous_item_id": "root"},
    "conversation.item.retrieve": {"item_id": "item_1"},
    "conversation.item.truncate": {"item_id": "item_1", "content_index": 0, "audio_end_ms": 1500},
    "conversation.item.delete": {"item_id": "item_1"},
    "response.create": {"response": {"metadata": {"client_event_id": "x"}, "output_modalities": ["text"]}},
    "response.cancel": {"response_id": "resp_1"},
    "output_audio_buffer.clear": {},
}


def parse(event: object):
    return parse_client_event(json.dumps(event))


def fault(event: object) -> PeerError:
    with pytest.raises(PeerError) as caught:
        parse(event)
    return caught.value


def session_fault(session: object) -> tuple[str, str | None]:
    error = fault({"type": "session.update", "session": session, "event_id": "e"})
    assert error.event_id == "e"
    return error.code, error.param


def item_fault(item: object) -> tuple[str, str | None]:
    error = fault({"type": "conversation.item.create", "item": item, "event_id": "e"})
    assert error.event_id == "e"
    return error.code, error.param


def test_valid_examples_cover_every_event_type() -> None:
    assert VALID.keys() == CLIENT_EVENT_TYPES


@pytest.mark.parametrize("event_type", VALID)
def test_valid_event_parses_into_the_class_named_after_it(event_type: str) -> None:
    event = parse({"type": event_type, "event_id": "e", **VALID[event_type]})
    words = event_type.replace(".", "_").split("_")
    assert type(event).__name__ == "".join(word.capitalize() for word in words)
    assert event.type == event_type
    assert event.event_id == "e"


@pytest.mark.parametrize("event_type", VALID)
def test_event_is_taken_from_bytes_without_an_id_and_with_keys_of_other_versions(event_type: str) -> None:
    frame = {"type": event_type, "from_the_future": [1, {"a": None}], **VALID[event_type]}
    assert parse_client_event(json.dumps(frame).encode()).event_id is None


@pytest.mark.parametrize(
    "event_type",
    [name for name, fields in VALID.items() if fields and name not in {"response.create", "response.cancel"}],
)
def test_missing_field_is_named(event_type: str) -> None:
    field = next(iter(VALID[event_type]))
    rest = {key: value for key, value in VALID[event_type].items() if key != field}
    error = fault({"type": event_type, "event_id": "e", **rest})
    assert (error.code, error.param, error.event_id) == ("missing_required_parameter", field, "e")


@pytest.mark.parametrize("event_type", [name for name, fields in VALID.items() if fields])
def test_field_of_a_wrong_type_is_named(event_type: str) -> None:
    field = next(iter(VALID[event_type]))
    error = fault({"type": event_type, "event_id": "e", **VALID[event_type], field: 3.5})
    assert (error.code, error.param, error.event_id) == ("invalid_type", field, "e")


@pytest.mark.parametrize(
    ("text", "event_id"),
    [
        ("", None),
        ("{", None),
        ('{"event_id": "e7", "type": "response.create"', "e7"),
        ('{"type": "x", "event_id":"e8", }', "e8"),
        ("null", None),
        ("[1]", None),
        ('"text"', None),
        (b"\xff\xfe{}", None),
        ('{"type": NaN}', None),
        ("[" * 5000, None),
    ],
)
def test_message_that_is_no_json_object_is_refused(text: str | bytes, event_id: str | None) -> None:
    with pytest.raises(PeerError) as caught:
        parse_client_event(text)
    assert (caught.value.code, caught.value.event_id) == ("invalid_json", event_id)


def test_unknown_event_type_is_refused_with_the_list_of_known_ones() -> None:
    error = fault({"type": "response.audio.delta", "event_id": "e"})
    assert (error.code, error.param, error.event_id) == ("invalid_value", "type", "e")
    assert "input_audio_buffer.append" in str(error)


@pytest.mark.parametrize("event_type", [3, [], {}, True])
def test_event_type_that_is_no_string_is_refused(event_type: object) -> None:
    assert fault({"type": event_type}).param == "type"


def test_missing_event_type_is_refused() -> None:
    assert (fault({}).code, fault({}).param) == ("missing_required_parameter", "type")


@pytest.mark.parametrize(("event_id", "code"), [(3, "invalid_type"), ("x" * 513, "invalid_value")])
def test_unusable_event_id_is_refused_and_not_echoed(event_id: object, code: str) -> None:
    error = fault({"type": "response.create", "event_id": event_id})
    assert (error.code, error.param, error.event_id) == (code, "event_id", None)


@pytest.mark.parametrize("audio", ["!!", "abc", "é", "YQ==YQ==", "YQ=", "Y Q=="])
def test_bad_base64_is_refused(audio: str) -> None:
    error = fault({"type": "input_audio_buffer.append", "audio": audio, "event_id": "e"})
    assert (error.code, error.param, error.event_id) == ("invalid_base64", "audio", "e")


def test_empty_audio_is_allowed() -> None:
    assert parse({"type": "input_audio_buffer.append", "audio": ""}) == InputAudioBufferAppend(b"")


def append_of(audio_bytes: int) -> str:
    return '{"type":"input_audio_buffer.append","audio":"' + base64.b64encode(bytes(audio_bytes)).decode() + '"}'


def test_largest_append_is_taken_and_one_byte_more_is_not() -> None:
    event = parse_client_event(append_of(MAX_AUDIO_BYTES))
    assert isinstance(event, InputAudioBufferAppend)
    assert len(event.audio) == MAX_AUDIO_BYTES
    with pytest.raises(PeerError) as caught:
        parse_client_event(append_of(MAX_AUDIO_BYTES + 1))
    assert caught.value.code == "audio_too_large"


def test_oversized_messages_are_refused() -> None:
    with pytest.raises(PeerError) as caught:
        parse_client_event(" " * (MAX_FRAME_BYTES + 1))
    assert caught.value.code == "event_too_large"
    error = fault({"type": "session.update", "event_id": "e", "session": {"instructions": "x" * MAX_CONTROL_BYTES}})
    assert (error.code, error.event_id) == ("event_too_large", "e")


@pytest.mark.parametrize(("audio_input", "code", "param"), [
    ({"turn_detection": {"type": "server_vad", "threshold": 1.5}}, "invalid_value", "turn_detection.threshold"),
    ({"turn_detection": {"type": "server_vad", "silence_duration_ms": "5"}}, "invalid_type",
     "turn_detection.silence_duration_ms"),
    ({"turn_detection": {"type": "none"}}, "invalid_value", "turn_detection.type"),
    ({"turn_detection": {"threshold": 0.5}}, "missing_required_parameter", "turn_detection.type"),
    ({"turn_detection": {"type": "semantic_vad", "eagerness": "max"}}, "invalid_value", "turn_detection.eagerness"),
    ({"turn_detection": {"type": "server_vad", "idle_timeout_ms": 10}}, "invalid_value",
     "turn_detection.idle_timeout_ms"),
    ({"format": {"type": "audio/pcm", "rate": 16000}}, "invalid_value", "format.rate"),
    ({"format": {"type": "audio/opus"}}, "invalid_value", "format.type"),
    ({"format": "pcm16"}, "invalid_type", "format"),
    ({"noise_reduction": {"type": "loud"}}, "invalid_value", "noise_reduction.type"),
    ({"transcription": {"model": 1}}, "invalid_type", "transcription.model"),
])  # fmt: skip
def test_impossible_audio_input_names_the_field(audio_input: object, code: str, param: str) -> None:
    assert session_fault({"audio": {"input": audio_input}}) == (code, f"session.audio.input.{param}")


@pytest.mark.parametrize(("session", "code", "param"), [
    ("audio", "invalid_type", "session"),
    ({"type": "video"}, "invalid_value", "session.type"),
    ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": ["video"]}, "invalid_value", "session.output_modalities[0]"),
    ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
    ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
    ({"max_output_tokens": 4097}, "invalid_value", "session.max_output_tokens"),
    ({"audio": {"output": {"speed": 2.0}}}, "invalid_value", "session.audio.output.speed"),
    ({"audio": {"output": {"voice": ""}}}, "invalid_value", "session.audio.output.voice"),
    ({"tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]}, "invalid_value", "session.tools[1].type"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    ({"tool_choice": "maybe"}, "invalid_value", "session.tool_choice"),
])  # fmt: skip
def test_impossible_session_field_is_named(session: object, code: str, param: str) -> None:
    assert session_fault(session) == (code, param)


@pytest.mark.parametrize(("item", "code", "param"), [
    ({}, "missing_required_parameter", "item.type"),
    ({"type": "message"}, "missing_required_parameter", "item.role"),
    ({"type": "message", "role": "robot", "content": []}, "invalid_value", "item.role"),
    ({"type": "message", "role": "user"}, "missing_required_parameter", "item.content"),
    ({"type": "message", "role": "user", "content": [{"type": "input_text"}]}, "missing_required_parameter",
     "item.content[0].text"),
    ({"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "invalid_value",
     "item.content[0].type"),
    ({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]},
     "missing_required_parameter", "item.content[0].transcript"),
    ({"type": "function_call", "name": "f"}, "missing_required_parameter", "item.arguments"),
    ({"type": "function_call_output", "output": "1"}, "missing_required_parameter", "item.call_id"),
    ({"type": "mcp_call"}, "invalid_value", "item.type"),
    ({**USER_TEXT, "id": ""}, "invalid_value", "item.id"),
])  # fmt: skip
def test_impossible_item_field_is_named(item: object, code: str, param: str) -> None:
    assert item_fault(item) == (code, param)


@pytest.mark.parametrize("metadata", [{"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "v" for n in range(17)}])
def test_response_metadata_beyond_the_limits_is_refused(metadata: dict[str, str]) -> None:
    error = fault({"type": "response.create", "event_id": "e", "response": {"metadata": metadata}})
    assert error.code == "invalid_value"
    assert str(error.param).startswith("response.metadata")


@pytest.mark.parametrize("field", ["audio_end_ms", "content_index"])
def test_truncation_before_the_beginning_is_refused(field: str) -> None:
    error = fault({"type": "conversation.item.truncate", **VALID["conversation.item.truncate"], field: -1})
    assert (error.code, error.param) == ("invalid_value", field)


def test_error_never_repeats_what_the_client_sent() -> None:
    secret = "my card is 4111"
    error = fault({"type": "session.update", "session": {"type": secret, "tool_choice": secret}})
    assert secret not in str(error)
