"""The session's parts by themselves, on small states: items, the caller's side, the agent's side, and taking over."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.session import conversation, listening, replying
from pipelines.session.change import Change
from pipelines.session.effects import (
    AnswerText,
    AudioCleared,
    CancelGeneration,
    CloseUtterance,
    FinalizeTranscript,
    ItemAdded,
    ItemTruncated,
    JudgeTurn,
    Line,
    OpenUtterance,
    Refused,
    ResponseFinished,
    ResponseStarted,
    ResponseStatus,
    SealUtterance,
    SpeechStarted,
    StartAnswer,
    Synthesize,
)
from pipelines.session.items import Item, ItemKind, ItemStatus, Role, WordMark
from pipelines.session.restore import orders_again
from pipelines.session.settings import Modality, SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.session.state import Awaited, Reply, SessionState, Utterance
from pipelines.session.stimuli import (
    AnswerFailed,
    AudioAppended,
    ClauseReady,
    ItemCreateRequested,
    ItemDeleteRequested,
    ItemRetrieveRequested,
    ItemTruncateRequested,
    ResponseCancelRequested,
    ResponseCreateRequested,
    SpeechScored,
)
from pipelines.session.transitions import InputState, ReplyPhase

pytestmark = pytest.mark.unit
SPOKEN = Item(
    "a", Role.ASSISTANT, text="Yes it is.", is_audio=True, audio_ms=900, words=(WordMark(3, 0), WordMark(6, 500))
)
VAD = TurnDetection(kind=TurnDetectionKind.SERVER_VAD, min_speech_ms=64, prefix_padding_ms=300)


def asked(text: str, item_id: str = "u") -> Item:
    return Item(item_id, Role.USER, text=text)


def change(*items: Item, now_ms: int = 1000, detection: TurnDetection | None = None, **known: Any) -> Change:
    settings = SessionSettings(turn_detection=detection)
    return Change(SessionState("s", settings, items=list(items), **known), now_ms)


def refusal(made: Change) -> str:
    (refused,) = made.effects
    assert isinstance(refused, Refused)
    return refused.code


@pytest.mark.parametrize(("after", "order", "before"), [(None, "uan", "a"), ("root", "nua", None), ("u", "una", "u")])
def test_item_is_inserted_where_it_is_wanted(after: str | None, order: str, before: str | None) -> None:
    made = change(asked("x"), SPOKEN)
    conversation.create(made, ItemCreateRequested(asked("new", "n"), after))
    assert "".join(item.id for item in made.state.items) == order
    assert made.effects == [ItemAdded(asked("new", "n"), before)]


def test_item_that_cannot_be_inserted_is_refused_and_changes_nothing() -> None:
    for request, code in (
        (ItemCreateRequested(asked("x", "u")), "item_create_duplicate_id"),
        (ItemCreateRequested(asked("x", "n"), "nowhere"), "item_create_invalid_previous_item_id"),
    ):
        made = change(asked("x"))
        conversation.create(made, request)
        assert refusal(made) == code
        assert made.state.items == [asked("x")]
    full = change(*(asked("x", str(number)) for number in range(conversation.MAX_ITEMS)))
    conversation.create(full, ItemCreateRequested(asked("one more", "n")))
    assert refusal(full) == "conversation_full"


def test_unknown_item_is_refused_whatever_is_wanted_of_it() -> None:
    made = change(SPOKEN)
    conversation.retrieve(made, ItemRetrieveRequested("x", "e"))
    conversation.truncate(made, ItemTruncateRequested("x", 0, 1, "e"))
    conversation.delete(made, ItemDeleteRequested("x", "e"))
    assert [effect.code for effect in made.effects if isinstance(effect, Refused)] == [
        "item_retrieve_invalid_item_id",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
    ]
    assert made.state.items == [SPOKEN]


def test_truncation_keeps_what_was_heard_and_more_than_there_is_is_refused() -> None:
    made = change(SPOKEN, playout_item_id="a")
    conversation.truncate(made, ItemTruncateRequested("a", 0, 400))
    (cut,) = made.state.items
    assert (cut.heard_text, cut.status, made.state.playout_item_id) == ("Yes", ItemStatus.INCOMPLETE, "")
    assert made.effects == [ItemTruncated("a", 0, 400)]
    beyond = change(SPOKEN)
    conversation.truncate(beyond, ItemTruncateRequested("a", 0, 901))
    assert refusal(beyond) == "item_truncate_invalid_audio_end_ms"
    caller = change(asked("x"))
    conversation.truncate(caller, ItemTruncateRequested("u", 0, 0))
    assert refusal(caller) == "item_truncate_invalid_item"


def test_question_is_all_that_was_said_since_the_agent_was_last_heard() -> None:
    unheard = Item("h", Role.ASSISTANT, text="No.", is_audio=True, heard_ms=0)
    call = Item("f", Role.SYSTEM, ItemKind.FUNCTION_CALL_OUTPUT, "42")
    items = [asked("Hello?"), SPOKEN, asked("Where is", "v"), unheard, call, asked("my order", "w")]
    question, history = conversation.question_and_history(items, " please ")
    assert question == "Where is my order please"
    assert history == (Line(Role.USER, "Hello?"), Line(Role.ASSISTANT, "Yes it is."))


def test_history_has_the_newest_lines_alone() -> None:
    many = [item for number in range(9) for item in (asked(f"q{number}", f"u{number}"), SPOKEN)]
    _, history = conversation.question_and_history(many)
    assert [line.text for line in history if line.role is Role.USER] == ["q6", "q7", "q8"]


def test_speech_counts_from_the_shortest_speech_on_and_a_click_does_not() -> None:
    made = change(detection=VAD, appended_ms=1000)
    listening.hear_score(made, SpeechScored(0.9, 832, 32))
    listening.hear_score(made, SpeechScored(0.1, 864, 32))
    listening.hear_score(made, SpeechScored(0.9, 896, 32))
    assert made.effects == []
    listening.hear_score(made, SpeechScored(0.9, 928, 32))
    assert made.effects == [OpenUtterance("item_s_1", 564), SpeechStarted("item_s_1", 564)]
    assert made.state.input is InputState.SPEAKING


def test_manual_turn_opens_with_the_first_audio_and_scores_mean_nothing_to_it() -> None:
    made = change(appended_ms=200)
    listening.hear_audio(made, AudioAppended(220))
    listening.hear_score(made, SpeechScored(0.9, 220, 32))
    assert made.effects == [OpenUtterance("item_s_1", 200)]
    assert (made.state.appended_ms, made.state.scored_ms) == (220, 220)


def test_clearing_forgets_the_utterance_and_its_audio() -> None:
    utterance = Utterance("u", 100, 200, generation=4)
    made = change(input=InputState.PAUSED, utterance=utterance, appended_ms=700, voiced_ms=32)
    listening.clear(made)
    assert (made.state.utterance, made.state.buffer_start_ms, made.state.voiced_ms) == (None, 700, 0)
    assert made.effects[-2:] == [CloseUtterance("u"), AudioCleared()]
    assert CancelGeneration(4) in made.effects


def test_muted_client_ends_its_turn_by_the_clock_only_while_one_is_open() -> None:
    made = change(detection=VAD, appended_at_ms=5000, scored_ms=900)
    assert listening.pause_deadline_ms(made.state) is None
    made.state.utterance, made.state.input = Utterance("u", 100, 800), InputState.PAUSED
    missing_ms = VAD.silence_duration_ms - 100
    assert listening.pause_deadline_ms(made.state) == 5000 + missing_ms + listening.MUTED_GRACE_MS


def reply(phase: ReplyPhase, **known: Any) -> Reply:
    return Reply("r", "a", 7, Modality.AUDIO, "joe", 1.0, progress_at_ms=0, phase=phase, **known)


def test_second_response_is_refused_while_one_is_in_progress() -> None:
    made = change(asked("Why?"))
    replying.create(made, ResponseCreateRequested())
    started, order = made.effects
    assert isinstance(started, ResponseStarted)
    assert isinstance(order, StartAnswer)
    assert order.question == "Why?"
    again = Change(made.state, 1100)
    replying.create(again, ResponseCreateRequested(event_id="e"))
    assert refusal(again) == "conversation_already_has_active_response"


@pytest.mark.parametrize("response_id", [None, "r", "another"])
def test_cancel_stops_the_response_that_is_meant_alone(response_id: str | None) -> None:
    made = change(reply=reply(ReplyPhase.PREPARING))
    replying.cancel(made, ResponseCancelRequested(response_id))
    if response_id == "another":
        assert refusal(made) == "response_cancel_not_active"
        assert made.state.reply is not None
    else:
        stopped, finished = made.effects
        assert stopped == CancelGeneration(7)
        assert isinstance(finished, ResponseFinished)
        assert (finished.status, made.state.reply) == (ResponseStatus.CANCELLED, None)


def test_interruption_notes_how_much_can_have_been_heard() -> None:
    made = change(SPOKEN, now_ms=1400, playout_item_id="a", playout_at_ms=1000, queued_item_id="u")
    replying.interrupt(made)
    assert made.state.items[0].heard_ms == 400
    assert (made.state.playout_item_id, made.state.queued_item_id) == ("", "")
    late = change(SPOKEN, now_ms=5000, playout_item_id="a", playout_at_ms=1000)
    replying.interrupt(late)
    assert late.state.items == [SPOKEN]


def test_draft_holds_back_what_it_would_say_and_late_results_are_dropped() -> None:
    draft = reply(ReplyPhase.DRAFTING)
    made = change(utterance=Utterance("u", 0, 0, generation=7, draft=draft), input=InputState.PAUSED)
    replying.hear_clause(made, ClauseReady(6, "stale", is_last=False))
    replying.hear_clause(made, ClauseReady(7, "Yes.", is_last=True))
    assert made.effects == [Synthesize(7, 0, "Yes.", "joe", 1.0)]
    assert draft.held == [AnswerText("r", "a", Modality.AUDIO, "Yes.")]
    assert draft.phase is ReplyPhase.DRAFTED
    replying.hear_failure(made, AnswerFailed(7, "gone"))
    assert made.state.utterance is not None
    assert made.state.utterance.draft is None


def test_stalled_response_fails_after_its_time_and_says_so() -> None:
    made = change(reply=reply(ReplyPhase.PREPARING))
    assert replying.reply_deadline_ms(made.state) == made.state.settings.reply_timeout_ms
    replying.end_stalled_reply(made)
    finished = made.effects[-1]
    assert isinstance(finished, ResponseFinished)
    assert (finished.status, finished.error) == (ResponseStatus.FAILED, "The answer took too long.")
    assert replying.reply_deadline_ms(made.state) is None


def test_orders_of_all_that_is_awaited_are_given_again_in_order() -> None:
    order = StartAnswer(7, "Why?", (), "", None)
    speaking = reply(
        ReplyPhase.SPEAKING,
        asked=order,
        clauses=["Yes.", "It is.", "Really."],
        spoken=1,
        audio_samples=4800,
        clause_start_samples=2400,
    )
    utterance = Utterance("v", 900, 1500, generation=8, is_recognising=True, judged_silence_ms=96)
    state = change(awaited={"u": Awaited(5, 100, 600)}, utterance=utterance, reply=speaking).state
    assert orders_again(state) == [
        OpenUtterance("u", 100, 600),
        SealUtterance("u"),
        FinalizeTranscript("u", 5),
        OpenUtterance("v", 900),
        FinalizeTranscript("v", 8),
        JudgeTurn(8, 900, 1596),
        order,
        Synthesize(7, 1, "It is.", "joe", 1.0),
        Synthesize(7, 2, "Really.", "joe", 1.0),
    ]
    assert (speaking.clauses_again, speaking.samples_again) == (3, 2400)


def test_written_answer_that_is_complete_is_not_ordered_again() -> None:
    written = Reply("r", "a", 7, Modality.TEXT, "joe", 1.0, 0, phase=ReplyPhase.FINISHING, clauses=["Yes."])
    assert orders_again(change(reply=written).state) == []
