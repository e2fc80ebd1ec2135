"""What stock clients break on."""

import base64
import json

import pytest

from pipelines.session.effects import AnswerAudio, PartialTranscript, ResponseStarted
from pipelines.session.settings import Modality, SessionSettings
from pipelines.wire.translate import WireTranslator
from tests.unit.pipelines.wire.scenarios import SCENARIOS

pytestmark = pytest.mark.unit

# The table `_server_event_types` of pipecat-ai 1.14: any other type ends its receive loop (older releases) or is lost.
PIPECAT_KNOWS = frozenset(
    [
        "error",
        "session.created",
        "session.updated",
        "conversation.created",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "conversation.item.truncated",
        "conversation.item.deleted",
        "conversation.item.retrieved",
        "response.created",
        "response.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "rate_limits.updated",
    ]
)
SMALLEST_MESSAGE_LIMIT_BYTES = 1024 * 1024  # default of the websockets package


def translator(*, private_events: bool) -> WireTranslator:
    return WireTranslator(
        "sess_7",
        model="voxray",
        defaults=SessionSettings(),
        expires_at_s=1,
        transcription_model="asr",
        private_events=private_events,
    )


def test_pipecat_knows_31_events() -> None:
    assert len(PIPECAT_KNOWS) == 31


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_sent_that_pipecat_does_not_know(name: str) -> None:
    assert {event["type"] for event in SCENARIOS[name]().events} <= PIPECAT_KNOWS


def test_scenarios_send_every_event_that_pipecat_knows_and_we_have() -> None:
    sent = {event["type"] for scenario in SCENARIOS.values() for event in scenario().events}
    assert PIPECAT_KNOWS - sent == {
        "conversation.created",
        "rate_limits.updated",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
    }


def test_private_events_need_the_opt_in() -> None:
    partial = PartialTranscript("item_1", "what is", 4)
    silent, open_minded = translator(private_events=False), translator(private_events=True)
    assert silent.outbound(partial) == []
    assert silent.trace({"first_audio_ms": 1}) == []
    (shown,) = map(json.loads, open_minded.outbound(partial))
    assert (shown["type"], shown["text"], shown["stable_chars"]) == ("voxray.transcript.partial", "what is", 4)
    (trace,) = map(json.loads, open_minded.trace({"first_audio_ms": 1}))
    assert (trace["type"], trace["marks"]) == ("voxray.trace", {"first_audio_ms": 1})


def test_long_audio_is_cut_below_the_message_limit_of_stock_sockets() -> None:
    wire = translator(private_events=False)
    wire.outbound(ResponseStarted("resp_1", Modality.AUDIO, "v", (), is_out_of_band=False))
    pcm = bytes(range(256)) * 8 * 1024
    messages = wire.outbound(AnswerAudio("resp_1", "item_1", pcm))
    assert max(map(len, messages)) < SMALLEST_MESSAGE_LIMIT_BYTES
    assert b"".join(base64.b64decode(json.loads(message)["delta"]) for message in messages) == pcm


def test_server_fault_is_an_event_of_its_own_type() -> None:
    (event,) = map(json.loads, translator(private_events=False).fail("overloaded", "Try again."))
    assert event["type"] == "error"
    assert event["error"] == {
        "type": "server_error", "code": "overloaded", "message": "Try again.", "param": None, "event_id": None,
    }  # fmt: skip
