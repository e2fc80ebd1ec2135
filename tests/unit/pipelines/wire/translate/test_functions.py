"""The translator's parts by themselves: items, requests, the session as its client sees it, framed responses."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipelines.errors import PeerError
from pipelines.session.effects import AnswerAudio, AnswerItemStarted, ResponseFinished, ResponseStarted, ResponseStatus
from pipelines.session.items import Item, ItemKind, ItemStatus, Role, WordMark
from pipelines.session.settings import Eagerness, Modality, SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.session.stimuli import (
    AudioCommitRequested,
    ItemTruncateRequested,
    ResponseCancelRequested,
    ResponseCreateRequested,
)
from pipelines.wire.client_events import (
    ConversationItemTruncate,
    InputAudioBufferCommit,
    OutputAudioBufferClear,
    ResponseCancel,
    ResponseCreate,
)
from pipelines.wire.item_shapes import ItemShape
from pipelines.wire.payloads import AudioContent, FunctionCallOutputItem, MessageItem, TextContent
from pipelines.wire.session_object import SessionObject, merge_session
from pipelines.wire.translate.answers import AnswerEvents
from pipelines.wire.translate.inbound import response_request_from, stimulus_from, voice_is_fixed
from pipelines.wire.translate.items import item_from_wire, item_to_wire
from pipelines.wire.translate.session_view import SessionView, initial_session_object
from pipelines.wire.translate.state import OpenResponse

pytestmark = pytest.mark.unit
SHAPES: TypeAdapter[Any] = TypeAdapter(ItemShape)


def view(**update: Any) -> SessionView:
    defaults = SessionSettings(voice="joe", turn_detection=TurnDetection(kind=TurnDetectionKind.SERVER_VAD))
    first = SessionView("s", initial_session_object("m", "whisper", defaults), expires_at_s=9, defaults=defaults)
    return first.with_update(SessionObject.model_validate(update)) if update else first


def asked(response: dict[str, Any] | None = None, *, on: SessionView | None = None) -> ResponseCreateRequested:
    event = ResponseCreate.model_validate({"type": "response.create", "event_id": "e", "response": response})
    return response_request_from(event, on or view(), "conv_1", is_voice_fixed=True)


def message(role: str, *content: dict[str, str]) -> Item:
    return item_from_wire(SHAPES.validate_python({"type": "message", "role": role, "content": list(content)}))


@pytest.mark.parametrize(
    "shape",
    [
        {"type": "message", "role": "robot", "content": []},
        {"type": "message", "role": "system", "content": [{"type": "input_audio", "transcript": "x"}]},
        {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": "x"}]},
        {"type": "message", "role": "user", "id": "x" * 129, "content": []},
        {"type": "function_call_output", "output": "x"},
        {"type": "message", "role": "user", "status": "lost", "content": []},
    ],
)
def test_impossible_item_is_refused(shape: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SHAPES.validate_python(shape)


def test_parts_of_a_message_are_lines_and_speech_counts_by_its_words() -> None:
    item = message("user", {"type": "input_text", "text": "a"}, {"type": "input_audio", "transcript": "b"})
    assert item == Item("", Role.USER, text="a\nb", is_audio=True)
    assert item_to_wire(item) == MessageItem(
        id="", status="completed", role="user", content=(AudioContent("input_audio", "a\nb"),)
    )


def test_function_items_are_said_by_nobody_and_come_back_as_they_were() -> None:
    output = item_from_wire(SHAPES.validate_python({"type": "function_call_output", "call_id": "c", "output": "42"}))
    assert (output.role, output.kind, output.call_id) == (Role.SYSTEM, ItemKind.FUNCTION_CALL_OUTPUT, "c")
    assert item_to_wire(output) == FunctionCallOutputItem(id="", status="completed", call_id="c", output="42")


def test_answer_that_was_cut_off_shows_what_was_heard_and_a_written_one_its_text() -> None:
    words = (WordMark(5, 0), WordMark(11, 400))
    item = Item("i", Role.ASSISTANT, text="hello world", is_audio=True, heard_ms=300, words=words)
    shown = item_to_wire(item)
    assert isinstance(shown, MessageItem)
    assert shown.content == (AudioContent("output_audio", "hello"),)
    written = item_to_wire(Item("i", Role.ASSISTANT, text="hello"))
    assert isinstance(written, MessageItem)
    assert written.content == (TextContent("output_text", "hello"),)


def test_plain_events_say_the_same_to_the_core() -> None:
    commit = InputAudioBufferCommit(type="input_audio_buffer.commit", event_id="e")
    assert stimulus_from(commit) == AudioCommitRequested("e")
    cut = ConversationItemTruncate(
        type="conversation.item.truncate", item_id="i", content_index=0, audio_end_ms=70, event_id="e"
    )
    assert stimulus_from(cut) == ItemTruncateRequested("i", 0, 70, "e")
    cancel = ResponseCancel(type="response.cancel", response_id="r")
    assert stimulus_from(cancel) == ResponseCancelRequested("r", None)


def test_event_of_another_transport_is_refused_by_name() -> None:
    with pytest.raises(PeerError, match="WebRTC and SIP") as caught:
        stimulus_from(OutputAudioBufferClear(type="output_audio_buffer.clear", event_id="e"))
    assert (caught.value.code, caught.value.event_id) == ("unsupported_event", "e")


def test_request_takes_what_the_client_asked_and_leaves_the_rest_open() -> None:
    assert asked() == ResponseCreateRequested(event_id="e")
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    found = asked(
        {
            "conversation": "none",
            "input": [item],
            "output_modalities": ["text"],
            "max_output_tokens": 7,
            "metadata": {"a": "b"},
        }
    )
    assert (found.is_out_of_band, found.modality, found.max_output_tokens) == (True, Modality.TEXT, 7)
    assert found.metadata == (("a", "b"),)
    assert found.input_items == (Item("", Role.USER, text="hi"),)
    assert asked({"max_output_tokens": "inf", "conversation": "conv_1"}).max_output_tokens is None


@pytest.mark.parametrize(
    ("response", "code", "param"),
    [
        ({"conversation": "another"}, "invalid_value", "response.conversation"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "invalid_value", "response.audio.output.format"),
        ({"audio": {"output": {"voice": "amy"}}}, "cannot_update_voice", "response.audio.output.voice"),
        ({"audio": {"output": {"voice": {"id": "amy"}}}}, "cannot_update_voice", "response.audio.output.voice"),
    ],
)
def test_request_that_cannot_be_met_names_its_field(response: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(PeerError) as caught:
        asked(response)
    assert (caught.value.code, caught.value.param, caught.value.event_id) == (code, param, "e")


def test_transcription_session_gives_no_response() -> None:
    with pytest.raises(PeerError, match="gives no responses"):
        asked(on=view(type="transcription"))


def test_same_voice_may_be_named_again() -> None:
    assert asked({"audio": {"output": {"voice": "joe"}}}).voice == "joe"
    assert voice_is_fixed("session.audio", "e").param == "session.audio"


def test_merge_goes_key_by_key_in_audio_and_replaces_the_rest() -> None:
    current = {"audio": {"input": {"format": 1, "transcription": {"model": "a", "language": "en"}}}, "tools": [1]}
    update: dict[str, Any] = {
        "audio": {"input": {"transcription": {"model": "b"}, "format": None}},
        "tools": [],
        "tool_choice": None,
    }
    merged = merge_session(current, update)
    assert merged == {"audio": {"input": {"format": 1, "transcription": {"model": "b"}}}, "tools": []}
    assert (
        merge_session(current, {"audio": {"input": {"transcription": None}}})["audio"]["input"]["transcription"] is None
    )
    assert current["tools"] == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_modalities": ["audio", "text"]},
        {"max_output_tokens": 0},
        {"audio": {"output": {"speed": 2.0}}},
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.1}}}},
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
        {"instructions": 5},
    ],
)
def test_impossible_value_of_a_known_key_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SessionObject.model_validate(wrong)
    assert SessionObject.model_validate({"of_another_version": 1}) == SessionObject()


def test_update_makes_a_new_view_and_keeps_the_model_that_was_chosen() -> None:
    first = view()
    second = first.with_update(SessionObject.model_validate({"model": "x", "instructions": "Be brief."}))
    assert first.settings().instructions == ""
    assert second.settings().instructions == "Be brief."
    assert second.session_object["model"] == "m"


def test_eagerness_sets_the_longest_silence_and_manual_turns_none() -> None:
    def with_turns(turns: dict[str, Any] | None) -> TurnDetection | None:
        return view(audio={"input": {"turn_detection": turns}}).settings().turn_detection

    low = with_turns({"type": "semantic_vad", "eagerness": "low"})
    assert low is not None
    assert (low.kind, low.eagerness, low.max_silence_ms) == (TurnDetectionKind.SEMANTIC_VAD, Eagerness.LOW, 8000)
    assert with_turns(None) is None
    plain = with_turns({"type": "server_vad", "silence_duration_ms": 320})
    assert plain is not None
    assert (plain.silence_duration_ms, plain.create_response) == (320, True)


def test_transcription_session_answers_nothing_and_shows_only_its_input() -> None:
    found = view(type="transcription", include=["item.input_audio_transcription.logprobs"])
    detection = found.settings().turn_detection
    assert detection is not None
    assert (detection.create_response, detection.interrupt_response) == (False, False)
    echo = found.echo()
    assert (echo["object"], echo["id"], echo["expires_at"]) == ("realtime.transcription_session", "s", 9)
    assert set(echo["audio"]) == {"input"}


def test_second_of_audio_at_most_is_in_one_delta_and_an_open_response_goes_on_elsewhere() -> None:
    numbers = itertools.count(1)
    events = AnswerEvents("conv_1", lambda: f"e{next(numbers)}")
    found = list(events.started(ResponseStarted("r", Modality.AUDIO, "joe", (), False), view()))
    found += events.item_started(AnswerItemStarted("r", "i", "before", Modality.AUDIO))
    assert [event.type for event in found] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
    ]
    deltas = list(events.audio(AnswerAudio("r", "i", bytes(2 * 24_000 * 5 // 2))))
    assert len(deltas) == 3
    assert events.has_sent_audio
    (left,) = events.save()
    assert isinstance(left, OpenResponse)
    assert (left.response_id, left.has_item, left.previous_item_id) == ("r", True, "before")
    again = AnswerEvents("conv_1", lambda: "e")
    again.resume([left], has_sent_audio=True)
    assert again.save() == (left,)


@pytest.mark.parametrize(
    ("status", "details"),
    [(ResponseStatus.COMPLETED, None), (ResponseStatus.CANCELLED, "cancelled"), (ResponseStatus.FAILED, "failed")],
)
def test_response_that_ends_closes_its_item_before_itself(status: ResponseStatus, details: str | None) -> None:
    events = AnswerEvents("conv_1", lambda: "e")
    list(events.started(ResponseStarted("r", Modality.TEXT, "joe", (), True), view()))
    list(events.item_started(AnswerItemStarted("r", "i", None, Modality.TEXT)))
    item = Item("i", Role.ASSISTANT, text="Yes.", status=ItemStatus.COMPLETED)
    notice = ResponseFinished("r", status, "", item, Modality.TEXT, "joe", (), True, 5, 2, "engine gone")
    closing = list(events.finished(notice))
    assert [event.type for event in closing] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    done: Any = closing[-1]
    assert done.response.conversation_id is None
    assert (done.response.usage.total_tokens, done.response.status) == (7, status.value)
    assert (done.response.status_details and done.response.status_details.type) == details
    assert events.save() == ()
