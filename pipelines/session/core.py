"""The session: stimuli in, effects out.

    session = Session.start("s1", settings)
    for effect in session.receive(stimulus, now_ms): ...
    deadline = session.next_deadline_ms()       # call on_deadline(now_ms) then, unless something changed it

The caller performs the effects in order and hands every result back as a stimulus. Nothing here blocks, reads a clock,
or raises for a peer's mistakes, which become `Refused`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.session import conversation, listening, replying
from pipelines.session.change import Change
from pipelines.session.effects import Effect, Order, SettingsApplied
from pipelines.session.restore import orders_again
from pipelines.session.settings import SessionSettings
from pipelines.session.state import SessionState
from pipelines.session.stimuli import (
    AnswerFailed,
    AudioAppended,
    AudioClearRequested,
    AudioCommitRequested,
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
    SettingsChanged,
    SpeechScored,
    Stimulus,
    SynthesisFailed,
    TranscriptFailed,
    TranscriptHeard,
    TranscriptReady,
    TurnJudged,
)
from pipelines.session.transitions import InputState, Step


class Session:
    """One conversation. Not thread-safe; one caller drives it."""

    def __init__(self, state: SessionState) -> None:
        self.state = state

    @classmethod
    def start(cls, session_id: str, settings: SessionSettings) -> Session:
        """Begin a session whose clock starts at 0 ms."""
        return cls(SessionState(session_id=session_id, settings=settings))

    @classmethod
    def restore(cls, state: SessionState) -> tuple[Session, list[Order]]:
        """Continue a session that another process has left. Also returns the orders to give again, in order."""
        return cls(state), orders_again(state)

    @property
    def is_closed(self) -> bool:
        return self.state.input is InputState.CLOSED

    def receive(self, stimulus: Stimulus, now_ms: int) -> list[Effect]:
        """Apply a stimulus and return what to do, in order. A closed session ignores everything.

        Args:
            now_ms: milliseconds since the session began; never less than in the previous call.

        Raises:
            IllegalTransition: the state does not allow what the stimulus leads to. This is a bug; nothing has changed.
        """
        if self.is_closed:
            return []
        change = Change(self.state, now_ms)
        if type(stimulus) not in _FREQUENT:
            change.keep()
        return _applied(change, _APPLY[type(stimulus)], stimulus)

    def next_deadline_ms(self) -> int | None:
        """Return when `on_deadline` is due if nothing else happens, or None when no deadline is set."""
        if self.is_closed:
            return None
        deadlines = (listening.pause_deadline_ms(self.state), replying.reply_deadline_ms(self.state))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def on_deadline(self, now_ms: int) -> list[Effect]:
        """Do what is due at `now_ms`. Does nothing when called early.

        Raises:
            IllegalTransition: as for `receive`.
        """
        if self.is_closed:
            return []
        change = Change(self.state, now_ms)
        change.keep()
        return _applied(change, _end_what_is_due, None)


def _applied(change: Change, apply: Callable[[Change, Any], None], stimulus: Stimulus | None) -> list[Effect]:
    """Make the change as a whole or not at all, and return its effects."""
    try:
        apply(change, stimulus)
    except Exception:
        change.undo()
        raise
    return change.effects


def _end_what_is_due(change: Change, _: None) -> None:
    state = change.state
    pause_ms, reply_ms = listening.pause_deadline_ms(state), replying.reply_deadline_ms(state)
    if pause_ms is not None and pause_ms <= change.now_ms:
        listening.end_muted_turn(change)
    if reply_ms is not None and reply_ms <= change.now_ms:
        replying.end_stalled_reply(change)


def _change_settings(change: Change, changed: SettingsChanged) -> None:
    """Apply settings. An utterance found by a different kind of turn detection is discarded."""
    state = change.state
    had_detection = state.settings.turn_detection is not None
    has_detection = changed.settings.turn_detection is not None
    state.settings = changed.settings
    if had_detection != has_detection and state.utterance is not None:
        listening.discard(change)
    change.emit(SettingsApplied(changed.settings))


def _truncate(change: Change, request: ItemTruncateRequested) -> None:
    replying.stop_before_truncation(change, request)
    conversation.truncate(change, request)


def _close(change: Change, _closed: SessionClosed) -> None:
    replying.close(change)
    listening.discard(change)
    change.step_input(Step.SESSION_CLOSED)


# These arrive many times a second, and copying the state for each would cost too much. Their handlers therefore save
# the state themselves before they do more than count.
_FREQUENT = frozenset({AudioAppended, SpeechScored, AudioReady})
# The dispatch is typed by construction, since each function takes exactly the stimulus it is listed under.
_APPLY: dict[type[Any], Callable[[Change, Any], None]] = {
    SettingsChanged: _change_settings,
    AudioAppended: listening.hear_audio,
    AudioCommitRequested: listening.commit,
    AudioClearRequested: listening.clear,
    ItemCreateRequested: conversation.create,
    ItemRetrieveRequested: conversation.retrieve,
    ItemTruncateRequested: _truncate,
    ItemDeleteRequested: conversation.delete,
    ResponseCreateRequested: replying.create,
    ResponseCancelRequested: replying.cancel,
    SessionClosed: _close,
    SpeechScored: listening.hear_score,
    TurnJudged: listening.hear_judgement,
    TranscriptHeard: listening.hear_partial,
    TranscriptReady: listening.hear_transcript,
    TranscriptFailed: listening.hear_transcript_failure,
    ClauseReady: replying.hear_clause,
    AnswerFailed: replying.hear_failure,
    AudioReady: replying.hear_audio,
    ClauseSpoken: replying.hear_clause_end,
    SynthesisFailed: replying.hear_failure,
}
