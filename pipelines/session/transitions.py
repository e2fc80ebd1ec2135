"""The only transition table. All other code in this folder consults it before changing a state.

A session has two states at once, because the caller may speak while the agent does: the state of the caller's input and
the phase of the agent's reply. A draft is a reply too, and joins the phases of a response when it is opened.

    draft        new ── drafting ── drafted
                           │ opened    │ opened
    response     new ── waiting ── preparing ── prepared           nothing is put out yet
                                       │ output    │ output
                                    speaking ── finishing ── ended
                                           text complete
"""

from __future__ import annotations

from enum import StrEnum

from pipelines.errors import IllegalTransition


class InputState(StrEnum):
    QUIET = "quiet"  # no utterance is open
    SPEAKING = "speaking"  # an utterance is open and the caller is heard
    PAUSED = "paused"  # an utterance is open and the caller is silent: the turn may be over
    CLOSED = "closed"


class ReplyPhase(StrEnum):
    NEW = "new"  # just created, by the same stimulus
    WAITING = "waiting"  # known to the client, but not ordered yet because it waits for a transcript
    DRAFTING = "drafting"  # made speculatively, with its output held back
    DRAFTED = "drafted"  # the same, and its text is complete
    PREPARING = "preparing"  # known to the client, but nothing has been sent yet
    PREPARED = "prepared"  # the same, and its text is complete
    SPEAKING = "speaking"  # text or audio has been sent
    FINISHING = "finishing"  # the text is complete and the rest of the audio is awaited
    ENDED = "ended"


class Step(StrEnum):
    UTTERANCE_OPENED = "utterance opened"
    SPEECH_PAUSED = "speech paused"
    SPEECH_RESUMED = "speech resumed"
    TURN_ENDED = "turn ended"
    INPUT_DISCARDED = "input discarded"
    ANSWER_STARTED = "answer started"
    REPLY_OPENED = "reply opened"
    REPLY_OUTPUT = "reply output"
    TEXT_COMPLETED = "text completed"
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

REPLY_TRANSITIONS: dict[ReplyPhase, dict[Step, ReplyPhase]] = {
    ReplyPhase.NEW: {
        Step.ANSWER_STARTED: ReplyPhase.DRAFTING,
        Step.REPLY_OPENED: ReplyPhase.WAITING,
    },
    ReplyPhase.WAITING: {
        Step.ANSWER_STARTED: ReplyPhase.PREPARING,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.DRAFTING: {
        Step.TEXT_COMPLETED: ReplyPhase.DRAFTED,
        Step.REPLY_OPENED: ReplyPhase.PREPARING,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.DRAFTED: {
        Step.REPLY_OPENED: ReplyPhase.PREPARED,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.PREPARING: {
        Step.REPLY_OUTPUT: ReplyPhase.SPEAKING,
        Step.TEXT_COMPLETED: ReplyPhase.PREPARED,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.PREPARED: {
        Step.REPLY_OUTPUT: ReplyPhase.FINISHING,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.SPEAKING: {
        Step.REPLY_OUTPUT: ReplyPhase.SPEAKING,
        Step.TEXT_COMPLETED: ReplyPhase.FINISHING,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.FINISHING: {
        Step.REPLY_OUTPUT: ReplyPhase.FINISHING,
        Step.REPLY_ENDED: ReplyPhase.ENDED,
    },
    ReplyPhase.ENDED: {},
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


def next_reply_phase(phase: ReplyPhase, step: Step) -> ReplyPhase:
    """Return the phase of a reply after `step`.

    Raises:
        IllegalTransition: the table has no such step.
    """
    try:
        return REPLY_TRANSITIONS[phase][step]
    except KeyError:
        raise IllegalTransition(f"a reply cannot take the step '{step}' while {phase}") from None


def mermaid() -> str:
    """Draw both tables as Mermaid state diagrams. A test compares the result with docs/architecture.md."""
    blocks = []
    tables: list[tuple[str, dict[str, dict[Step, str]]]] = [
        ("Input", {str(s): {k: str(v) for k, v in row.items()} for s, row in INPUT_TRANSITIONS.items()}),
        ("Reply", {str(s): {k: str(v) for k, v in row.items()} for s, row in REPLY_TRANSITIONS.items()}),
    ]
    for title, table in tables:
        lines = [f"    {state} --> {target}: {step}" for state, row in table.items() for step, target in row.items()]
        blocks.append("\n".join([f"%% {title}", "stateDiagram-v2", f"    [*] --> {next(iter(table))}", *lines]))
    return "\n\n".join(f"```mermaid\n{block}\n```" for block in blocks)
