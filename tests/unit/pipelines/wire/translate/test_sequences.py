"""The order of events on the wire, in whole conversations with the real session core."""

import base64

import pytest

from tests.unit.pipelines.session.pair import AUDIO_100_MS
from tests.unit.pipelines.wire.scenarios import SCENARIOS
from tests.unit.pipelines.wire.wire_pair import WirePair

pytestmark = pytest.mark.unit

USER_ITEM = ["conversation.item.added", "conversation.item.done"]
TRANSCRIPT = [
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
]
ANSWER_ITEM = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
SPOKEN = ["response.output_audio_transcript.delta", "response.output_audio.delta"]
ITEM_END = ["response.content_part.done", "response.output_item.done", "conversation.item.done", "response.done"]
SPOKEN_END = ["response.output_audio.done", "response.output_audio_transcript.done", *ITEM_END]
WRITTEN = ["response.output_text.delta", "response.output_text.done"]

GOLDEN = {
    "audio_turn": [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
        *USER_ITEM, "response.created", *TRANSCRIPT, *ANSWER_ITEM, *SPOKEN, *SPOKEN_END,
    ],
    "text_turn": ["session.updated", *USER_ITEM, "response.created", *ANSWER_ITEM, *WRITTEN, *ITEM_END],
    "manual_turn": [
        "input_audio_buffer.committed", *USER_ITEM, "response.created", *TRANSCRIPT, *ANSWER_ITEM, *SPOKEN, *SPOKEN_END,
    ],
    "server_barge_in": [
        *USER_ITEM, "response.created", *ANSWER_ITEM, *SPOKEN, "input_audio_buffer.speech_started", *SPOKEN_END,
        "conversation.item.truncated", "conversation.item.retrieved",
    ],
    "client_cancel": [*USER_ITEM, "response.created", *ANSWER_ITEM, *SPOKEN, *SPOKEN_END, "error"],
    "failed_answer": [*USER_ITEM, "response.created", "response.done"],
    "failed_transcript": [
        "input_audio_buffer.committed", *USER_ITEM, "conversation.item.input_audio_transcription.failed",
    ],
    "out_of_band": [
        "response.created", "response.output_item.added", "response.content_part.added", *WRITTEN,
        "response.content_part.done", "response.output_item.done", "response.done",
    ],
    "item_work": [
        *USER_ITEM * 4, "conversation.item.retrieved", "conversation.item.deleted", "input_audio_buffer.cleared",
    ],
    "mistakes": ["error", *USER_ITEM, "response.created", "error"],
    "transcription_session": [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
        *USER_ITEM, *TRANSCRIPT, "error",
    ],
    "telephone_turn": ["session.updated", *USER_ITEM, "response.created", *ANSWER_ITEM, *SPOKEN, *SPOKEN_END],
}  # fmt: skip


def play(name: str) -> WirePair:
    return SCENARIOS[name]()


def response_done(name: str) -> dict:
    return play(name).only("response.done")["response"]


def test_every_scenario_has_its_golden_sequence() -> None:
    assert GOLDEN.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_events_come_in_the_documented_order(name: str) -> None:
    assert play(name).types() == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_every_event_has_an_id_of_its_own(name: str) -> None:
    ids = [event["event_id"] for event in play(name).events]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def test_session_created_comes_first_with_all_that_stock_clients_read() -> None:
    event = WirePair().events[0]
    session = event["session"]
    assert event["type"] == "session.created"
    assert (session["object"], session["type"], session["id"]) == ("realtime.session", "realtime", "sess_7")
    assert session["expires_at"] == 1_900_000_000
    assert session["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}


def test_completed_response_has_nullable_details_output_and_usage() -> None:
    response = response_done("audio_turn")
    assert response["object"] == "realtime.response"
    assert (response["status"], response["status_details"]) == ("completed", None)
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "You have 30 days."}]
    assert response["usage"]["total_tokens"] == response["usage"]["input_tokens"] + response["usage"]["output_tokens"]
    assert response["conversation_id"] == "conv_7"


def test_metadata_is_echoed_at_both_ends_of_a_response() -> None:
    pair = play("text_turn")
    for event_type in ("response.created", "response.done"):
        assert pair.only(event_type)["response"]["metadata"] == {"client_event_id": "abc"}


def test_user_item_is_announced_with_its_transcript_pending() -> None:
    item = play("audio_turn").of_type("conversation.item.done")[0]["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": None}]


def test_transcription_is_measured_in_seconds_of_audio() -> None:
    event = play("manual_turn").only("conversation.item.input_audio_transcription.completed")
    assert (event["transcript"], event["usage"]) == ("where is my order", {"seconds": 0.2, "type": "duration"})


@pytest.mark.parametrize(
    ("name", "reason"), [("server_barge_in", "turn_detected"), ("client_cancel", "client_cancelled")]
)
def test_cancelled_response_says_by_whom(name: str, reason: str) -> None:
    response = response_done(name)
    assert (response["status"], response["status_details"]) == ("cancelled", {"type": "cancelled", "reason": reason})
    assert response["output"][0]["status"] == "incomplete"


def test_truncated_item_shows_what_was_heard() -> None:
    pair = play("server_barge_in")
    assert pair.only("conversation.item.truncated")["audio_end_ms"] == 150
    assert pair.only("conversation.item.retrieved")["item"]["content"][0]["type"] == "output_audio"


def test_failed_response_carries_the_error() -> None:
    details = response_done("failed_answer")["status_details"]
    assert (details["type"], details["error"]["type"]) == ("failed", "server_error")
    assert details["error"]["message"] == "The language model is not available."


def test_out_of_band_response_is_in_no_conversation() -> None:
    pair = play("out_of_band")
    assert pair.only("response.done")["response"]["conversation_id"] is None
    assert pair.only("response.done")["response"]["metadata"] == {"topic": "class"}


def test_every_refusal_echoes_the_event_id_and_leaves_the_session_up() -> None:
    errors = [event["error"] for event in play("mistakes").of_type("error")]
    assert [error["event_id"] for error in errors] == [f"m{number}" for number in range(1, 9)]
    assert {error["type"] for error in errors} == {"invalid_request_error"}
    assert [error["code"] for error in errors[2:5]] == [
        "item_retrieve_invalid_item_id",
        "input_audio_buffer_commit_empty",
        "response_cancel_not_active",
    ]
    assert errors[7]["code"] == "conversation_already_has_active_response"
    assert errors[4]["message"].startswith("Cancellation failed")


def test_items_keep_the_clients_ids_and_places() -> None:
    added = [
        (event["item"]["id"], event["previous_item_id"])
        for event in play("item_work").of_type("conversation.item.added")
    ]
    call_id, output_id = added[1][0], added[2][0]
    assert added == [
        ("msg_client_1", None), (call_id, "msg_client_1"), (output_id, "msg_client_1"), (added[3][0], None),
    ]  # fmt: skip


def test_pcm_answer_arrives_byte_for_byte() -> None:
    deltas = play("audio_turn").of_type("response.output_audio.delta")
    assert b"".join(base64.b64decode(event["delta"]) for event in deltas) == AUDIO_100_MS * 2


def test_telephone_answer_is_as_long_as_its_speech() -> None:
    pair = play("telephone_turn")
    deltas = pair.of_type("response.output_audio.delta")
    assert sum(len(base64.b64decode(event["delta"])) for event in deltas) == 300 * 8
    assert pair.only("response.done")["response"]["audio"]["output"]["format"] == {"type": "audio/pcmu"}
