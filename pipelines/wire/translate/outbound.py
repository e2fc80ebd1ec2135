"""Translates notices of the session core to the protocol's server events, in the protocol's order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from pipelines.session.effects import (
    AnswerAudio,
    AnswerItemStarted,
    AnswerText,
    AudioCleared,
    AudioCommitted,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    Notice,
    PartialTranscript,
    Refused,
    ResponseFinished,
    ResponseStarted,
    SettingsApplied,
    SpeechStarted,
    SpeechStopped,
    TranscriptCompleted,
    TranscriptUnavailable,
)
from pipelines.wire.payloads import DurationUsage, ErrorPayload, TranscriptionError
from pipelines.wire.server_events import (
    ConversationItemAdded,
    ConversationItemDeleted,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionDelta,
    ConversationItemInputAudioTranscriptionFailed,
    ConversationItemRetrieved,
    ConversationItemTruncated,
    Error,
    InputAudioBufferCleared,
    InputAudioBufferCommitted,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    ServerEvent,
    SessionUpdated,
    VoxrayTranscriptPartial,
)
from pipelines.wire.translate.answers import AnswerEvents
from pipelines.wire.translate.items import item_to_wire
from pipelines.wire.translate.session_view import SessionView


class NoticeEvents:
    """Expands each notice into its events.

    `view` is the session as the client sees it, and is replaced by the translator.
    """

    def __init__(
        self, view: SessionView, answers: AnswerEvents, next_event_id: Callable[[], str], *, private_events: bool
    ) -> None:
        self.view = view
        self._answers = answers
        self._next_event_id = next_event_id
        self._private_events = private_events

    def expand(self, notice: Notice) -> Iterable[ServerEvent]:
        """Return the events for `notice`, in order, or none if the client did not ask for them."""
        return _EXPANSIONS[type(notice)](self, notice)

    def _settings(self, _: SettingsApplied) -> Iterator[ServerEvent]:
        yield SessionUpdated(event_id=self._next_event_id(), session=self.view.echo())

    def _refused(self, notice: Refused) -> Iterator[ServerEvent]:
        error = ErrorPayload(
            type="invalid_request_error",
            code=notice.code,
            message=notice.message,
            param=notice.param,
            event_id=notice.event_id,
        )
        yield Error(event_id=self._next_event_id(), error=error)

    def _speech_started(self, notice: SpeechStarted) -> Iterator[ServerEvent]:
        yield InputAudioBufferSpeechStarted(
            event_id=self._next_event_id(), audio_start_ms=notice.audio_start_ms, item_id=notice.item_id
        )

    def _speech_stopped(self, notice: SpeechStopped) -> Iterator[ServerEvent]:
        yield InputAudioBufferSpeechStopped(
            event_id=self._next_event_id(), audio_end_ms=notice.audio_end_ms, item_id=notice.item_id
        )

    def _committed(self, notice: AudioCommitted) -> Iterator[ServerEvent]:
        yield InputAudioBufferCommitted(
            event_id=self._next_event_id(), previous_item_id=notice.previous_item_id, item_id=notice.item_id
        )

    def _cleared(self, _: AudioCleared) -> Iterator[ServerEvent]:
        yield InputAudioBufferCleared(event_id=self._next_event_id())

    def _item_added(self, notice: ItemAdded) -> Iterator[ServerEvent]:
        item, previous = item_to_wire(notice.item), notice.previous_item_id
        yield ConversationItemAdded(event_id=self._next_event_id(), previous_item_id=previous, item=item)
        yield ConversationItemDone(event_id=self._next_event_id(), previous_item_id=previous, item=item)

    def _item_retrieved(self, notice: ItemRetrieved) -> Iterator[ServerEvent]:
        yield ConversationItemRetrieved(event_id=self._next_event_id(), item=item_to_wire(notice.item))

    def _item_truncated(self, notice: ItemTruncated) -> Iterator[ServerEvent]:
        yield ConversationItemTruncated(
            event_id=self._next_event_id(),
            item_id=notice.item_id,
            content_index=notice.content_index,
            audio_end_ms=notice.audio_end_ms,
        )

    def _item_deleted(self, notice: ItemDeleted) -> Iterator[ServerEvent]:
        yield ConversationItemDeleted(event_id=self._next_event_id(), item_id=notice.item_id)

    def _partial(self, notice: PartialTranscript) -> Iterator[ServerEvent]:
        if self._private_events:
            yield VoxrayTranscriptPartial(
                event_id=self._next_event_id(),
                item_id=notice.item_id,
                text=notice.text,
                stable_chars=notice.stable_chars,
            )

    def _transcript(self, notice: TranscriptCompleted) -> Iterator[ServerEvent]:
        if not self.view.has_transcripts:
            return
        if notice.text:
            yield ConversationItemInputAudioTranscriptionDelta(
                event_id=self._next_event_id(), item_id=notice.item_id, delta=notice.text
            )
        yield ConversationItemInputAudioTranscriptionCompleted(
            event_id=self._next_event_id(),
            item_id=notice.item_id,
            transcript=notice.text,
            usage=DurationUsage(notice.audio_ms / 1000),
        )

    def _no_transcript(self, notice: TranscriptUnavailable) -> Iterator[ServerEvent]:
        if self.view.has_transcripts:
            yield ConversationItemInputAudioTranscriptionFailed(
                event_id=self._next_event_id(),
                item_id=notice.item_id,
                error=TranscriptionError("transcription_failed", notice.message),
            )

    def _response_started(self, notice: ResponseStarted) -> Iterator[ServerEvent]:
        return self._answers.started(notice, self.view)

    def _answer_item(self, notice: AnswerItemStarted) -> Iterator[ServerEvent]:
        return self._answers.item_started(notice)

    def _answer_text(self, notice: AnswerText) -> Iterator[ServerEvent]:
        return self._answers.text(notice)

    def _answer_audio(self, notice: AnswerAudio) -> Iterator[ServerEvent]:
        return self._answers.audio(notice)

    def _response_finished(self, notice: ResponseFinished) -> Iterator[ServerEvent]:
        return self._answers.finished(notice)


# The only table of notices. Each method takes exactly the notice that it is listed with.
_EXPANSIONS: Final[dict[type[Notice], Callable[[NoticeEvents, Any], Iterable[ServerEvent]]]] = {
    SettingsApplied: NoticeEvents._settings,
    Refused: NoticeEvents._refused,
    SpeechStarted: NoticeEvents._speech_started,
    SpeechStopped: NoticeEvents._speech_stopped,
    AudioCommitted: NoticeEvents._committed,
    AudioCleared: NoticeEvents._cleared,
    ItemAdded: NoticeEvents._item_added,
    ItemRetrieved: NoticeEvents._item_retrieved,
    ItemTruncated: NoticeEvents._item_truncated,
    ItemDeleted: NoticeEvents._item_deleted,
    PartialTranscript: NoticeEvents._partial,
    TranscriptCompleted: NoticeEvents._transcript,
    TranscriptUnavailable: NoticeEvents._no_transcript,
    ResponseStarted: NoticeEvents._response_started,
    AnswerItemStarted: NoticeEvents._answer_item,
    AnswerText: NoticeEvents._answer_text,
    AnswerAudio: NoticeEvents._answer_audio,
    ResponseFinished: NoticeEvents._response_finished,
}
