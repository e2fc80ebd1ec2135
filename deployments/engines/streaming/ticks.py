"""One tick of a streaming recogniser: applies commands, steps and finishes the model, and collects results.

This module knows nothing of threads. A step that raises is repeated stream by stream: a stream that raises alone is
failed, and the others continue. If none succeeds, the fault may lie with the model rather than the audio, so the
streams are failed as retryable. When many have failed and none has succeeded since, `run` raises, which ends the
recogniser.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployments.engines.streaming.chunk_stepper import ChunkStepper, Heard, SlotAudio
from deployments.engines.streaming.schedule import Chunk, Rest, StreamKey, StreamSchedule
from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component, EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)

_FAILURES_WITHOUT_SUCCESS = 8

Answer = Heard | Exception


@dataclass(slots=True)
class Counts:
    """What a recogniser has done since it started."""

    ticks: int = 0
    chunks: int = 0
    opened: int = 0
    refused: int = 0
    failed: int = 0
    finishes: int = 0
    audio_ms: int = 0


@dataclass(slots=True)
class _Sent:
    """What was last sent for a stream, so that only changes are sent."""

    text: str = ""
    stable_chars: int = 0


class StreamTicks:
    """Applies commands and runs ticks. Used by one thread.

    Args:
        refuse: called at every opening. Returns why no stream is admitted at present, or None.
    """

    def __init__(
        self, stepper: ChunkStepper, schedule: StreamSchedule, refuse: Callable[[], str | None] = lambda: None
    ) -> None:
        self.counts = Counts()
        self._stepper = stepper
        self._schedule = schedule
        self._refuse = refuse
        self._sent: dict[StreamKey, _Sent] = {}
        self._newest: dict[int, int] = {}
        self._results: defaultdict[int, list[StreamResult]] = defaultdict(list)
        self._failures_in_a_row = 0

    def apply(self, link: int, commands: Sequence[StreamCommand], now_ms: int) -> None:
        """Carry out commands in order.

        A command for a stream that has ended is ignored, since it was sent before the end.
        """
        for command in commands:
            if isinstance(command, PushMany):
                for stream, pcm_16k in zip(command.streams, command.pieces, strict=True):
                    self._push((link, stream), pcm_16k, now_ms)
            elif isinstance(command, OpenStream):
                self._open((link, command.stream), command.tenant, now_ms)
            else:
                self._apply((link, command.stream), command, now_ms)

    def close_link(self, link: int) -> None:
        """Free all slots of a link and drop its pending results."""
        for key in self._schedule.keys_of(link):
            self._end(key)
        self._newest.pop(link, None)
        self._results.pop(link, None)

    def end_idle(self, now_ms: int, timeout_ms: int) -> None:
        """Fail the streams that have been silent for too long, because their gateway must have forgotten them."""
        for key in self._schedule.idle(now_ms, timeout_ms):
            self._fail(key, f"nothing was sent for {timeout_ms} ms", retryable=True)

    def fail_all(self, reason: str) -> None:
        """Fail every stream as retryable."""
        for key in list(self._sent):
            self._fail(key, reason, retryable=True)

    def run(self, clock_ms: Callable[[], int]) -> list[int]:
        """Run one tick; return the lag of each of its chunks, in ms.

        Raises:
            EngineError: the model has failed for many streams and has worked for none since the first failure.
        """
        chunks = self._schedule.take_chunks(clock_ms())
        answers = self._answers(self._stepper.step, chunks)
        for chunk, answer in zip(chunks, answers, strict=True):
            self._tell_chunk(chunk, answer)
        rests = self._schedule.take_rests()
        ends = self._answers(self._stepper.finish, rests)
        for rest, answer in zip(rests, ends, strict=True):
            self._tell_rest(rest, answer)
        self._count(chunks, rests)
        self._judge([*answers, *ends])
        done_ms = clock_ms()
        return [max(0, done_ms - chunk.due_ms) for chunk in chunks]

    def take_results(self) -> dict[int, list[StreamResult]]:
        """Return and forget the pending results of each link."""
        results, self._results = self._results, defaultdict(list)
        return results

    def _open(self, key: StreamKey, tenant: str, now_ms: int) -> None:
        link, stream = key
        self._newest[link] = max(stream, self._newest.get(link, -1))
        if key in self._schedule:
            self._fail(key, "the stream was opened twice", retryable=False)
            return
        reason = self._refuse()
        slot = self._schedule.open(key, now_ms) if reason is None else None
        if slot is None:
            self.counts.refused += 1
            self._results[link].append(StreamRefused(stream, reason or "all slots are taken"))
            return
        self._sent[key] = _Sent()
        self.counts.opened += 1
        try:
            self._stepper.open(slot, tenant)
        except Exception as error:
            self._fail(key, _reason(error), retryable=_is_retryable(error))

    def _apply(self, key: StreamKey, command: PushAudio | FinishUtterance | CloseStream, now_ms: int) -> None:
        match command:
            case PushAudio(pcm_16k=pcm_16k):
                self._push(key, pcm_16k, now_ms)
            case FinishUtterance(finish=finish):
                if self._is_open(key):
                    self._schedule.finish(key, finish, now_ms)
            case CloseStream():
                self._end(key)

    def _push(self, key: StreamKey, pcm_16k: bytes, now_ms: int) -> None:
        if self._is_open(key) and not self._schedule.push(key, pcm_16k, now_ms):
            bound_s = self._schedule.limits.max_backlog_ms // 1000
            self._fail(key, f"more than {bound_s} s of audio wait to be recognised", retryable=False)

    def _is_open(self, key: StreamKey) -> bool:
        """Return whether a stream is open, and report a failure for one that never was."""
        if key in self._schedule:
            return True
        link, stream = key
        if stream > self._newest.get(link, -1):
            self._results[link].append(StreamFailed(stream, "the stream was never opened", retryable=False))
        return False

    def _answers(
        self, run: Callable[[Sequence[SlotAudio]], list[Heard]], items: Sequence[Chunk] | Sequence[Rest]
    ) -> list[Answer]:
        batch = [SlotAudio(item.slot, item.pcm_16k) for item in items]
        if not batch:
            return []
        try:
            return list(run(batch))
        except Exception as error:
            return [error] if len(batch) == 1 else [_answer_alone(run, item) for item in batch]

    def _tell_chunk(self, chunk: Chunk, answer: Answer) -> None:
        if isinstance(answer, Exception):
            self._fail(chunk.key, _reason(answer), retryable=_is_retryable(answer))
            return
        sent = self._sent[chunk.key]
        if answer.ends_utterance or (answer.text, answer.stable_chars) != (sent.text, sent.stable_chars):
            self._tell(chunk.key, answer, self._schedule.taken_ms(chunk.key), None)

    def _tell_rest(self, rest: Rest, answer: Answer) -> None:
        if isinstance(answer, Exception):
            self._fail(rest.key, _reason(answer), retryable=_is_retryable(answer))
            return
        for finish in rest.finishes:
            self._tell(rest.key, answer, rest.audio_ms, finish)

    def _tell(self, key: StreamKey, heard: Heard, audio_ms: int, finish: int | None) -> None:
        link, stream = key
        sent = self._sent[key]
        sent.text, sent.stable_chars = heard.text, heard.stable_chars
        self._results[link].append(
            StreamHeard(stream, heard.text, heard.stable_chars, audio_ms, finish, heard.ends_utterance, heard.words)
        )

    def _fail(self, key: StreamKey, reason: str, *, retryable: bool) -> None:
        self.counts.failed += 1
        self._end(key)
        self._results[key[0]].append(StreamFailed(key[1], reason, retryable))

    def _end(self, key: StreamKey) -> None:
        self._sent.pop(key, None)
        slot = self._schedule.close(key)
        if slot is not None:
            self._stepper.free(slot)

    def _count(self, chunks: Sequence[Chunk], rests: Sequence[Rest]) -> None:
        self.counts.ticks += 1
        self.counts.chunks += len(chunks)
        self.counts.finishes += sum(len(rest.finishes) for rest in rests)
        self.counts.audio_ms += PCM_16K.ms_of(sum(len(chunk.pcm_16k) for chunk in chunks))

    def _judge(self, answers: Sequence[Answer]) -> None:
        if not answers:
            return
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        self._failures_in_a_row = self._failures_in_a_row + len(errors) if len(errors) == len(answers) else 0
        if self._failures_in_a_row >= _FAILURES_WITHOUT_SUCCESS:
            raise EngineError(Component.TRANSCRIBER, _reason(errors[0]), retryable=True) from errors[0]


def _answer_alone(run: Callable[[Sequence[SlotAudio]], list[Heard]], item: SlotAudio) -> Answer:
    try:
        (heard,) = run([item])
    except Exception as error:
        return error
    return heard


def _reason(error: Exception) -> str:
    """Describe an error without its text, which might quote what was said."""
    return str(error) if isinstance(error, EngineError) else f"the model failed: {type(error).__name__}"


def _is_retryable(error: Exception) -> bool:
    return error.retryable if isinstance(error, EngineError) else True
