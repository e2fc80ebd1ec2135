"""The calls that are recorded. Each is a client's script; item ids are known, since a session counts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.unit.transcripts.cast import (
    FOLLOW_UP,
    GOODBYE,
    OFF_TOPIC,
    RETURNS,
    SHIPPING,
    LevelRecognizer,
    SquareVoice,
    failing,
    linked_transcriber,
    retriever,
)
from tests.unit.transcripts.product import (
    Cast,
    LinkedTranscriber,
    Script,
    ScriptedLanguageModel,
    ScriptedTurnDetector,
    SessionSettings,
    TurnDetection,
    TurnDetectionKind,
    WindowedTranscriber,
)
from tests.unit.transcripts.recording import Scenario, ScriptedCall, record, windowed_cast

SERVER_VAD = SessionSettings(turn_detection=TurnDetection(TurnDetectionKind.SERVER_VAD))
SEMANTIC_VAD = SessionSettings(turn_detection=TurnDetection(TurnDetectionKind.SEMANTIC_VAD))
MANUAL = SessionSettings(turn_detection=None)
RETURNS_ANSWER = "You can return unused items within 30 days of delivery."
SHIPPING_ANSWER = "Standard shipping costs $6."


def model(*answers: str, **options: Any) -> ScriptedLanguageModel:
    """Return a language model that gives `answers` in order, 120 ms to the first clause."""
    return ScriptedLanguageModel(answers, script=options.pop("script", Script(delay_s=0.12)), **options)


def cast(*answers: str, **parts: Any) -> Callable[[], Cast]:
    """Return what makes a cast; the values of `parts` are made anew for every call."""
    return lambda: windowed_cast(**{"language_model": model(*answers)} | {name: make() for name, make in parts.items()})


@dataclass(frozen=True)
class Recipe:
    """A scenario and what it is played with."""

    scenario: Scenario
    make_cast: Callable[[], Cast]
    defaults: SessionSettings = SERVER_VAD
    wire_options: dict[str, bool] = field(default_factory=dict)

    def record(self) -> list[str]:
        return record(self.scenario, self.make_cast, self.defaults, **self.wire_options)


async def one_turn(call: ScriptedCall) -> None:
    await call.is_silent(400)
    await call.says(RETURNS)
    await call.until_answered()
    await call.is_silent(200)


async def pause_and_resume(call: ScriptedCall) -> None:
    """The pause is long enough for a draft, and the turn model is not sure: the draft is dropped."""
    await call.is_silent(400)
    await call.says(RETURNS, words=6)
    await call.is_silent(440)
    await call.says(RETURNS, first=6)
    await call.until_answered()


async def barge_in(call: ScriptedCall) -> None:
    """The caller speaks over the answer; its text is cut to what can have been heard."""
    await call.is_silent(400)
    await call.says(RETURNS)
    await call.until("response.output_audio.delta", count=8)
    await call.says(SHIPPING)
    item = await call.until("response.output_item.added")
    await call.until("response.done", count=2)
    call.send("conversation.item.truncate", item_id=item["item"]["id"], content_index=0, audio_end_ms=300)
    call.send("conversation.item.retrieve", item_id=item["item"]["id"])


async def follow_up(call: ScriptedCall) -> None:
    await call.is_silent(400)
    await call.says(SHIPPING)
    await call.until_answered()
    await call.is_silent(1500)
    await call.says(FOLLOW_UP)
    await call.until("response.done", count=2)
    await call.is_silent(700)
    await call.says(GOODBYE)
    await call.until("response.done", count=3)


async def manual_turn(call: ScriptedCall) -> None:
    await call.says(SHIPPING)
    await call.is_silent(100)
    call.send("input_audio_buffer.commit", event_id="c1")
    call.send("response.create", event_id="c2", response={"metadata": {"ticket": "42"}})
    await call.until_answered()


async def manual_clear(call: ScriptedCall) -> None:
    await call.says(SHIPPING, words=3)
    call.send("input_audio_buffer.clear")
    call.send("input_audio_buffer.commit", event_id="c1")
    await call.is_silent(200)
    call.send("input_audio_buffer.commit", event_id="c2")
    await call.until("conversation.item.input_audio_transcription.completed")
    call.send("response.create")
    await call.until_answered()


async def written_turn(call: ScriptedCall) -> None:
    call.send("session.update", session={"type": "realtime", "output_modalities": ["text"]})
    writes(call, "How many days do I have to return an item?")
    call.send("response.create")
    await call.until_answered()
    call.send("response.create")
    await call.until("response.done", count=2)


async def greeting(call: ScriptedCall) -> None:
    """A response without a question."""
    call.send("response.create", response={"max_output_tokens": 40})
    await call.until_answered()


async def out_of_band(call: ScriptedCall) -> None:
    content = [{"type": "input_text", "text": "How much is shipping?"}]
    response = {
        "conversation": "none",
        "input": [{"type": "message", "role": "user", "content": content}],
        "output_modalities": ["text"],
        "metadata": {"topic": "prices"},
    }
    call.send("response.create", response=response)
    await call.until_answered()
    await one_turn(call)


async def cancelled(call: ScriptedCall) -> None:
    writes(call, "How many days do I have to return an item?")
    call.send("response.create", event_id="r1")
    await call.until("response.output_audio.delta", count=3)
    call.send("response.create", event_id="r2")
    call.send("response.cancel", event_id="r3")
    call.send("response.cancel", event_id="r4")
    writes(call, "How much is standard shipping?")
    call.send("response.create", event_id="r5")
    await call.until("response.done", count=2)


async def truncated(call: ScriptedCall) -> None:
    """A client that cuts off the item in progress ends the response, too."""
    writes(call, "How many days do I have to return an item?")
    call.send("response.create")
    item = (await call.until("response.output_item.added"))["item"]["id"]
    await call.until("response.output_audio.delta", count=9)
    call.send("conversation.item.truncate", event_id="t1", item_id=item, content_index=0, audio_end_ms=90_000)
    call.send("conversation.item.truncate", event_id="t2", item_id=item, content_index=0, audio_end_ms=450)
    call.send("conversation.item.retrieve", item_id=item)
    await call.is_silent(500)


async def items(call: ScriptedCall) -> None:
    writes(call, "My order is 1042.", id="msg_1")
    writes(call, "Please be kind.", role="system", id="msg_2")
    function = {"type": "function_call", "name": "find", "call_id": "call_1", "arguments": "{}"}
    call.send("conversation.item.create", item=function, previous_item_id="root")
    output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
    call.send("conversation.item.create", item=output, previous_item_id="msg_1")
    call.send("conversation.item.retrieve", item_id="msg_2")
    call.send("conversation.item.delete", item_id="msg_1", event_id="d1")
    call.send("conversation.item.delete", item_id="msg_1", event_id="d2")
    call.send("conversation.item.retrieve", item_id="msg_1", event_id="d3")
    writes(call, "again", id="msg_2")
    await call.is_silent(60)


async def deleted_while_recognised(call: ScriptedCall) -> None:
    await call.says(SHIPPING, words=3)
    call.send("input_audio_buffer.commit")
    call.send("conversation.item.delete", item_id="item_7_1")
    await call.is_silent(400)


async def settings(call: ScriptedCall) -> None:
    """Turn detection is switched under an open utterance; formats, voice and speed change; some changes are refused."""
    await call.is_silent(200)
    await call.says(SHIPPING, words=3)
    turn_detection = {"type": "semantic_vad", "eagerness": "high"}
    call.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    session = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": {"turn_detection": turn_detection}}}
    call.send("session.update", session=session)
    call.send("session.update", event_id="s1", session={"type": "realtime", "audio": {"output": {"speed": 9}}})
    call.send("session.update", event_id="s2", session={"type": "realtime", "audio": {"output": {"speed": 1.25}}})
    await call.is_silent(300)
    await call.says(RETURNS)
    await call.until_answered()
    call.send("session.update", event_id="s3", session={"type": "realtime", "audio": {"output": {"voice": "other"}}})
    call.send("session.update", event_id="s4", session={"type": "realtime", "max_output_tokens": 20})


async def telephone(call: ScriptedCall) -> None:
    """The answer leaves as A-law; what the caller says comes as PCM."""
    audio = {"output": {"format": {"type": "audio/pcma"}}}
    call.send("session.update", session={"type": "realtime", "audio": audio})
    await one_turn(call)


async def mistakes(call: ScriptedCall) -> None:
    call.send_text('{"event_id": "m1", "type":')
    call.send_text("[1, 2]")
    call.send_text('"text"')
    call.send("no.such.event", event_id="m2")
    call.send("conversation.item.retrieve", event_id="m3", item_id="nowhere")
    call.send("conversation.item.retrieve", event_id="m4")
    call.send("input_audio_buffer.commit", event_id="m5")
    call.send("response.cancel", event_id="m6")
    call.send("input_audio_buffer.append", event_id="m7", audio="YQ==")
    call.send("input_audio_buffer.append", event_id="m8", audio="%%%")
    call.send("output_audio_buffer.clear", event_id="m9")
    call.send("session.update", event_id="m10", session={"type": "realtime", "output_modalities": ["smell"]})
    call.send("session.update", event_id="m11", session={"type": "realtime", "no_such_field": 1})
    call.send("conversation.item.create", event_id="m12", item={"type": "message", "role": "user", "content": []})
    call.send("conversation.item.create", event_id="m13", item={"type": "message", "role": "nobody"})
    call.send("response.create", event_id="m14", response={"output_modalities": ["audio", "text"]})
    writes(call, "hello", previous_item_id="nowhere", event_id="m15")
    call.send("conversation.item.truncate", event_id="m16", item_id="nowhere", content_index=0, audio_end_ms=1)
    await call.is_silent(60)


async def long_utterance(call: ScriptedCall) -> None:
    """A caller who does not stop is answered all the same; what follows is another turn."""
    await call.is_silent(200)
    await call.says(RETURNS)
    await call.says(RETURNS)
    await call.until("response.done", count=2)


async def muted(call: ScriptedCall) -> None:
    """The client stops sending at the last word: the turn ends by the clock."""
    await call.is_silent(200)
    await call.says(RETURNS)
    await call.sends_nothing(4000)
    await call.is_silent(40)


async def transcription(call: ScriptedCall) -> None:
    await call.is_silent(200)
    await call.says(SHIPPING)
    await call.is_silent(900)
    call.send("response.create", event_id="t1")
    await call.says(OFF_TOPIC)
    await call.until("conversation.item.input_audio_transcription.completed", count=2)


async def off_topic(call: ScriptedCall) -> None:
    await call.is_silent(200)
    await call.says(OFF_TOPIC)
    await call.until_answered()


async def replica_lost(call: ScriptedCall) -> None:
    """The recogniser's replica dies in mid-utterance; another one hears the utterance from its first sample on."""
    await call.is_silent(200)
    await call.says(RETURNS, words=5)
    call.cast.transcriber.lose("asr-1")
    await call.says(RETURNS, first=5)
    await call.until_answered()


async def hang_up_while_speaking(call: ScriptedCall) -> None:
    await call.is_silent(200)
    await call.says(RETURNS)
    await call.until("response.output_audio.delta", count=5)


async def queued_turn(call: ScriptedCall) -> None:
    """With `interrupt_response` off, a turn that ends under an answer is answered after it."""
    turn_detection = {"type": "server_vad", "interrupt_response": False, "silence_duration_ms": 320}
    call.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}})
    await call.is_silent(200)
    await call.says(RETURNS)
    await call.until("response.output_audio.delta", count=2)
    await call.says(GOODBYE)
    await call.until("response.done", count=2)


def writes(call: ScriptedCall, text: str, *, role: str = "user", id: str = "", **fields: Any) -> None:
    item = {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
    call.send("conversation.item.create", item=item | ({"id": id} if id else {}), **fields)


def breaking_transcriber(*, times: int = 1, retryable: bool = False) -> WindowedTranscriber:
    return WindowedTranscriber(
        LevelRecognizer(failing("transcriber", times=times, retryable=retryable)).recognize, partial_interval_ms=700
    )


_TRACED = {"private_events": True}
_TRANSCRIBED = {"private_events": True, "is_transcription": True}
_SHORT_TURNS = SessionSettings(turn_detection=SERVER_VAD.turn_detection, max_utterance_ms=3_000)
_MEMBERS = "Members of the trail club ship for free."


def _unsure() -> ScriptedTurnDetector:
    return ScriptedTurnDetector(0.2, Script(delay_s=0.03))


def _broken_turn_detector() -> ScriptedTurnDetector:
    return ScriptedTurnDetector(0.9, failing("turn_detector", times=99))


def _ending_recognizer() -> LinkedTranscriber:
    return linked_transcriber(end_silent_chunks=2)


RECIPES: dict[str, Recipe] = {
    # turns
    "server_vad_turn": Recipe(one_turn, cast(RETURNS_ANSWER)),
    "semantic_vad_turn": Recipe(one_turn, cast(RETURNS_ANSWER), SEMANTIC_VAD),
    "traced_turn": Recipe(one_turn, cast(RETURNS_ANSWER), SEMANTIC_VAD, _TRACED),
    "pause_and_resume": Recipe(
        pause_and_resume, cast(RETURNS_ANSWER, RETURNS_ANSWER, turn_detector=_unsure), SEMANTIC_VAD, _TRACED
    ),
    "barge_in": Recipe(barge_in, cast(RETURNS_ANSWER, SHIPPING_ANSWER), SEMANTIC_VAD),
    "follow_up": Recipe(follow_up, cast(SHIPPING_ANSWER, _MEMBERS), wire_options=_TRACED),
    "queued_turn": Recipe(queued_turn, cast(RETURNS_ANSWER)),
    "long_utterance": Recipe(long_utterance, cast(RETURNS_ANSWER), _SHORT_TURNS),
    "muted": Recipe(muted, cast(RETURNS_ANSWER), SEMANTIC_VAD),
    "off_topic": Recipe(off_topic, cast(), wire_options=_TRACED),
    "hang_up_while_speaking": Recipe(hang_up_while_speaking, cast(RETURNS_ANSWER), SEMANTIC_VAD),
    "transcription": Recipe(transcription, cast(), wire_options=_TRANSCRIBED),
    # what clients ask for
    "manual_turn": Recipe(manual_turn, cast(SHIPPING_ANSWER), MANUAL),
    "manual_clear": Recipe(manual_clear, cast(), MANUAL),
    "written_turn": Recipe(written_turn, cast(RETURNS_ANSWER)),
    "greeting": Recipe(greeting, cast()),
    "out_of_band": Recipe(out_of_band, cast(SHIPPING_ANSWER, RETURNS_ANSWER)),
    "cancelled": Recipe(cancelled, cast(RETURNS_ANSWER, SHIPPING_ANSWER)),
    "truncated": Recipe(truncated, cast(RETURNS_ANSWER)),
    "items": Recipe(items, cast()),
    "deleted_while_recognised": Recipe(deleted_while_recognised, cast(), MANUAL),
    "settings": Recipe(settings, cast(RETURNS_ANSWER)),
    "telephone": Recipe(telephone, cast(RETURNS_ANSWER)),
    "mistakes": Recipe(mistakes, cast()),
    # a recogniser that streams
    "linked_turn": Recipe(one_turn, cast(RETURNS_ANSWER, transcriber=linked_transcriber), SEMANTIC_VAD, _TRACED),
    "linked_end_of_utterance": Recipe(
        one_turn, cast(RETURNS_ANSWER, transcriber=_ending_recognizer, turn_detector=_unsure), SEMANTIC_VAD, _TRACED
    ),
    "linked_replica_lost": Recipe(
        replica_lost, cast(RETURNS_ANSWER, transcriber=lambda: linked_transcriber(("asr-1", "asr-2")))
    ),
    # engines that break
    "failed_transcriber": Recipe(one_turn, cast(transcriber=lambda: breaking_transcriber(times=99))),
    "retried_transcriber": Recipe(
        one_turn, cast(RETURNS_ANSWER, transcriber=lambda: breaking_transcriber(retryable=True))
    ),
    "failed_turn_detector": Recipe(one_turn, cast(RETURNS_ANSWER, turn_detector=_broken_turn_detector), SEMANTIC_VAD),
    "failed_retriever": Recipe(
        one_turn, cast(retriever=lambda: retriever(failing("retriever", times=99))), wire_options=_TRACED
    ),
    "failed_language_model": Recipe(
        one_turn,
        cast(language_model=lambda: model(script=failing("language_model", times=99))),
        wire_options=_TRACED,
    ),
    "late_language_model": Recipe(
        one_turn, cast(language_model=lambda: model(script=Script(delay_s=5.0))), wire_options=_TRACED
    ),
    "guarded_language_model": Recipe(one_turn, cast("You can return items within 90 days."), wire_options=_TRACED),
    "failed_synthesizer": Recipe(
        one_turn,
        cast(RETURNS_ANSWER, RETURNS_ANSWER, synthesizer=lambda: SquareVoice(failing("synthesizer", times=99))),
    ),
    "stalled_synthesizer": Recipe(
        one_turn, cast(RETURNS_ANSWER, synthesizer=lambda: SquareVoice(Script(delay_s=90.0)))
    ),
}
