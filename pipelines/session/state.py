"""Everything a session knows, as plain data. A snapshot of it can be continued in another process (`restore.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from pipelines.audio.pcm import PCM_24K
from pipelines.session.effects import AnswerAudio, AnswerText, StartAnswer
from pipelines.session.items import Item, WordMark
from pipelines.session.settings import Modality, SessionSettings
from pipelines.session.transitions import InputState, ReplyPhase


@dataclass(slots=True)
class Reply:
    """One attempt to answer, either speculative (a draft) or as the response in progress.

    Attributes:
        phase: its phase, as defined by `transitions.REPLY_TRANSITIONS`.
        asked_item_id: the user item that is answered, when it is not simply the last thing said.
        awaited_item_id: the user item whose transcript the answer waits for.
        asked: the order that was given for the answer.
        held: the output that a draft holds back.
        clauses: texts sent to synthesis, in order; the first `spoken` of them are complete.
        clause_start_samples, clause_start_char: where the clause being synthesized begins in the item's audio and text.
        clauses_again, samples_again: for an answer that was ordered again (`restore.py`), how many clauses, and how
            much audio of the clause being synthesized, arrive a second time and are skipped.
        first_audio_at_ms: when the first audio was sent; playout cannot have begun earlier.
        progress_at_ms: when an engine last delivered something.
    """

    response_id: str
    item_id: str
    generation: int
    modality: Modality
    voice: str
    speed: float
    progress_at_ms: int
    instructions: str = ""
    max_output_tokens: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    is_out_of_band: bool = False
    input_items: tuple[Item, ...] | None = None
    phase: ReplyPhase = ReplyPhase.NEW
    asked_item_id: str | None = None
    awaited_item_id: str | None = None
    asked: StartAnswer | None = None
    held: list[AnswerText | AnswerAudio] = field(default_factory=list)
    clauses: list[str] = field(default_factory=list)
    spoken: int = 0
    clause_start_samples: int = 0
    clause_start_char: int = 0
    clauses_again: int = 0
    samples_again: int = 0
    audio_samples: int = 0
    words: list[WordMark] = field(default_factory=list)
    first_audio_at_ms: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.clauses)

    @property
    def audio_ms(self) -> int:
        return PCM_24K.ms_of_samples(self.audio_samples)

    @property
    def clause_ms(self) -> int:
        """How much audio of the clause being synthesized has arrived."""
        return self.audio_ms - PCM_24K.ms_of_samples(self.clause_start_samples)

    @property
    def is_complete(self) -> bool:
        """Whether the client has received the whole reply."""
        is_text_out = self.phase in {ReplyPhase.PREPARED, ReplyPhase.FINISHING}
        return is_text_out and (self.modality is Modality.TEXT or self.spoken == len(self.clauses))

    def copy(self) -> Reply:
        """Return a copy that later changes of this one do not reach."""
        return replace(self, held=list(self.held), clauses=list(self.clauses), words=list(self.words))


@dataclass(slots=True)
class Utterance:
    """Speech of the caller that is not committed yet.

    Attributes:
        speech_end_ms: end of the last voiced window.
        resume_ms: voiced audio heard since the pause began (a short noise does not resume speech).
        generation: generation of the recognition, judgement and draft that this pause started; None before that.
        is_recognising: whether that generation's transcript is still awaited.
        judged_silence_ms: length of the silence when the turn model was last asked.
        completion: the turn model's last answer in this pause, or None.
        transcript: the transcript recognised in this pause, or None.
        draft: the answer made on speculation, or None.
        ended_ms: position in the session's audio at which the recogniser last considered the utterance finished. It is
            out of date if it lies before `speech_end_ms`.
    """

    item_id: str
    start_ms: int
    speech_end_ms: int
    resume_ms: int = 0
    generation: int | None = None
    is_recognising: bool = False
    judged_silence_ms: int = 0
    completion: float | None = None
    transcript: str | None = None
    draft: Reply | None = None
    ended_ms: int = -1

    def copy(self) -> Utterance:
        """Return a copy that later changes of this one do not reach."""
        return replace(self, draft=self.draft and self.draft.copy())


@dataclass(frozen=True, slots=True)
class Awaited:
    """A committed utterance whose transcript is awaited: the generation that brings it, and its span of audio."""

    generation: int
    start_ms: int
    end_ms: int


@dataclass(slots=True)
class SessionState:
    """The whole session.

    Attributes:
        appended_ms, scored_ms: how much session audio was received, and how much was scored for speech.
        appended_at_ms: when audio last arrived.
        buffer_start_ms: where the uncommitted input buffer begins.
        voiced_ms: length of the voiced run that ends the scored audio, while no utterance is open.
        items: the conversation, in order.
        awaited: committed user items that wait for a transcript, by id.
        queued_item_id: user item of a turn that ended while another response was in progress, and is answered next.
        playout_item_id, playout_at_ms: the assistant audio that the client may still be playing, and since when.
    """

    session_id: str
    settings: SessionSettings
    input: InputState = InputState.QUIET
    appended_ms: int = 0
    scored_ms: int = 0
    appended_at_ms: int = 0
    buffer_start_ms: int = 0
    voiced_ms: int = 0
    items: list[Item] = field(default_factory=list)
    utterance: Utterance | None = None
    reply: Reply | None = None
    awaited: dict[str, Awaited] = field(default_factory=dict)
    queued_item_id: str = ""
    playout_item_id: str = ""
    playout_at_ms: int = 0
    next_item: int = 1
    next_response: int = 1
    next_generation: int = 1

    def copy(self) -> SessionState:
        """Return a copy that later changes of this one do not reach."""
        return replace(
            self,
            items=list(self.items),
            awaited=dict(self.awaited),
            utterance=self.utterance and self.utterance.copy(),
            reply=self.reply and self.reply.copy(),
        )

    def become(self, other: SessionState) -> None:
        """Take over the whole state of `other`."""
        for known in fields(self):
            setattr(self, known.name, getattr(other, known.name))
