"""What the conversation needs from the outside world, as small Protocols.

Engines (`deployments/engines`), Ray handles (`deployments`) and the scripted engines all satisfy these. Every port
follows these rules:

* audio is 16-bit little-endian mono PCM in `bytes`; the argument's name gives the sample rate (`_16k`, `_24k`);
* failures are raised as `pipelines.errors.EngineError` (which says whether a retry can help), never returned;
* an async iterator is cancelled by closing it (`aclose()`), which must also stop the work behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pipelines.session.effects import Effect, StartAnswer
from pipelines.session.stimuli import Stimulus


@dataclass(frozen=True, slots=True)
class SpeechScore:
    """The probability that one window of a stream is speech.

    Attributes:
        probability: 0.0 to 1.0.
        end_ms: position in the stream, in ms of audio pushed so far, at which the window ends.
        window_ms: length of the window.
    """

    probability: float
    end_ms: int
    window_ms: int


class SpeechStream(Protocol):
    """One call's voice-activity stream. Scores arrive in order, one for each full window and none for a partial one."""

    def push(self, pcm_16k: bytes) -> None:
        """Queue audio. Never blocks; scores arrive later through the callback, on the thread of the event loop."""

    def close(self) -> None:
        """Free the stream's slot. No score is delivered afterwards. Does nothing on successive calls."""


class SpeechDetector(Protocol):
    """Voice activity detection shared by all calls of a gateway (scored in batches)."""

    def open(self, on_score: Callable[[SpeechScore], None]) -> SpeechStream:
        """Open a stream. Must be called on the event loop's thread."""


class TurnDetector(Protocol):
    """Judges by the sound of an utterance whether the caller has finished the turn."""

    async def completion_probability(self, pcm_16k: bytes) -> float:
        """Return the probability (0.0 to 1.0) that the turn is complete. Uses at most the last 8 s of `pcm_16k`."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The recogniser's current reading of an utterance.

    Attributes:
        text: the whole hypothesis.
        stable_chars: length of the prefix of `text` that later hypotheses will keep.
        audio_ms: how much of the utterance it covers.
        ends_utterance: whether the recogniser itself considers the utterance finished there. A partial result reports
            this separately, after its text has been delivered.
    """

    text: str
    stable_chars: int
    audio_ms: int
    ends_utterance: bool = False


class TranscriptStream(Protocol):
    """One utterance in recognition. Pushed audio is never lost: if an engine dies, the audio is recognised again."""

    def push(self, pcm_16k: bytes) -> None:
        """Add audio. Never blocks."""

    async def finalize(self) -> Hypothesis:
        """Recognise all audio pushed so far. The stream stays usable for more speech after a pause."""

    async def aclose(self) -> None:
        """End the stream and free its slot. Cancels a `finalize` in flight. Does nothing on successive calls."""


class Transcriber(Protocol):
    """Streaming speech recognition."""

    def open(self, on_partial: Callable[[Hypothesis], None]) -> TranscriptStream:
        """Open a stream for one utterance; `on_partial` is called on the event loop's thread while audio arrives."""


@dataclass(frozen=True, slots=True)
class StageScores:
    """A passage's place at each stage of retrieval. Ranks start at 1; 0 means that the stage did not find it.

    Attributes:
        meaning_rank, meaning: place and cosine similarity in the search by meaning (dense vectors).
        words_rank, words: place and BM25 score in the search by words.
        rerank: the cross-encoder's probability that the passage answers the question; None when it was not asked.
    """

    meaning_rank: int = 0
    meaning: float = 0.0
    words_rank: int = 0
    words: float = 0.0
    rerank: float | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """One piece of business data that retrieval found.

    Attributes:
        text: the passage as it was indexed.
        source: where the passage comes from, as shown to people ("faq/returns.md").
        title: heading, or name of the record.
        score: fused rank score, higher is better; comparable within one answer only.
        similarity: cosine similarity of query and passage, -1.0 to 1.0; comparable between answers.
        matched_terms: share (0.0 to 1.0) of the query's content words that the passage contains.
        updated_at: ISO 8601 date of the source; "" when unknown.
        sentence_similarities: cosine similarity of the query to each sentence of `text` (as cut by
            `pipelines.language.en.terms.sentences`), in order; empty when the store does not know.
        stages: its place at each stage, for explanations.
    """

    text: str
    source: str
    title: str
    score: float
    similarity: float
    matched_terms: float = 0.0
    updated_at: str = ""
    sentence_similarities: tuple[float, ...] = ()
    stages: StageScores = StageScores()


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """A condition on a field of the data. `operator` is ==, !=, <, <=, >, >=, or "in" for one of several values.

    Values are given as text whatever the field's type. The retriever knows the type and refuses a value that does not
    fit.
    """

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassageFilter:
    """Restricts which of a tenant's passages may be found. All conditions must hold; an empty condition always does.

    Attributes:
        sources: only passages from these sources, as named by `Passage.source`.
        updated_from: only passages of this ISO 8601 date ("2026-01-31") or later.
        updated_until: only passages of this date or earlier.
        fields: conditions on fields that the tenant's dataset declares. A passage without the field meets no condition.
    """

    sources: tuple[str, ...] = ()
    updated_from: str = ""
    updated_until: str = ""
    fields: tuple[FieldCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class RetrievalQuery:
    """A question about one tenant's data.

    Attributes:
        limit: the most passages to return.
        budget_ms: time for the search, after which the retriever raises and the caller is told so.
        only: which of the tenant's passages may be found.
        alias: alias of the live collection to search; "" selects the retriever's default.
    """

    tenant: str
    text: str
    limit: int
    budget_ms: int
    only: PassageFilter = PassageFilter()
    alias: str = ""


class Retriever(Protocol):
    """Searches the tenant's live collection."""

    async def search(self, query: RetrievalQuery) -> list[Passage]:
        """Return passages, best first, or an empty list when nothing is close to the question.

        Raises:
            EngineError: the store or the encoder failed, or `budget_ms` ran out (retryable). An empty list would
                instead claim that nothing matches, and the caller would hear a false refusal.
        """


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a prompt. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt and its limits. `request_id` is unique to each attempt, so that cancelling aborts exactly that one."""

    request_id: str
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Clause:
    """A speakable piece of an answer. `text` keeps its spacing, so the joined clauses give the whole answer.

    Attributes:
        is_last: whether the answer ends with this clause, whose `text` may then be empty.
        tokens: number of tokens decoded for the answer so far.
    """

    text: str
    is_last: bool = False
    tokens: int = 0
    prompt_tokens: int = 0


class LanguageModel(Protocol):
    """A chat model that streams clauses."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        """Stream the answer's clauses; exactly one has `is_last`. Closing the iterator aborts generation."""


class Grounding(StrEnum):
    """The origin of the spoken words."""

    MODEL = "model"
    """The language model's words; every clause passed the grounding check."""
    PASSAGE = "passage"
    """The passage's own best sentence, since the model's words did not pass."""
    MIXED = "mixed"
    """Checked model words, then the passage's own sentence."""
    REFUSED = "refused"
    """Nothing near was found."""
    UNREACHABLE = "unreachable"
    """The records could not be searched."""
    COURTESY = "courtesy"
    """A greeting, thanks or goodbye; nothing was searched."""


@dataclass(frozen=True, slots=True)
class PassagesFound:
    """Retrieval has ended. `chosen` is the passage that the answer rests on, or None when none was close enough."""

    passages: tuple[Passage, ...]
    chosen: Passage | None
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class AnswerClause:
    """A piece to speak. The joined clauses give the answer, and exactly one has `is_last`."""

    text: str
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFinished:
    """The answer is complete. `rejected` says why the model's words were not used; it is "" when they were."""

    grounded: Grounding
    rejected: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


AnswerEvent = PassagesFound | AnswerClause | AnswerFinished


class Answerer(Protocol):
    """Turns a question into clauses, grounded in the tenant's data."""

    def answer(self, order: StartAnswer) -> AsyncIterator[AnswerEvent]:
        """Stream the answer. Closing the iterator stops retrieval and generation."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """Text to speak. `voice` is a catalog voice, or "" for the default; `speed` is 0.25 to 1.5, where 1.0 is normal."""

    text: str
    voice: str = ""
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word begins, in ms from the start of the request's audio.

    `end_char` is the word's end offset in the text.
    """

    end_char: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of synthesized audio with the words that start in it."""

    pcm_24k: bytes
    words: tuple[WordTime, ...] = field(default=())


class Synthesizer(Protocol):
    """Text to speech."""

    def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        """Stream the audio of one clause, in order and without gaps. Closing the iterator stops synthesis."""


@dataclass(frozen=True, slots=True)
class AnswerNews:
    """An event of the answer with this `generation` other than a clause."""

    generation: int
    event: PassagesFound | AnswerFinished


Happening = Stimulus | AnswerNews
"""What an observer sees happen."""


class SessionObserver(Protocol):
    """Watches the stimuli and effects of one session. An observer changes nothing and must be quick."""

    def observe(self, happening: Happening | None, effects: Sequence[Effect], now_ms: int) -> None:
        """Receive what happened and its effects, in order. `happening` is None when a deadline has passed.

        Audio frames and speech scores without effect are not reported, since there are thousands of them a second.
        """


class Redactor(Protocol):
    """Makes text safe to store."""

    def redact(self, text: str) -> str:
        """Return `text` with everything replaced that must not be stored. Pure, and fast enough for the event loop."""
