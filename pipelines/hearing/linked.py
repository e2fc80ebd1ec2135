"""Streaming recognition by replicas that come, fill up, drain and die: the gateway's table of pins.

Theory of operation. Every utterance is a stream, pinned to one replica for its life; a replica that joins gets new
streams only. What the streams of one replica have to say in a tick goes out as one list of commands, and at once when
a caller waits for a text:

    utterances ──► table of pins ──► one outbox a replica ── tick or finish ──► one message
                       │
                       │ a replica refuses            ──► the next one; none left: an error with the reason
                       │ it is lost, fails, is late   ──► another one, and the utterance from its first sample on
                       │ there is none                ──► wait for one that joins

The transport (`deployments.stage_link`) tells of replicas: `join`, `tell_load`, `deliver`, `retire`, `readmit`, `lose`.
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
from pipelines.hearing.windowed import Recognition
from pipelines.ports import Hypothesis

# What a replica may take to hear a second of audio that is sent all at once, in seconds.
_CATCH_UP = 0.2


@dataclass(eq=False, slots=True)
class _Replica:
    """One replica as this gateway knows it.

    Attributes:
        pins: its streams of this gateway, by their number on the link.
        unsent: those of them with audio that waits for the tick.
        streams, slots: of all gateways, as last told; `since_told`: streams opened here less those ended here since.
        accepts_new: it says so itself. `is_listed`: the cluster counts it among those that run.
    """

    name: str
    link: RecognizerLink
    streams: int
    slots: int
    since_told: int = 0
    accepts_new: bool = True
    is_listed: bool = True
    last_number: int = 0
    pins: dict[int, _Pin] = field(default_factory=dict)
    unsent: dict[int, _Pin] = field(default_factory=dict)
    outbox: list[StreamCommand] = field(default_factory=list)

    def occupancy(self) -> float:
        return (self.streams + self.since_told) / max(self.slots, 1)


@dataclass(eq=False, slots=True)
class _Pin:
    """Where a stream is. `late_s`: before this time of the loop's clock no answer of the replica is late."""

    stream: LinkedStream
    replica: _Replica
    number: int
    late_s: float


@dataclass(slots=True)
class LinkCounts:
    """What has happened, for metrics.

    Attributes:
        moved: streams that were begun again at another replica.
        refused: streams that a replica would not take.
        failed: streams whose audio may be at fault, so that no further replica was tried.
        joined, lost_replicas: links that were made, and that broke.
    """

    moved: int = 0
    refused: int = 0
    failed: int = 0
    joined: int = 0
    lost_replicas: int = 0


class LinkedTranscriber:
    """Implements `pipelines.ports.Transcriber` over replicas of a streaming recogniser. Used on one event loop.

    Args:
        patience: times and bounds.

    Attributes:
        counts: what has happened.
        has_replica: set while there is a replica.
    """

    def __init__(self, patience: LinkPatience) -> None:
        self._patience = patience
        self._replicas: dict[str, _Replica] = {}
        self._pins: dict[LinkedStream, _Pin] = {}
        self._waiting: dict[LinkedStream, None] = {}
        self._tick: asyncio.TimerHandle | None = None
        self.counts = LinkCounts()
        self.has_replica = asyncio.Event()

    def open(self, on_partial: Callable[[Hypothesis], None], *, tenant: str = "") -> LinkedStream:
        """Open a stream. Must be called on the event loop's thread.

        Args:
            on_partial: called with what has been heard, as it is heard.
            tenant: whose phrases the recogniser prefers; "" for those of nobody in particular.
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
        """Return replicas that take streams, streams pinned, and streams that wait for a replica."""
        accepting = sum(replica.accepts_new and replica.is_listed for replica in self._replicas.values())
        return {"replicas": accepting, "pinned": len(self._pins), "waiting": len(self._waiting)}

    def pinned_by_replica(self) -> dict[str, int]:
        """Return how many streams each replica has of this gateway, in the order in which they joined."""
        return {name: len(replica.pins) for name, replica in self._replicas.items()}

    # --- what the transport tells -------------------------------------------------------------------------------------

    def join(self, name: str, link: RecognizerLink, *, streams: int, slots: int) -> None:
        """A replica that was not here can be used: `streams` of its `slots` are taken."""
        self.counts.joined += 1
        self._replicas[name] = _Replica(name, link, streams, slots)
        self.has_replica.set()
        self._place_waiting(name)

    def has_joined(self, name: str) -> bool:
        """Whether a replica of that name is here."""
        return name in self._replicas

    def tell_load(self, name: str, *, streams: int, slots: int, accepts_new: bool = True) -> None:
        """A replica has said how full it is, and whether it takes new streams."""
        replica = self._replicas.get(name)
        if replica is not None:
            replica.streams, replica.slots, replica.since_told = streams, slots, 0
            replica.accepts_new = accepts_new
            if streams < slots and accepts_new:
                self._place_waiting(name)

    def deliver(self, name: str, results: Sequence[StreamResult]) -> None:
        """Hand on what a replica has heard. Results of streams that are closed or gone mean nothing any more."""
        replica = self._replicas.get(name)
        if replica is None:
            return
        for result in results:
            pin = replica.pins.get(result.stream)
            if pin is None:
                continue
            match result:
                case StreamHeard():
                    pin.stream.hear(result)
                case StreamRefused(reason=reason):
                    self.counts.refused += 1
                    self._unpin(pin)
                    pin.stream.losses.avoided[name] = reason
                    self._place(pin.stream)
                case StreamFailed(reason=reason, retryable=retryable):
                    self._unpin(pin)
                    self._move(pin.stream, f"{name} failed: {reason}", may_retry=retryable)

    def retire(self, name: str) -> None:
        """The cluster is about to stop a replica: it keeps its streams and gets no new ones."""
        if name in self._replicas:
            self._replicas[name].is_listed = False

    def readmit(self, name: str) -> None:
        """A replica that was retired goes on. Does nothing for others."""
        replica = self._replicas.get(name)
        if replica is not None and not replica.is_listed:
            replica.is_listed = True
            self._place_waiting(name)

    def lose(self, name: str) -> None:
        """A replica's link is broken: its streams go elsewhere. Does nothing for one that is not there."""
        replica = self._replicas.pop(name, None)
        if replica is None:
            return
        self.counts.lost_replicas += 1
        if not self._replicas:
            self.has_replica.clear()
        replica.link.close()
        for pin in tuple(replica.pins.values()):
            self._unpin(pin)
            self._move(pin.stream, f"the link to {name} broke", may_retry=True)

    def close(self) -> None:
        """Close all links; streams that are open fail when they are used."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for replica in self._replicas.values():
            replica.link.close()
        self._replicas.clear()

    # --- what streams ask (`linked_stream.Placement`) -----------------------------------------------------------------

    def has_audio(self, stream: LinkedStream) -> None:
        pin = self._pins.get(stream)
        if pin is not None:
            pin.replica.unsent[pin.number] = pin
            if self._tick is None:
                self._arm()

    def wants_answer(self, stream: LinkedStream, finish: Finish) -> None:
        pin = self._pins.get(stream)
        if pin is None:
            stream.losses.avoided.clear()
            self._place(stream)
            return
        mine = pin.replica.unsent.pop(pin.number, None)
        if mine is not None:
            pin.replica.outbox.extend(_pushes({pin.number: mine}))
        pin.replica.outbox.append(FinishUtterance(pin.number, finish.number))
        self._flush(pin.replica)

    def is_late(self, stream: LinkedStream) -> None:
        pin = self._pins.get(stream)
        if pin is None or asyncio.get_running_loop().time() < pin.late_s:
            return
        stream.losses.avoided[pin.replica.name] = "no answer in time"
        if self._best_for(stream) is not None:
            self._leave(pin)
            self._move(stream, f"{pin.replica.name} did not answer in time", may_retry=True)

    def forget(self, stream: LinkedStream) -> None:
        self._waiting.pop(stream, None)
        pin = self._pins.get(stream)
        if pin is not None:
            self._leave(pin)

    # --- pins ---------------------------------------------------------------------------------------------------------

    def _place(self, stream: LinkedStream) -> None:
        """Pin a stream to the least loaded replica that may take it, with all that it holds; or let it wait."""
        replica = self._best_for(stream)
        if replica is None:
            self._waiting[stream] = None
            avoided = stream.losses.avoided
            if any(name in avoided for name in self._replicas):
                reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(avoided.items()))
                stream.fail(EngineError(ENGINE, f"no replica takes the stream ({reasons})", retryable=True))
            return
        self._waiting.pop(stream, None)
        replica.last_number += 1
        replica.since_told += 1
        number = replica.last_number
        late_s = asyncio.get_running_loop().time() + self._patience.answer_s + _CATCH_UP * stream.audio_s
        pin = _Pin(stream, replica, number, late_s)
        replica.pins[number] = self._pins[stream] = pin
        replica.outbox.append(OpenStream(number, stream.tenant))
        replica.outbox.extend(stream.replay(number))
        if stream.awaits_answer:
            self._flush(replica)
        else:
            self._arm()

    def _place_waiting(self, name: str) -> None:
        """Try the streams without a replica again, since the one of that name has room."""
        for stream in tuple(self._waiting):
            stream.losses.avoided.pop(name, None)
            self._place(stream)

    def _best_for(self, stream: LinkedStream) -> _Replica | None:
        avoided = stream.losses.avoided
        usable = [
            replica
            for replica in self._replicas.values()
            if replica.accepts_new and replica.is_listed and replica.name not in avoided
        ]
        return min(usable, key=_Replica.occupancy, default=None)

    def _move(self, stream: LinkedStream, reason: str, *, may_retry: bool) -> None:
        """Begin a stream again elsewhere, unless its audio is at fault or may be."""
        stream.losses.moves += 1
        if not may_retry or stream.losses.moves > self._patience.max_moves:
            self.counts.failed += 1
            stream.fail(EngineError(ENGINE, reason, retryable=False))
            return
        self.counts.moved += 1
        self._place(stream)

    def _leave(self, pin: _Pin) -> None:
        """Free a stream's slot; nobody waits for that, so it goes with the tick."""
        self._unpin(pin)
        pin.replica.outbox.append(CloseStream(pin.number))
        self._arm()

    def _unpin(self, pin: _Pin) -> None:
        pin.replica.since_told -= 1
        pin.replica.pins.pop(pin.number, None)
        pin.replica.unsent.pop(pin.number, None)
        self._pins.pop(pin.stream, None)

    # --- ticks --------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(self._patience.tick_ms / 1000, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        for replica in tuple(self._replicas.values()):
            self._flush(replica)

    def _flush(self, replica: _Replica) -> None:
        unsent, replica.unsent = replica.unsent, {}
        replica.outbox.extend(_pushes(unsent))
        if replica.outbox:
            commands, replica.outbox = replica.outbox, []
            replica.link.send(commands)


def _pushes(unsent: Mapping[int, _Pin]) -> Iterator[StreamCommand]:
    """Yield the audio of many streams in few commands, none much longer than a piece of a replay."""
    streams: list[int] = []
    pieces: list[bytes] = []
    size = 0
    for number, pin in unsent.items():
        piece = pin.stream.take_unsent()
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
