"""Decides which streams a recogniser steps next, from slots, waiting audio and due times. Pure: time is an argument.

Theory of operation. A stream's audio waits until it makes a chunk. A chunk is *due* when a caller who speaks in real
time would have completed it: the first one of a run on arrival, and each further one a chunk's time after the previous
one. Audio that arrives as a burst therefore falls due bit by bit, and takes nothing from real-time callers:

    burst of 4 chunks at 1000    due  1000   1160   1320   1480     (chunk of 160 ms)
    caller in real time          due     1080   1240   1400   1560

A tick takes at most one chunk of each stream, and the earliest due if not all fit. It runs as soon as the first ready
chunk has waited `gather_ms` for others. Lag is the time from a chunk's due time to its result.

A finish is a mark in the stream's audio. Chunks before the mark are due at once and no chunk extends past it. The rest
before the mark is recognised separately (`chunk_stepper.py`), and the stream continues.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pipelines.audio.pcm import PCM_16K

StreamKey = tuple[int, int]
"""The number of the link, and the number of the stream on it."""


@dataclass(frozen=True, slots=True)
class ScheduleLimits:
    """Bounds of a schedule.

    Attributes:
        first_bytes: size of a stream's first chunk.
        chunk_bytes: size of every later chunk.
        max_streams: the most streams open at a time; slots are numbered from 0 to one less.
        max_batch: the most chunks in a tick.
        gather_ms: how long a ready chunk waits for others to share its step.
        max_backlog_ms: the most audio of one stream that may wait.
    """

    first_bytes: int
    chunk_bytes: int
    max_streams: int
    max_batch: int
    gather_ms: int = 5
    max_backlog_ms: int = 600_000

    @property
    def chunk_ms(self) -> int:
        return PCM_16K.ms_of(self.chunk_bytes)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next chunk of a stream, taken for a tick."""

    key: StreamKey
    slot: int
    pcm_16k: bytes
    due_ms: int


@dataclass(frozen=True, slots=True)
class Rest:
    """The rest of a stream's audio before a finish, shorter than a chunk and ending at `audio_ms` of the stream."""

    key: StreamKey
    slot: int
    pcm_16k: bytes
    finishes: tuple[int, ...]
    audio_ms: int


@dataclass(slots=True)
class _Mark:
    position_bytes: int
    asked_ms: int
    finish: int


@dataclass(slots=True)
class _Stream:
    slot: int
    touched_ms: int
    waiting: bytearray = field(default_factory=bytearray)
    taken_bytes: int = 0
    due_ms: int = 0
    start_ms: int = 0
    is_ready: bool = False
    marks: deque[_Mark] = field(default_factory=deque)

    @property
    def pushed_bytes(self) -> int:
        return self.taken_bytes + len(self.waiting)

    @property
    def urgency_ms(self) -> int:
        return min(self.due_ms, self.marks[0].asked_ms) if self.marks else self.due_ms


class StreamSchedule:
    """Schedules all open streams of a recogniser. Not thread-safe."""

    def __init__(self, limits: ScheduleLimits) -> None:
        self.limits = limits
        self._streams: dict[StreamKey, _Stream] = {}
        self._free = deque(range(limits.max_streams))

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, key: StreamKey) -> bool:
        return key in self._streams

    @property
    def free_slots(self) -> int:
        return len(self._free)

    def open(self, key: StreamKey, now_ms: int) -> int | None:
        """Take a slot and return it, or None when all are taken. `key` must not be open."""
        if not self._free:
            return None
        slot = self._free.popleft()
        self._streams[key] = _Stream(slot, now_ms)
        return slot

    def close(self, key: StreamKey) -> int | None:
        """Forget a stream and free its slot. Returns the slot, or None if there is no such stream."""
        stream = self._streams.pop(key, None)
        if stream is None:
            return None
        self._free.append(stream.slot)
        return stream.slot

    def keys_of(self, link: int) -> list[StreamKey]:
        return [key for key in self._streams if key[0] == link]

    def push(self, key: StreamKey, pcm_16k: bytes, now_ms: int) -> bool:
        """Append audio of any length. If too much would then wait, keep none of it and return False."""
        stream = self._streams[key]
        if len(stream.waiting) + len(pcm_16k) > PCM_16K.bytes_of(self.limits.max_backlog_ms):
            return False
        stream.touched_ms = now_ms
        stream.waiting += pcm_16k
        if not stream.is_ready and self._has_chunk(stream):
            stream.is_ready = True
            stream.due_ms = now_ms
            stream.start_ms = now_ms + self.limits.gather_ms
        return True

    def finish(self, key: StreamKey, finish: int, now_ms: int) -> None:
        """Mark the audio pushed so far as due for a final answer."""
        stream = self._streams[key]
        stream.touched_ms = now_ms
        stream.marks.append(_Mark(stream.pushed_bytes, now_ms, finish))

    def wait_ms(self, now_ms: int) -> int | None:
        """Return in how many ms the next tick should run: 0 means now, None that nothing waits."""
        starts = [s.start_ms for s in self._streams.values() if s.is_ready]
        if any(s.marks for s in self._streams.values()) or len(starts) >= self.limits.max_batch:
            return 0
        return max(0, min(starts) - now_ms) if starts else None

    def take_chunks(self, now_ms: int) -> list[Chunk]:
        """Take the chunks of a tick, earliest due first and at most one of each stream."""
        able = [(s.urgency_ms, key) for key, s in self._streams.items() if s.is_ready and self._may_step(s)]
        able.sort()
        return [self._take(key, now_ms) for _, key in able[: self.limits.max_batch]]

    def take_rests(self) -> list[Rest]:
        """Take up to a batch of finishes whose rest is shorter than a chunk, in the order of the requests."""
        able = [(s.marks[0].asked_ms, key) for key, s in self._streams.items() if s.marks and not self._may_step(s)]
        able.sort()
        return [self._take_rest(key) for _, key in able[: self.limits.max_batch]]

    def idle(self, now_ms: int, timeout_ms: int) -> list[StreamKey]:
        """Return the streams that have sent nothing for `timeout_ms` and have no audio waiting."""
        return [
            key
            for key, s in self._streams.items()
            if now_ms - s.touched_ms >= timeout_ms and not s.is_ready and not s.marks
        ]

    def taken_ms(self, key: StreamKey) -> int:
        """Return how much of a stream's audio its chunks have covered, in ms."""
        return PCM_16K.ms_of(self._streams[key].taken_bytes)

    def backlog_ms(self) -> int:
        """Return the longest audio that any stream has waiting beyond one chunk, in ms."""
        chunk = self.limits.chunk_bytes
        longest = max((len(s.waiting) - chunk for s in self._streams.values()), default=0)
        return PCM_16K.ms_of(max(0, longest))

    def _needed_bytes(self, stream: _Stream) -> int:
        return self.limits.chunk_bytes if stream.taken_bytes else self.limits.first_bytes

    def _has_chunk(self, stream: _Stream) -> bool:
        return len(stream.waiting) >= self._needed_bytes(stream)

    def _may_step(self, stream: _Stream) -> bool:
        """Return whether the next chunk is complete and does not reach past the first mark."""
        if not self._has_chunk(stream):
            return False
        end = stream.taken_bytes + self._needed_bytes(stream)
        return not stream.marks or end <= stream.marks[0].position_bytes

    def _take(self, key: StreamKey, now_ms: int) -> Chunk:
        stream = self._streams[key]
        needed = self._needed_bytes(stream)
        chunk = Chunk(key, stream.slot, bytes(stream.waiting[:needed]), stream.due_ms)
        del stream.waiting[:needed]
        stream.taken_bytes += needed
        stream.is_ready = self._has_chunk(stream)
        stream.due_ms += self.limits.chunk_ms
        stream.start_ms = now_ms
        return chunk

    def _take_rest(self, key: StreamKey) -> Rest:
        stream = self._streams[key]
        position = stream.marks[0].position_bytes
        finishes = []
        while stream.marks and stream.marks[0].position_bytes == position:
            finishes.append(stream.marks.popleft().finish)
        size = (position - stream.taken_bytes) // 2 * 2
        return Rest(key, stream.slot, bytes(stream.waiting[:size]), tuple(finishes), PCM_16K.ms_of(position))
