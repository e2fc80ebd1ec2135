from dataclasses import replace

import pytest

from pipelines.session.effects import (
    AnswerAudio,
    AnswerText,
    AudioCommitted,
    CancelGeneration,
    CloseUtterance,
    FinalizeTranscript,
    JudgeTurn,
    OpenUtterance,
    PartialTranscript,
    Refused,
    ResponseFinished,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StartAnswer,
    Synthesize,
    TranscriptCompleted,
    TranscriptUnavailable,
)
from pipelines.session.stimuli import (
    AudioClearRequested,
    AudioCommitRequested,
    ClauseReady,
    ResponseCreateRequested,
    SettingsChanged,
    TranscriptFailed,
    TranscriptHeard,
    TranscriptReady,
)
from pipelines.session.turn_policy import is_whole_question
from tests.unit.pipelines.session.pair import MANUAL, SEMANTIC, VAD, SessionPair, names

pytestmark = pytest.mark.unit


def test_session_answers_a_spoken_turn_in_protocol_order() -> None:
    pair = SessionPair(VAD)
    pair.be_silent(320)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("what is the return window")
    pair.answer("You have 30 days.")
    pair.synthesize()
    assert names(pair.effects) == [
        "OpenUtterance",
        "SpeechStarted",
        "FinalizeTranscript",
        "SpeechStopped",
        "AudioCommitted",
        "ItemAdded",
        "SealUtterance",
        "ResponseStarted",
        "CloseUtterance",
        "TranscriptCompleted",
        "StartAnswer",
        "AnswerItemStarted",
        "AnswerText",
        "Synthesize",
        "AnswerAudio",
        "ResponseFinished",
    ]


def test_speech_start_includes_the_prefix_padding() -> None:
    pair = SessionPair(VAD)
    pair.be_silent(640)
    pair.speak(64)
    assert pair.last(SpeechStarted).audio_start_ms == 640 - 300
    assert pair.last(OpenUtterance).start_ms == 640 - 300


def test_click_does_not_start_a_turn() -> None:
    pair = SessionPair(VAD)
    pair.be_silent(320)
    pair.speak(32)
    pair.be_silent(640)
    assert pair.effects == []


def test_server_vad_waits_for_the_whole_silence() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(288)
    assert not pair.all(SpeechStopped)
    pair.be_silent(32)
    assert pair.last(SpeechStopped).audio_end_ms == 640 + 320


def test_answer_made_on_speculation_is_held_until_the_turn_ends() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    pair.transcribe("where is my order")
    pair.answer("It left on Monday.")
    pair.synthesize()
    assert not pair.all(AnswerText)
    assert not pair.all(AnswerAudio)
    assert pair.all(Synthesize)
    effects = pair.be_silent(192)
    assert names(effects) == [
        "SpeechStopped",
        "AudioCommitted",
        "ItemAdded",
        "CloseUtterance",
        "TranscriptCompleted",
        "ResponseStarted",
        "AnswerItemStarted",
        "AnswerText",
        "AnswerAudio",
        "ResponseFinished",
    ]


def test_speech_that_goes_on_cancels_the_draft_and_drops_its_late_results() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    pair.transcribe("i would like")
    stale = pair.last(StartAnswer).generation
    assert CancelGeneration(stale) in pair.speak(128)
    pair.send(ClauseReady(stale, "Stale.", is_last=True))
    pair.be_silent(320)
    pair.transcribe("i would like to return a tent")
    pair.answer("Sure.")
    assert [effect.delta for effect in pair.all(AnswerText)] == ["Sure."]
    assert pair.last(StartAnswer).question == "i would like to return a tent"
    assert len(pair.all(SpeechStopped)) == 1


def test_short_noise_in_a_pause_does_not_resume_speech() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    pair.speak(32)
    pair.be_silent(160)
    assert pair.all(SpeechStopped)
    assert not pair.all(CancelGeneration)


def test_semantic_turn_ends_early_when_the_model_is_sure() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(96)
    assert pair.all(JudgeTurn)
    pair.judge(0.95)
    assert not pair.all(SpeechStopped)
    pair.be_silent(96)
    assert pair.last(SpeechStopped).audio_end_ms == 640 + 192


def test_semantic_turn_waits_and_asks_again_when_the_model_doubts() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(96)
    pair.judge(0.1)
    pair.be_silent(192)
    assert not pair.all(SpeechStopped)
    pair.be_silent(32)
    assert len(pair.all(JudgeTurn)) == 2
    assert names(pair.judge(0.8))[0] == "SpeechStopped"


def test_semantic_turn_ends_at_a_question_mark() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(96)
    pair.judge(0.1)
    pair.transcribe("Do you ship to Norway?")
    pair.be_silent(256)
    assert pair.all(SpeechStopped)


def test_semantic_turn_ends_when_the_recogniser_holds_the_utterance_for_ended() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(288)
    pair.judge(0.1)
    item_id = pair.last(OpenUtterance).item_id
    assert names(pair.send(TranscriptHeard(item_id, "thank you", 9, ended_ms=640)))[0] == "SpeechStopped"
    assert not pair.all(PartialTranscript)


def test_recogniser_that_says_so_early_ends_the_turn_at_the_earliest_silence() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(96)
    assert not pair.send(TranscriptHeard(pair.last(OpenUtterance).item_id, "", 0, ended_ms=700))
    pair.be_silent(64)
    assert not pair.all(SpeechStopped)
    pair.be_silent(32)
    assert pair.last(SpeechStopped).audio_end_ms == 640 + 192


def test_transcript_of_a_pause_may_bear_the_end_of_the_utterance() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(96)
    order = pair.last(FinalizeTranscript)
    pair.send(TranscriptReady(order.item_id, order.generation, "thank you", ends_utterance=True))
    pair.be_silent(96)
    assert pair.last(SpeechStopped).audio_end_ms == 640 + 192


def test_end_of_the_utterance_before_more_speech_means_nothing() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(96)
    pair.send(TranscriptHeard(pair.last(OpenUtterance).item_id, "", 0, ended_ms=640))
    pair.speak(320)
    pair.be_silent(320)
    assert not pair.all(SpeechStopped)


def test_end_of_the_utterance_is_no_vote_where_silence_alone_decides() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(224)
    assert not pair.send(TranscriptHeard(pair.last(OpenUtterance).item_id, "", 0, ended_ms=800))
    assert not pair.all(SpeechStopped)


def test_semantic_turn_ends_at_the_latest_silence() -> None:
    pair = SessionPair(SEMANTIC)
    pair.speak()
    pair.be_silent(1184)
    assert not pair.all(SpeechStopped)
    pair.be_silent(32)
    assert pair.all(SpeechStopped)


def test_muted_client_ends_its_turn_by_the_clock() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    assert not pair.pass_time(560)
    assert "SpeechStopped" in names(pair.pass_time(20))


def test_turn_without_words_gets_no_answer() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    pair.transcribe("  ")
    pair.be_silent(320)
    assert pair.all(TranscriptCompleted)
    assert not pair.all(ResponseStarted)


def test_turn_whose_late_transcript_is_empty_ends_its_response_without_output() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("")
    finished = pair.last(ResponseFinished)
    assert (finished.status, finished.item) == ("completed", None)


def test_failed_recognition_in_a_pause_is_tried_again_at_the_turn_end() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    order = pair.last(FinalizeTranscript)
    pair.send(TranscriptFailed(order.item_id, order.generation, "replica died"))
    pair.be_silent(192)
    assert len(pair.all(FinalizeTranscript)) == 2
    assert "TranscriptCompleted" in names(pair.transcribe("hello"))


def test_failed_recognition_of_a_turn_fails_its_response() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(320)
    order = pair.last(FinalizeTranscript)
    pair.send(TranscriptFailed(order.item_id, order.generation, "no replica"))
    assert pair.last(TranscriptUnavailable).message == "no replica"
    assert pair.last(ResponseFinished).status == "failed"


def test_very_long_utterance_is_ended_by_force() -> None:
    pair = SessionPair(replace(VAD, max_utterance_ms=2_000))
    pair.speak(4_000)
    assert [effect.item_id for effect in pair.all(AudioCommitted)] == ["item_s_1"]
    assert pair.all(SpeechStopped)[0].audio_end_ms <= 2_016


def test_manual_turn_is_answered_only_on_request() -> None:
    pair = SessionPair(MANUAL)
    pair.speak()
    pair.be_silent(2_000)
    assert names(pair.effects) == ["OpenUtterance"]
    pair.send(AudioCommitRequested())
    assert not pair.all(ResponseStarted)
    pair.send(ResponseCreateRequested())
    pair.transcribe("hello")
    pair.answer("Hi.")
    pair.synthesize()
    assert pair.last(ResponseFinished).status == "completed"
    assert not pair.all(SpeechStarted)


def test_commit_of_an_empty_buffer_is_refused() -> None:
    pair = SessionPair(MANUAL)
    pair.send(AudioCommitRequested("evt_1"))
    refused = pair.last(Refused)
    assert (refused.code, refused.event_id) == ("input_audio_buffer_commit_empty", "evt_1")


def test_clear_forgets_the_utterance() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.send(AudioClearRequested())
    assert pair.all(CloseUtterance)
    assert not pair.be_silent(640)
    pair.send(AudioCommitRequested())
    assert pair.last(AudioCommitted).previous_item_id is None


def test_switch_to_manual_turns_forgets_the_open_utterance() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.send(SettingsChanged(MANUAL))
    pair.be_silent(960)
    assert not pair.all(SpeechStopped)


def test_transcript_for_a_deleted_generation_is_dropped() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    old = pair.last(FinalizeTranscript)
    pair.speak(128)
    pair.be_silent(320)
    pair.send(TranscriptReady(old.item_id, old.generation, "half a sentence"))
    assert not pair.all(TranscriptCompleted)


def test_transcript_of_an_earlier_pause_does_not_become_the_turn() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    early = pair.last(FinalizeTranscript)
    pair.speak(128)
    pair.be_silent(320)
    pair.send(TranscriptReady(early.item_id, early.generation, "half"))
    assert not pair.all(TranscriptCompleted)
    pair.transcribe("half and whole")
    assert pair.last(TranscriptCompleted).text == "half and whole"


def test_late_clause_of_an_earlier_draft_does_not_enter_the_next_one() -> None:
    pair = SessionPair(VAD)
    pair.speak()
    pair.be_silent(128)
    pair.transcribe("half")
    stale = pair.last(StartAnswer).generation
    pair.speak(128)
    pair.be_silent(128)
    pair.transcribe("half and whole")
    pair.send(ClauseReady(stale, "Stale.", is_last=True))
    pair.be_silent(320)
    pair.answer("Fresh.")
    assert [effect.delta for effect in pair.all(AnswerText)] == ["Fresh."]


@pytest.mark.parametrize(
    ("transcript", "is_question"),
    [
        ("Do you ship to Norway?", True),
        ("Where is order 1042.", True),
        ("I'm in the club, how many days do I get.", True),
        ("I bought a tent.", False),
        ("How much", False),
        ("What is,", False),
        ("I want to know how.", False),
        ("", False),
    ],
)
def test_policy_knows_a_whole_question(transcript: str, is_question: bool) -> None:
    assert is_whole_question(transcript) is is_question
