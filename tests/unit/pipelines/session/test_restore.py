"""Which orders a session wants to be given again when another process goes on with it."""

from __future__ import annotations

import pytest

from pipelines.session.core import Session
from pipelines.session.effects import (
    AnswerAudio,
    AnswerText,
    FinalizeTranscript,
    JudgeTurn,
    OpenUtterance,
    Order,
    SealUtterance,
    StartAnswer,
    Synthesize,
)
from pipelines.session.stimuli import (
    AudioAppended,
    AudioCommitRequested,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    ResponseCreateRequested,
    TranscriptReady,
)
from tests.unit.pipelines.session.pair import AUDIO_100_MS, MANUAL, SEMANTIC, VAD, SessionPair

pytestmark = pytest.mark.unit


def restored(pair: SessionPair) -> tuple[Session, list[Order]]:
    return Session.restore(pair.session.state.copy())


def pausing() -> SessionPair:
    pair = SessionPair(SEMANTIC)
    pair.be_silent(320)
    pair.speak()
    pair.be_silent(96)
    return pair


def answering(*clauses: str) -> tuple[SessionPair, int]:
    pair = SessionPair(VAD)
    pair.send(ResponseCreateRequested())
    generation = pair.last(StartAnswer).generation
    pair.send(*(ClauseReady(generation, text, is_last=False) for text in clauses))
    return pair, generation


def test_a_quiet_session_wants_nothing() -> None:
    pair = SessionPair(VAD)
    pair.be_silent(320)

    assert restored(pair)[1] == []


def test_an_open_utterance_is_heard_again_from_its_begin() -> None:
    pair = SessionPair(VAD)
    pair.be_silent(320)
    pair.speak()

    assert restored(pair)[1] == [pair.last(OpenUtterance)]


def test_in_a_pause_the_same_is_asked_again() -> None:
    pair = pausing()

    assert restored(pair)[1] == [pair.last(OpenUtterance), pair.last(FinalizeTranscript), pair.last(JudgeTurn)]


def test_a_transcript_that_is_known_is_not_asked_for_again_but_its_draft_is() -> None:
    pair = pausing()
    pair.transcribe("where is my order?")

    assert restored(pair)[1] == [pair.last(OpenUtterance), pair.last(JudgeTurn), pair.last(StartAnswer)]


def test_a_committed_utterance_is_heard_again_up_to_its_end_only() -> None:
    pair = SessionPair(MANUAL)
    pair.send(AudioAppended(400), AudioCommitRequested())
    item_id = pair.last(FinalizeTranscript).item_id
    pair.send(AudioAppended(700))
    session, orders = restored(pair)

    assert orders[:3] == [OpenUtterance(item_id, 0, 400), SealUtterance(item_id), pair.last(FinalizeTranscript)]
    assert orders[3:] == [OpenUtterance(session.state.utterance.item_id, 400)]


def test_a_response_that_waits_for_a_transcript_wants_no_answer_yet() -> None:
    pair = SessionPair(MANUAL)
    pair.send(AudioAppended(400), AudioCommitRequested(), ResponseCreateRequested())
    session, orders = restored(pair)
    assert not any(isinstance(order, StartAnswer) for order in orders)

    (finalize,) = (order for order in orders if isinstance(order, FinalizeTranscript))
    effects = session.receive(TranscriptReady(finalize.item_id, finalize.generation, "hello"), pair.now_ms)
    assert any(isinstance(effect, StartAnswer) for effect in effects)


def test_clauses_that_are_known_are_left_out_when_they_come_again() -> None:
    pair, generation = answering("One. ", "Two. ")
    session, orders = restored(pair)
    assert orders == [pair.last(StartAnswer), *pair.all(Synthesize)]

    again = [ClauseReady(generation, text, is_last=False) for text in ("One. ", " ", "Two. ")]
    assert [effect for clause in again for effect in session.receive(clause, pair.now_ms)] == []
    new = session.receive(ClauseReady(generation, "Three.", is_last=True), pair.now_ms)
    assert [effect.delta for effect in new if isinstance(effect, AnswerText)] == ["Three."]
    assert [effect.clause for effect in new if isinstance(effect, Synthesize)] == [2]


def test_sound_that_was_sent_is_left_out_when_it_comes_again() -> None:
    pair, generation = answering("One. ", "Two. ")
    pair.send(
        AudioReady(generation, 0, AUDIO_100_MS, ((4, 0),)),
        ClauseSpoken(generation, 0),
        AudioReady(generation, 1, AUDIO_100_MS, ((4, 0),)),
    )
    session, orders = restored(pair)
    assert [order.clause for order in orders if isinstance(order, Synthesize)] == [1]

    # Another synthesizer may cut elsewhere: 60, 60 and 60 ms.
    piece = b"\2\0" * (24 * 60)
    sent = [
        effect.pcm_24k
        for words in (((4, 0),), ((6, 80),), ((9, 150),))
        for effect in session.receive(AudioReady(generation, 1, piece, words), pair.now_ms)
        if isinstance(effect, AnswerAudio)
    ]
    assert [len(pcm) // 48 for pcm in sent] == [20, 60]
    reply = session.state.reply
    assert reply.audio_ms == 100 + 180
    assert [word.start_ms for word in reply.words] == [0, 100, 250]
