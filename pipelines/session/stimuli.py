"""Everything that can happen to a session. The runner and the wire translator create these, and the core consumes them.

Engine results carry the `generation` of the request they answer, and the core drops those whose generation is over.
`event_id` is the client's id for the event behind a stimulus, and is echoed by a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.session.items import Item
from pipelines.session.settings import Modality, SessionSettings

# --- client -> session ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The client configured the session. The settings are already validated and merged."""

    settings: SessionSettings
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AudioAppended:
    """Audio arrived. `end_ms` is the total audio received in this session so far, in ms."""

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
        is_out_of_band: whether the answer is kept out of the conversation (`conversation: "none"`).
        input_items: out-of-band context that replaces the conversation, or None.
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
    """The client left, or the server is closing the session. Nothing is accepted afterwards."""


# --- engines -> session -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechScored:
    """The score of one voice-activity window that ends at `end_ms` of session audio.

    Windows come in order, without gaps.
    """

    probability: float
    end_ms: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class TurnJudged:
    """The turn model's answer: the probability that the caller has finished."""

    generation: int
    probability: float


@dataclass(frozen=True, slots=True)
class TranscriptHeard:
    """A partial transcript of the utterance that becomes `item_id`.

    When `ended_ms` is set, the text is unchanged and the recogniser considers the utterance finished at this position
    of the session's audio.
    """

    item_id: str
    text: str
    stable_chars: int
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TranscriptReady:
    """The whole transcript of an utterance, as of the moment `generation` asked for it.

    `ends_utterance` tells that the recogniser considers the utterance finished, provided that silence follows.
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
    """The answer cannot be made or continued. `message` is safe to show to the client."""

    generation: int
    message: str


@dataclass(frozen=True, slots=True)
class AudioReady:
    """A piece of synthesized audio of clause number `clause`.

    `words` holds pairs: end offset in the clause's text, and start in ms from the beginning of the clause's audio.
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
