"""Everything that can happen to a session. The runner and the wire translator make these; the core consumes them.

Engine results carry the `generation` of the request they answer; the core drops those of a generation that is over.
`event_id` is the client's id of the event behind a stimulus; a refusal echoes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.session.items import Item
from pipelines.session.settings import Modality, SessionSettings

# --- client -> session ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The client configured the session (already validated and merged)."""

    settings: SessionSettings
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AudioAppended:
    """Audio arrived. `end_ms`: total audio received in this session so far, in ms."""

    end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCommitRequested:
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AudioClearRequested:
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ItemCreateRequested:
    """Insert `item` after `previous_item_id` (None: at the end; "root": at the start). Empty `item.id`: make one."""

    item: Item
    previous_item_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ItemRetrieveRequested:
    item_id: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ItemTruncateRequested:
    """The caller heard only `audio_end_ms` of an assistant item's audio."""

    item_id: str
    content_index: int
    audio_end_ms: int
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ItemDeleteRequested:
    item_id: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseCreateRequested:
    """The client asks for an answer. `None` fields take the session's setting.

    Attributes:
        is_out_of_band: the answer is not added to the conversation (`conversation: "none"`).
        input_items: out-of-band context in place of the conversation, or None.
    """

    instructions: str | None = None
    modality: Modality | None = None
    voice: str | None = None
    max_output_tokens: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    is_out_of_band: bool = False
    input_items: tuple[Item, ...] | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseCancelRequested:
    response_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The client went away, or the server closes. Nothing is accepted afterwards."""


# --- engines -> session -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechScored:
    """One voice-activity window ending at `end_ms` of session audio. Windows come in order, without gaps."""

    probability: float
    end_ms: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class TurnJudged:
    """The turn model's answer: probability that the caller has finished."""

    generation: int
    probability: float


@dataclass(frozen=True, slots=True)
class TranscriptHeard:
    """A partial transcript of the utterance that becomes `item_id`.

    `ended_ms`: no news of the text; the recogniser holds the utterance for ended at this place of the session's audio.
    """

    item_id: str
    text: str
    stable_chars: int
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TranscriptReady:
    """The whole transcript of an utterance, as of the moment `generation` asked for it.

    `ends_utterance`: the recogniser holds it for ended, if silence follows.
    """

    item_id: str
    generation: int
    text: str
    ends_utterance: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptFailed:
    item_id: str
    generation: int
    message: str


@dataclass(frozen=True, slots=True)
class ClauseReady:
    """The next speakable piece of the answer. `text` may be empty on the last one."""

    generation: int
    text: str
    is_last: bool
    tokens: int = 0
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """No (further) answer can be made. `message` is safe to show to the client."""

    generation: int
    message: str


@dataclass(frozen=True, slots=True)
class AudioReady:
    """A piece of synthesized audio of clause number `clause`.

    `words` are (end offset in the clause's text, start in ms from the begin of the clause's audio).
    """

    generation: int
    clause: int
    pcm_24k: bytes
    words: tuple[tuple[int, int], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ClauseSpoken:
    """All audio of clause number `clause` has been delivered."""

    generation: int
    clause: int


@dataclass(frozen=True, slots=True)
class SynthesisFailed:
    generation: int
    clause: int
    message: str


ClientStimulus = (
    SettingsChanged
    | AudioAppended
    | AudioCommitRequested
    | AudioClearRequested
    | ItemCreateRequested
    | ItemRetrieveRequested
    | ItemTruncateRequested
    | ItemDeleteRequested
    | ResponseCreateRequested
    | ResponseCancelRequested
    | SessionClosed
)
EngineStimulus = (
    SpeechScored
    | TurnJudged
    | TranscriptHeard
    | TranscriptReady
    | TranscriptFailed
    | ClauseReady
    | AnswerFailed
    | AudioReady
    | ClauseSpoken
    | SynthesisFailed
)
Stimulus = ClientStimulus | EngineStimulus
