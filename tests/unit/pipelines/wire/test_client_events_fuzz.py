"""Whatever arrives, parsing ends in an event or in a PeerError that carries the client's event id."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import PeerError
from pipelines.wire.client_events import CLIENT_EVENT_TYPES, parse_client_event
from tests.unit.pipelines.wire.wire_pair import WirePair

pytestmark = pytest.mark.unit

KEYS = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "audio",
        "transcript",
        "item",
        "item_id",
        "id",
        "session",
        "response",
        "input",
        "output",
        "format",
        "voice",
        "rate",
        "turn_detection",
        "threshold",
        "eagerness",
        "tools",
        "name",
        "parameters",
        "metadata",
        "conversation",
        "output_modalities",
        "max_output_tokens",
        "previous_item_id",
        "content_index",
        "audio_end_ms",
        "call_id",
        "arguments",
        "tool_choice",
    ]
)
WORDS = st.sampled_from(
    [
        "message",
        "user",
        "assistant",
        "system",
        "input_text",
        "input_audio",
        "output_text",
        "function_call",
        "function_call_output",
        "realtime",
        "transcription",
        "server_vad",
        "semantic_vad",
        "audio/pcm",
        "audio/pcmu",
        "audio",
        "text",
        "function",
        "auto",
        "none",
        "inf",
        "YQ==",
        "low",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | WORDS
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(CLIENT_EVENT_TYPES))},
    optional=dict.fromkeys(
        ("session", "item", "response", "audio", "item_id", "audio_end_ms", "content_index"), VALUES
    ),
)


def outcome(text: str | bytes) -> PeerError | None:
    try:
        parse_client_event(text)
    except PeerError as error:
        return error
    return None


@settings(deadline=None, max_examples=200)
@given(FRAMES, st.none() | st.text(max_size=30))
def test_event_with_random_fields_parses_or_names_the_fault(frame: dict[str, object], event_id: str | None) -> None:
    error = outcome(json.dumps(frame | ({} if event_id is None else {"event_id": event_id})))
    if error is not None:
        assert error.event_id == event_id
        assert error.code
        assert error.param


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_random_json_never_escapes_as_another_error(value: object) -> None:
    error = outcome(json.dumps(value))
    assert error is not None or isinstance(value, dict)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_random_bytes_never_escape_as_another_error(text: str | bytes) -> None:
    error = outcome(text)
    assert error is None or error.code


@settings(deadline=None, max_examples=100)
@given(FRAMES, st.data())
def test_cut_message_keeps_its_event_id_when_that_came_through(frame: dict[str, object], data: st.DataObject) -> None:
    head = '{"event_id": "evt_client_1", '
    text = head + json.dumps(frame)[1:]
    error = outcome(text[: data.draw(st.integers(len(head), len(text) - 1))])
    assert error is not None
    assert error.event_id == "evt_client_1"


@settings(deadline=None, max_examples=200)
@given(st.lists(FRAMES, min_size=1, max_size=4))
def test_session_survives_random_events_and_answers_each_mistake(frames: list[dict[str, object]]) -> None:
    pair = WirePair()
    for number, frame in enumerate(frames):
        events = pair.client_text(json.dumps(frame | {"event_id": f"f{number}"}))
        assert all(event["error"]["event_id"] == f"f{number}" for event in events if event["type"] == "error")
    assert pair.client("session.update", session={"instructions": "still here"})[-1]["type"] == "session.updated"
