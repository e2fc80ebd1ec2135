from dataclasses import replace

import pytest

from pipelines.session.effects import (
    AnswerAudio,
    AnswerText,
    CancelGeneration,
    ItemAdded,
    Line,
    Refused,
    ResponseFinished,
    ResponseStarted,
    StartAnswer,
    Synthesize,
)
from pipelines.session.items import Item, Role
from pipelines.session.settings import Modality
from pipelines.session.stimuli import (
    AnswerFailed,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    ItemCreateRequested,
    ItemDeleteRequested,
    ItemRetrieveRequested,
    ItemTruncateRequested,
    ResponseCancelRequested,
    ResponseCreateRequested,
    SessionClosed,
    SynthesisFailed,
)
from tests.unit.pipelines.session.pair import AUDIO_100_MS, VAD, SessionPair, names

pytestmark = pytest.mark.unit


def user_text(text: str, item_id: str = "") -> ItemCreateRequested:
    return ItemCreateRequested(Item(item_id, Role.USER, text=text))


def pair_in_reply(*clauses: str) -> SessionPair:
    """A spoken turn has ended and its answer is under way; nothing is synthesized yet."""
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("what do you sell")
    pair.answer(*(clauses or ("We sell tents.", " And boots.")))
    return pair


def test_caller_who_speaks_cancels_the_response() -> None:
    pair = pair_in_reply()
    pair.speak(64)
    finished = pair.last(ResponseFinished)
    assert (finished.status, finished.reason) == ("cancelled", "turn_detected")
    assert pair.all(CancelGeneration)
    assert not pair.synthesize()


def test_caller_who_speaks_is_let_through_when_interruption_is_off() -> None:
    detection = replace(VAD.turn_detection, interrupt_response=False)  # type: ignore[type-var]
    pair = SessionPair(replace(VAD, turn_detection=detection))
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("first")
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("second")
    assert len(pair.all(ResponseStarted)) == 1
    pair.send(ClauseReady(pair.all(StartAnswer)[0].generation, "Done.", is_last=True))
    pair.synthesize()
    assert len(pair.all(ResponseStarted)) == 2
    assert pair.last(StartAnswer).question == "second"


def test_interrupted_item_keeps_what_was_heard() -> None:
    pair = pair_in_reply("We sell tents.", " And boots.")
    pair.synthesize(times=10)
    pair.pass_time(500)
    pair.speak(64)
    item = pair.session.state.items[-1]
    assert item.heard_ms == 500 + 64
    assert item.heard_text == "We sell tents."


def test_question_cut_in_two_before_any_answer_was_heard_is_answered_as_one() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("I bought a tent")
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("can I return it")
    assert pair.last(StartAnswer).question == "I bought a tent can I return it"


def test_history_holds_only_what_the_caller_heard() -> None:
    pair = pair_in_reply("We sell tents.", " And boots.")
    pair.synthesize(times=1)
    pair.send(ItemTruncateRequested(pair.session.state.items[-1].id, 0, 50))
    pair.send(user_text("tell me more"), ResponseCreateRequested())
    order = pair.last(StartAnswer)
    assert order.history == (Line(Role.USER, "what do you sell"), Line(Role.ASSISTANT, "We sell tents."))
    assert order.question == "tell me more"


def test_text_response_needs_no_synthesis() -> None:
    pair = SessionPair(replace(VAD, modality=Modality.TEXT))
    pair.send(user_text("hi"), ResponseCreateRequested())
    pair.answer("Hello,", " friend.")
    assert not pair.all(Synthesize)
    assert pair.last(ResponseFinished).item.text == "Hello, friend."


def test_second_response_is_refused_while_one_is_in_progress() -> None:
    pair = SessionPair(VAD)
    pair.send(user_text("hi"), ResponseCreateRequested(), ResponseCreateRequested(event_id="e2"))
    refused = pair.last(Refused)
    assert (refused.code, refused.event_id) == ("conversation_already_has_active_response", "e2")


def test_cancel_without_a_response_is_refused() -> None:
    pair = SessionPair(VAD)
    pair.send(ResponseCancelRequested(event_id="e1"))
    assert pair.last(Refused).code == "response_cancel_not_active"


def test_client_cancels_the_response() -> None:
    pair = pair_in_reply()
    pair.send(ResponseCancelRequested())
    assert pair.last(ResponseFinished).reason == "client_cancelled"
    assert not pair.synthesize()


def test_out_of_band_response_leaves_the_conversation_alone() -> None:
    pair = SessionPair(VAD)
    request = ResponseCreateRequested(
        is_out_of_band=True, input_items=(Item("x", Role.USER, text="classify"),), modality=Modality.TEXT
    )
    pair.send(request)
    pair.answer("sales")
    assert pair.last(StartAnswer).question == "classify"
    assert pair.session.state.items == []


def test_failed_answer_fails_the_response_once() -> None:
    pair = pair_in_reply()
    generation = pair.last(StartAnswer).generation
    pair.send(SynthesisFailed(generation, 0, "voice is gone"), AnswerFailed(generation, "late"))
    assert [effect.error for effect in pair.all(ResponseFinished)] == ["voice is gone"]


def test_failed_draft_is_answered_afresh() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    pair.transcribe("hello")
    pair.send(AnswerFailed(pair.last(StartAnswer).generation, "busy"))
    pair.be_silent(320)
    assert len(pair.all(StartAnswer)) == 2
    pair.answer("Hi.")
    assert pair.last(AnswerText).delta == "Hi."


def test_stalled_answer_fails_by_the_clock() -> None:
    pair = SessionPair(replace(VAD, reply_timeout_ms=5_000))
    pair.send(user_text("hi"), ResponseCreateRequested())
    assert not pair.pass_time(4_999)
    assert pair.pass_time(1)
    assert pair.last(ResponseFinished).status == "failed"


def test_audio_of_a_wrong_clause_is_dropped() -> None:
    pair = pair_in_reply()
    generation = pair.last(StartAnswer).generation
    pair.send(AudioReady(generation, 1, AUDIO_100_MS), ClauseSpoken(generation, 1))
    assert not pair.all(AnswerAudio)


def test_truncation_beyond_the_audio_is_refused() -> None:
    pair = pair_in_reply("Tents.")
    pair.synthesize()
    item = pair.session.state.items[-1]
    assert item.audio_ms == 100
    pair.send(ItemTruncateRequested(item.id, 0, 101))
    assert pair.last(Refused).code == "item_truncate_invalid_audio_end_ms"


def test_truncation_of_the_item_in_progress_cancels_it() -> None:
    pair = pair_in_reply("Tents.", " Boots.")
    generation = pair.last(StartAnswer).generation
    pair.send(AudioReady(generation, 0, AUDIO_100_MS, ((6, 0),)))
    effects = pair.send(ItemTruncateRequested(pair.session.state.items[-1].id, 0, 40))
    assert names(effects) == ["CancelGeneration", "ResponseFinished", "ItemTruncated"]


def test_items_are_inserted_retrieved_and_deleted_by_id() -> None:
    pair = SessionPair(VAD)
    pair.send(user_text("b", "b"))
    pair.send(ItemCreateRequested(Item("a", Role.USER, text="a"), previous_item_id="root"))
    pair.send(ItemCreateRequested(Item("c", Role.USER, text="c"), previous_item_id="b"))
    assert [item.id for item in pair.session.state.items] == ["a", "b", "c"]
    assert [effect.previous_item_id for effect in pair.all(ItemAdded)] == [None, None, "b"]
    pair.send(ItemDeleteRequested("b"), ItemRetrieveRequested("b", "e"))
    assert pair.last(Refused).code == "item_retrieve_invalid_item_id"


def test_closed_session_ends_its_response_and_ignores_the_rest() -> None:
    pair = pair_in_reply()
    pair.send(SessionClosed())
    assert pair.last(ResponseFinished).status == "cancelled"
    assert pair.speak() == []
    assert pair.session.next_deadline_ms() is None
