"""The transition table, both halves: what it allows is done, and what it does not allow changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from pipelines.call.snapshot import dump_state
from pipelines.errors import IllegalTransition
from pipelines.session import core
from pipelines.session.core import Session
from pipelines.session.effects import Notice, StartAnswer
from pipelines.session.state import Reply
from pipelines.session.stimuli import (
    AudioAppended,
    AudioClearRequested,
    AudioCommitRequested,
    AudioReady,
    ClauseReady,
    ResponseCancelRequested,
    ResponseCreateRequested,
    SessionClosed,
    SettingsChanged,
    SpeechScored,
    Stimulus,
    TranscriptReady,
)
from pipelines.session.transitions import (
    INPUT_TRANSITIONS,
    REPLY_TRANSITIONS,
    InputState,
    ReplyPhase,
    Step,
    next_input_state,
    next_reply_phase,
)
from pipelines.wire.translate import outbound
from tests.unit.pipelines.session.pair import AUDIO_100_MS, MANUAL, SEMANTIC, VAD, WINDOW_MS, SessionPair

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("state", InputState)
def test_an_input_step_is_in_the_table_or_raises(state: InputState, step: Step) -> None:
    if step in INPUT_TRANSITIONS[state]:
        assert next_input_state(state, step) is INPUT_TRANSITIONS[state][step]
    else:
        with pytest.raises(IllegalTransition, match=f"'{step}' while {state}"):
            next_input_state(state, step)


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("phase", ReplyPhase)
def test_a_reply_step_is_in_the_table_or_raises(phase: ReplyPhase, step: Step) -> None:
    if step in REPLY_TRANSITIONS[phase]:
        assert next_reply_phase(phase, step) is REPLY_TRANSITIONS[phase][step]
    else:
        with pytest.raises(IllegalTransition, match=f"'{step}' while {phase}"):
            next_reply_phase(phase, step)


def test_every_phase_can_be_reached_and_every_reply_can_end() -> None:
    reached, ends = {ReplyPhase.NEW}, {ReplyPhase.ENDED}
    for _ in ReplyPhase:
        reached |= {target for phase in reached for target in REPLY_TRANSITIONS[phase].values()}
        ends |= {phase for phase in ReplyPhase if ends & set(REPLY_TRANSITIONS[phase].values())}
    assert reached == ends == set(ReplyPhase)


# --- an illegal step changes nothing ----------------------------------------------------------------------------------


def drafted() -> SessionPair:
    """In a pause, with a draft whose first clause is there."""
    pair = SessionPair(SEMANTIC)
    pair.be_silent(320)
    pair.speak()
    pair.be_silent(96)
    pair.transcribe("where is my order?")
    pair.send(ClauseReady(pair.last(StartAnswer).generation, "It is ", is_last=False))
    return pair


def answering() -> SessionPair:
    """A response in progress with audio out."""
    pair = SessionPair(VAD)
    pair.send(ResponseCreateRequested())
    generation = pair.last(StartAnswer).generation
    pair.send(ClauseReady(generation, "Hello, ", is_last=False), AudioReady(generation, 0, AUDIO_100_MS))
    return pair


def awaiting() -> SessionPair:
    """A response that waits for the transcript of a turn that the client has committed."""
    pair = SessionPair(MANUAL)
    pair.send(AudioAppended(400), AudioCommitRequested(), ResponseCreateRequested())
    return pair


def quiet() -> SessionPair:
    """Audio has come, and no voice in it."""
    pair = SessionPair(VAD)
    pair.be_silent(320)
    return pair


def latest_reply(pair: SessionPair) -> Reply:
    state = pair.session.state
    reply = state.reply or (state.utterance and state.utterance.draft)
    assert reply is not None
    return reply


def loud(pair: SessionPair) -> Stimulus:
    return SpeechScored(0.9, pair.session.state.scored_ms + WINDOW_MS, WINDOW_MS)


def clause(pair: SessionPair) -> Stimulus:
    return ClauseReady(latest_reply(pair).generation, "more. ", is_last=True)


def audio(pair: SessionPair) -> Stimulus:
    return AudioReady(latest_reply(pair).generation, latest_reply(pair).spoken, b"\1\0" * 240, ((3, 0),))


def transcript(pair: SessionPair) -> Stimulus:
    ((item_id, awaited),) = pair.session.state.awaited.items()
    return TranscriptReady(item_id, awaited.generation, "hello")


def spoil_input(state: InputState) -> Callable[[SessionPair], None]:
    def apply(pair: SessionPair) -> None:
        pair.session.state.input = state

    return apply


def spoil_reply(phase: ReplyPhase) -> Callable[[SessionPair], None]:
    def apply(pair: SessionPair) -> None:
        latest_reply(pair).phase = phase

    return apply


WRONG = {
    "manual audio": (awaiting, spoil_input(InputState.PAUSED), lambda _: AudioAppended(500)),
    "commit without an utterance": (quiet, spoil_input(InputState.PAUSED), lambda _: AudioCommitRequested()),
    "commit of an open one": (drafted, spoil_input(InputState.QUIET), lambda _: AudioCommitRequested()),
    "barge-in": (answering, spoil_reply(ReplyPhase.ENDED), loud),
    "cancel": (answering, spoil_reply(ReplyPhase.NEW), lambda _: ResponseCancelRequested()),
    "clear with a draft": (drafted, spoil_reply(ReplyPhase.ENDED), lambda _: AudioClearRequested()),
    "settings with a draft": (drafted, spoil_reply(ReplyPhase.ENDED), lambda _: SettingsChanged(MANUAL)),
    "close with a reply": (answering, spoil_reply(ReplyPhase.ENDED), lambda _: SessionClosed()),
    "audio of a reply that waits": (answering, spoil_reply(ReplyPhase.WAITING), audio),
    "transcript of a reply that speaks": (awaiting, spoil_reply(ReplyPhase.SPEAKING), transcript),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_illegal_step_raises_and_changes_nothing(name: str) -> None:
    make, spoil, stimulus_for = WRONG[name]
    pair = make()
    spoil(pair)
    if name == "barge-in":  # all but the last window of the voice that it takes
        pair.session.receive(loud(pair), pair.now_ms)
    stimulus = stimulus_for(pair)
    before = dump_state(pair.session.state)

    with pytest.raises(IllegalTransition):
        pair.session.receive(stimulus, pair.now_ms)

    assert dump_state(pair.session.state) == before


def test_an_illegal_step_at_a_deadline_changes_nothing() -> None:
    pair = answering()
    spoil_reply(ReplyPhase.NEW)(pair)
    deadline_ms = pair.session.next_deadline_ms()
    before = dump_state(pair.session.state)

    with pytest.raises(IllegalTransition):
        pair.session.on_deadline(deadline_ms)

    assert dump_state(pair.session.state) == before
    assert pair.session.next_deadline_ms() == deadline_ms


# --- unions and what stands for each of their members -----------------------------------------------------------------


def test_every_stimulus_has_a_handler() -> None:
    assert core._APPLY.keys() == set(get_args(Stimulus))


def test_every_notice_has_an_expansion() -> None:
    assert outbound._EXPANSIONS.keys() == set(get_args(Notice))


def test_a_session_restored_in_another_phase_of_its_reply_goes_on() -> None:
    pair = drafted()
    twin = Session(pair.session.state.copy())
    stimulus = clause(pair)

    assert twin.receive(stimulus, pair.now_ms) == pair.session.receive(stimulus, pair.now_ms)
    assert latest_reply(pair).phase is ReplyPhase.DRAFTED
