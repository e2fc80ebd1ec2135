"""The one transition table. Everything else in this folder asks it before it changes a state.

A session has two states at once, since a caller may speak while the agent does: what the caller's input is doing, and
what the agent's reply is doing.
"""

from __future__ import annotations

from enum import StrEnum

from pipelines.errors import IllegalTransition


class InputState(StrEnum):
    QUIET = "quiet"  # no utterance is open
    SPEAKING = "speaking"  # an utterance is open and the caller is heard
    PAUSED = "paused"  # an utterance is open and the caller is silent: the turn may be over
    CLOSED = "closed"


class ReplyState(StrEnum):
    IDLE = "idle"  # no response is in progress
    PREPARING = "preparing"  # a response is in progress and has put nothing out yet
    SPEAKING = "speaking"  # a response is in progress and has put text or audio out
    CLOSED = "closed"


class Step(StrEnum):
    UTTERANCE_OPENED = "utterance opened"
    SPEECH_PAUSED = "speech paused"
    SPEECH_RESUMED = "speech resumed"
    TURN_ENDED = "turn ended"
    INPUT_DISCARDED = "input discarded"
    REPLY_STARTED = "reply started"
    REPLY_OUTPUT = "reply output"
    REPLY_ENDED = "reply ended"
    SESSION_CLOSED = "session closed"


INPUT_TRANSITIONS: dict[InputState, dict[Step, InputState]] = {
    InputState.QUIET: {
        Step.UTTERANCE_OPENED: InputState.SPEAKING,
        Step.INPUT_DISCARDED: InputState.QUIET,
        Step.SESSION_CLOSED: InputState.CLOSED,
    },
    InputState.SPEAKING: {
        Step.SPEECH_PAUSED: InputState.PAUSED,
        Step.TURN_ENDED: InputState.QUIET,
        Step.INPUT_DISCARDED: InputState.QUIET,
        Step.SESSION_CLOSED: InputState.CLOSED,
    },
    InputState.PAUSED: {
        Step.SPEECH_RESUMED: InputState.SPEAKING,
        Step.TURN_ENDED: InputState.QUIET,
        Step.INPUT_DISCARDED: InputState.QUIET,
        Step.SESSION_CLOSED: InputState.CLOSED,
    },
    InputState.CLOSED: {},
}

REPLY_TRANSITIONS: dict[ReplyState, dict[Step, ReplyState]] = {
    ReplyState.IDLE: {
        Step.REPLY_STARTED: ReplyState.PREPARING,
        Step.SESSION_CLOSED: ReplyState.CLOSED,
    },
    ReplyState.PREPARING: {
        Step.REPLY_OUTPUT: ReplyState.SPEAKING,
        Step.REPLY_ENDED: ReplyState.IDLE,
    },
    ReplyState.SPEAKING: {
        Step.REPLY_OUTPUT: ReplyState.SPEAKING,
        Step.REPLY_ENDED: ReplyState.IDLE,
    },
    ReplyState.CLOSED: {},
}


def next_input_state(state: InputState, step: Step) -> InputState:
    """Return the input state after `step`.

    Raises:
        IllegalTransition: the table has no such step.
    """
    try:
        return INPUT_TRANSITIONS[state][step]
    except KeyError:
        raise IllegalTransition(f"input cannot take the step '{step}' while {state}") from None


def next_reply_state(state: ReplyState, step: Step) -> ReplyState:
    """Return the reply state after `step`.

    Raises:
        IllegalTransition: the table has no such step.
    """
    try:
        return REPLY_TRANSITIONS[state][step]
    except KeyError:
        raise IllegalTransition(f"reply cannot take the step '{step}' while {state}") from None


def mermaid() -> str:
    """Draw both tables as Mermaid state diagrams (docs/architecture.md holds the text; a test compares)."""
    blocks = []
    tables: list[tuple[str, dict[str, dict[Step, str]]]] = [
        ("Input", {str(s): {k: str(v) for k, v in row.items()} for s, row in INPUT_TRANSITIONS.items()}),
        ("Reply", {str(s): {k: str(v) for k, v in row.items()} for s, row in REPLY_TRANSITIONS.items()}),
    ]
    for title, table in tables:
        lines = [f"    {state} --> {target}: {step}" for state, row in table.items() for step, target in row.items()]
        blocks.append("\n".join([f"%% {title}", "stateDiagram-v2", f"    [*] --> {next(iter(table))}", *lines]))
    return "\n\n".join(f"```mermaid\n{block}\n```" for block in blocks)
