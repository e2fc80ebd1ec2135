"""Whole conversations over the wire, each played against the real session core."""

from __future__ import annotations

import base64
from collections.abc import Callable

from pipelines.session.effects import FinalizeTranscript, StartAnswer
from pipelines.session.settings import Modality
from pipelines.session.stimuli import AnswerFailed, ClauseReady, TranscriptFailed
from tests.unit.pipelines.session.pair import MANUAL
from tests.unit.pipelines.wire.wire_pair import WirePair

AUDIO_200_MS = base64.b64encode(b"\1\0" * 4800).decode()


def audio_turn(**options: object) -> WirePair:
    pair = WirePair(**options)
    pair.be_silent(320)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("what is the return window")
    pair.answer("You have 30 days.")
    pair.synthesize(times=2)
    return pair


def user_says(pair: WirePair, text: str, **fields: object) -> None:
    content = [{"type": "input_text", "text": text}]
    pair.client("conversation.item.create", item={"type": "message", "role": "user", "content": content, **fields})


def text_turn() -> WirePair:
    pair = WirePair()
    pair.client("session.update", session={"type": "realtime", "output_modalities": ["text"]})
    user_says(pair, "hello")
    pair.client("response.create", response={"metadata": {"client_event_id": "abc"}})
    pair.answer("Hello, ", "how can I help?")
    return pair


def manual_turn() -> WirePair:
    pair = WirePair(MANUAL)
    pair.client("input_audio_buffer.append", audio=AUDIO_200_MS)
    pair.client("input_audio_buffer.commit")
    pair.client("response.create")
    pair.transcribe("where is my order")
    pair.answer("On its way.")
    pair.synthesize()
    return pair


def speaking() -> WirePair:
    """An answer of which 300 ms have been sent, and whose second clause is still to come."""
    pair = WirePair()
    user_says(pair, "tell me a story")
    pair.client("response.create")
    pair.send(ClauseReady(pair.last(StartAnswer).generation, "Once upon a time, ", is_last=False))
    pair.synthesize(times=3)
    return pair


def server_barge_in() -> WirePair:
    pair = speaking()
    pair.now_ms += 100
    pair.speak(128)
    item_id = pair.only("response.output_item.added")["item"]["id"]
    pair.client("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=150)
    pair.client("conversation.item.retrieve", item_id=item_id)
    return pair


def client_cancel() -> WirePair:
    pair = speaking()
    pair.client("response.cancel")
    pair.client("response.cancel", event_id="late")
    return pair


def failed_answer() -> WirePair:
    pair = WirePair()
    user_says(pair, "hello")
    pair.client("response.create")
    pair.send(AnswerFailed(pair.last(StartAnswer).generation, "The language model is not available."))
    return pair


def failed_transcript() -> WirePair:
    pair = WirePair(MANUAL)
    pair.client("input_audio_buffer.append", audio=AUDIO_200_MS)
    pair.client("input_audio_buffer.commit")
    order = pair.last(FinalizeTranscript)
    pair.send(TranscriptFailed(order.item_id, order.generation, "Recognition is not available."))
    return pair


def out_of_band() -> WirePair:
    pair = WirePair()
    content = [{"type": "input_text", "text": "classify this"}]
    response = {
        "conversation": "none",
        "input": [{"type": "message", "role": "user", "content": content}],
        "output_modalities": [Modality.TEXT.value],
        "metadata": {"topic": "class"},
    }
    pair.client("response.create", response=response)
    pair.answer("a question")
    return pair


def item_work() -> WirePair:
    pair = WirePair()
    user_says(pair, "hello", id="msg_client_1")
    call = {"type": "function_call", "name": "f", "call_id": "call_1", "arguments": "{}"}
    pair.client("conversation.item.create", item=call)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
    pair.client("conversation.item.create", item=output, previous_item_id="msg_client_1")
    system = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be kind"}]}
    pair.client("conversation.item.create", item=system, previous_item_id="root")
    pair.client("conversation.item.retrieve", item_id="msg_client_1")
    pair.client("conversation.item.delete", item_id="msg_client_1")
    pair.client("input_audio_buffer.clear")
    return pair


def mistakes() -> WirePair:
    pair = WirePair()
    pair.client_text('{"event_id": "m1", "type":')
    pair.client("no.such.event", event_id="m2")
    pair.client("conversation.item.retrieve", event_id="m3", item_id="nowhere")
    pair.client("input_audio_buffer.commit", event_id="m4")
    pair.client("response.cancel", event_id="m5")
    pair.client("input_audio_buffer.append", event_id="m6", audio="YQ==")
    pair.client("output_audio_buffer.clear", event_id="m7")
    user_says(pair, "hello")
    pair.client("response.create")
    pair.client("response.create", event_id="m8")
    return pair


def transcription_session() -> WirePair:
    pair = WirePair(is_transcription=True)
    pair.be_silent(320)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("note this down")
    pair.client("response.create", event_id="t1")
    return pair


def telephone_turn() -> WirePair:
    pair = WirePair()
    audio = {"input": {"format": {"type": "audio/pcma"}}, "output": {"format": {"type": "audio/pcmu"}}}
    pair.client("session.update", session={"type": "realtime", "audio": audio})
    user_says(pair, "hello")
    pair.client("response.create")
    pair.answer("Hello.")
    pair.synthesize(times=3)
    return pair


SCENARIOS: dict[str, Callable[[], WirePair]] = {
    scenario.__name__: scenario
    for scenario in (
        audio_turn, text_turn, manual_turn, server_barge_in, client_cancel, failed_answer, failed_transcript,
        out_of_band, item_work, mistakes, transcription_session, telephone_turn,
    )
}  # fmt: skip
