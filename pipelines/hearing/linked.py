"""Streaming recognition by replicas that join, fill up, drain and die: decides what is sent to which replica, and when.

Theory of operation. Every utterance is a stream that is pinned to one replica (`pins.py` decides which). The commands
of one replica's streams are sent as one list per tick, or at once when a caller waits for a text:

    utterances ──► table of pins ──► one outbox a replica ── tick or finish ──► one message

The transport (`deployments.stage_link`) reports on replicas: `join`, `tell_load`, `deliver`, `retire`, `readmit`,
`lose`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.errors import EngineError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    RecognizerLink,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from pipelines.hearing.linked_stream import ENGINE, PIECE_BYTES, Finish, LinkedStream, LinkPatience, cut
from pipelines.hearing.pins import Pin, PinTable
from pipelines.hearing.windowed import Recognition
from pipelines.ports import Hypothesis


@dataclass(eq=False, slots=True)
class _Outbox:
    """Commands that wait to be sent to one replica.

    `unsent` holds its streams with audio for the next tick, by number.
    """

    link: RecognizerLink
    commands: list[StreamCommand] = field(default_factory=list)
    unsent: dict[int, LinkedStream] = field(default_factory=dict)

    def flush(self) -> None:
        """Send everything as one message."""
        unsent, self.unsent = self.unsent, {}
        self.commands.extend(_pushes(unsent))
        if self.commands:
            commands, self.commands = self.commands, []
            self.link.send(commands)


@dataclass(slots=True)
class LinkCounts:
    """Counts of what has happened, for metrics.

    Attributes:
        moved: streams that were restarted at another replica.
        refused: streams that a replica refused.
        failed: streams for which no further replica was tried, because their audio may be at fault.
        joined, lost_replicas: links that were opened, and links that broke.
    """

    moved: int = 0
    refused: int = 0
    failed: int = 0
    joined: int = 0
    lost_replicas: int = 0


class LinkedTranscriber:
    """Implements `pipelines.ports.Transcriber` over replicas of a streaming recogniser. Used on one event loop.

    Args:
        patience: time limits and bounds.

    Attributes:
        counts: counters for metrics.
        has_replica: an event that is set while there is at least one replica.
    """

    def __init__(self, patience: LinkPatience) -> None:
        self._patience = patience
        self._pins = PinTable[LinkedStream](max_moves=patience.max_moves, answer_s=patience.answer_s)
        self._outboxes: dict[str, _Outbox] = {}
        self._tick: asyncio.TimerHandle | None = None
        self.counts = LinkCounts()
        self.has_replica = asyncio.Event()

    def open(self, on_partial: Callable[[Hypothesis], None], *, tenant: str = "") -> LinkedStream:
        """Open a stream. Must be called on the event loop's thread.

        Args:
            on_partial: called with each partial result as it arrives.
            tenant: the tenant whose phrases the recogniser prefers; "" for no particular tenant.
        """
        stream = LinkedStream(self, self._patience, on_partial, tenant)
        self._place(stream)
        return stream

    async def recognize(self, pcm_16k: bytes, *, tenant: str = "") -> Recognition:
        """Recognise a whole utterance (for REST); see `LinkedStream.finalize` for errors."""
        stream = self.open(lambda _heard: None, tenant=tenant)
        try:
            stream.push(pcm_16k)
            return Recognition((await stream.finalize()).text)
        finally:
            await stream.aclose()

    def gauges(self) -> dict[str, int]:
        """Return the numbers of replicas that take streams, of pinned streams, and of streams waiting for a replica."""
        return self._pins.gauges()

    # --- what the transport reports -----------------------------------------------------------------------------------

    def join(self, name: str, link: RecognizerLink, *, streams: int, slots: int) -> None:
        """Start using a new replica, of whose `slots` already `streams` are taken."""
        self.counts.joined += 1
        self._outboxes[name] = _Outbox(link)
        self._pins.join(name, streams=streams, slots=slots)
        self.has_replica.set()
        self._place_waiting(name)

    def has_joined(self, name: str) -> bool:
        """Return whether a replica of that name is here."""
        return self._pins.has_replica(name)

    def tell_load(self, name: str, *, streams: int, slots: int, accepts_new: bool = True) -> None:
        """Take a replica's report of how full it is and whether it accepts new streams."""
        if self._pins.note_load(name, streams=streams, slots=slots, accepts_new=accepts_new):
            self._place_waiting(name)

    def deliver(self, name: str, results: Sequence[StreamResult]) -> None:
        """Pass on a replica's results. Results for streams that are closed or moved are ignored."""
        for result in results:
            stream = self._pins.stream_at(name, result.stream)
            if stream is None:
                continue
            match result:
                case StreamHeard():
                    stream.hear(result)
                case StreamRefused(reason=reason):
                    self.counts.refused += 1
                    self._unpin(stream)
                    self._pins.avoid(stream, name, reason)
                    self._place(stream)
                case StreamFailed(reason=reason, retryable=retryable):
                    self._unpin(stream)
                    self._move(stream, f"{name} failed: {reason}", may_retry=retryable)

    def retire(self, name: str) -> None:
        """Stop giving new streams to a replica that the cluster is about to stop. It keeps those it has."""
        self._pins.retire(name)

    def readmit(self, name: str) -> None:
        """Use a retired replica again. Does nothing for other replicas."""
        if self._pins.readmit(name):
            self._place_waiting(name)

    def lose(self, name: str) -> None:
        """Move the streams of a replica whose link has broken. Does nothing for an unknown replica."""
        if not self._pins.has_replica(name):
            return
        self.counts.lost_replicas += 1
        streams = self._pins.lose(name)
        if not self._pins.has_replicas():
            self.has_replica.clear()
        self._outboxes.pop(name).link.close()
        for stream in streams:
            self._move(stream, f"the link to {name} broke", may_retry=True)

    def close(self) -> None:
        """Close all links. Streams that are still open fail when they are used."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for name in tuple(self._outboxes):
            self._pins.lose(name)
            self._outboxes.pop(name).link.close()

    # --- what streams ask (`linked_stream.Placement`) -----------------------------------------------------------------

    def send_audio(self, stream: LinkedStream) -> None:
        pin = self._pins.pin_of(stream)
        if pin is not None:
            self._outboxes[pin.replica].unsent[pin.number] = stream
            if self._tick is None:
                self._arm()

    def send_finish(self, stream: LinkedStream, finish: Finish) -> None:
        pin = self._pins.pin_of(stream)
        if pin is None:
            self._pins.forgive(stream)
            self._place(stream)
            return
        outbox = self._outboxes[pin.replica]
        mine = outbox.unsent.pop(pin.number, None)
        if mine is not None:
            outbox.commands.extend(_pushes({pin.number: mine}))
        outbox.commands.append(FinishUtterance(pin.number, finish.number))
        outbox.flush()

    def try_elsewhere(self, stream: LinkedStream) -> None:
        pin = self._pins.pin_of(stream)
        if pin is None or not self._pins.is_late(stream, asyncio.get_running_loop().time()):
            return
        self._pins.avoid(stream, pin.replica, "no answer in time")
        if self._pins.can_place(stream):
            self._leave(stream)
            self._move(stream, f"{pin.replica} did not answer in time", may_retry=True)

    def forget(self, stream: LinkedStream) -> None:
        self._leave(stream)
        self._pins.forget(stream)

    # --- pins ---------------------------------------------------------------------------------------------------------

    def _place(self, stream: LinkedStream) -> None:
        """Send a stream with all its audio to the replica that the table names, or let it wait when there is none."""
        now_s = asyncio.get_running_loop().time()
        pin = self._pins.place(stream, audio_s=stream.audio_s, now_s=now_s)
        if pin is None:
            if reasons := self._pins.refusals(stream):
                stream.fail(EngineError(ENGINE, f"no replica takes the stream ({reasons})", retryable=True))
            return
        outbox = self._outboxes[pin.replica]
        outbox.commands.append(OpenStream(pin.number, stream.tenant))
        outbox.commands.extend(stream.replay(pin.number))
        if stream.awaits_answer:
            outbox.flush()
        else:
            self._arm()

    def _place_waiting(self, name: str) -> None:
        """Try to place the waiting streams again, since the named replica has room."""
        for stream in self._pins.waiting_for(name):
            self._place(stream)

    def _move(self, stream: LinkedStream, reason: str, *, may_retry: bool) -> None:
        """Restart a stream at another replica, unless its audio is or may be at fault."""
        if not self._pins.count_move(stream) or not may_retry:
            self.counts.failed += 1
            stream.fail(EngineError(ENGINE, reason, retryable=False))
            return
        self.counts.moved += 1
        self._place(stream)

    def _leave(self, stream: LinkedStream) -> None:
        """Free a stream's slot with the next tick, since nobody waits for it.

        Does nothing for a stream without a pin.
        """
        pin = self._unpin(stream)
        if pin is not None:
            self._outboxes[pin.replica].commands.append(CloseStream(pin.number))
            self._arm()

    def _unpin(self, stream: LinkedStream) -> Pin | None:
        pin = self._pins.pin_of(stream)
        if pin is not None:
            self._pins.unpin(stream)
            self._outboxes[pin.replica].unsent.pop(pin.number, None)
        return pin

    # --- ticks --------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(self._patience.tick_ms / 1000, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        for outbox in tuple(self._outboxes.values()):
            outbox.flush()


def _pushes(unsent: Mapping[int, LinkedStream]) -> Iterator[StreamCommand]:
    """Yield the audio of many streams in a few commands, none much larger than one piece of a replay."""
    streams: list[int] = []
    pieces: list[bytes] = []
    size = 0
    for number, stream in unsent.items():
        piece = stream.take_unsent()
        if len(piece) > PIECE_BYTES:
            yield from cut(number, piece)
            continue
        streams.append(number)
        pieces.append(piece)
        size += len(piece)
        if size > PIECE_BYTES:
            yield PushMany(streams, pieces)
            streams, pieces, size = [], [], 0
    if len(streams) == 1:
        yield PushAudio(streams[0], pieces[0])
    elif streams:
        yield PushMany(streams, pieces)
