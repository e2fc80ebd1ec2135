"""Decides which replica of a streaming recogniser hears which stream. Pure: time is an argument and nothing is sent.

Theory of operation. A stream is pinned to one replica for its life, under a number that is unique to that replica. A
replica that joins gets only new streams. A pin ends in one of four ways:

    the replica refuses              ──► it is avoided; the next one; none left: the stream waits, with the reasons
    it is lost, or fails the stream  ──► another one, `max_moves` times at most: the audio may be what kills replicas
    it does not answer in time       ──► another one, if there is one that may take it
    the stream is closed             ──► its slot is free

A stream without a replica waits until one joins, is listed again, or has room again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

# Time in seconds that a replica may need for each second of audio that is sent all at once.
_CATCH_UP_S_PER_S = 0.2

StreamT = TypeVar("StreamT")


@dataclass(frozen=True, slots=True)
class Pin:
    """A stream's replica and its number there. No answer counts as late before `answer_due_s`."""

    replica: str
    number: int
    answer_due_s: float


@dataclass(slots=True)
class _Replica(Generic[StreamT]):
    """One replica as this gateway knows it.

    Attributes:
        streams, slots: totals over all gateways, as last reported; `since_told`: streams opened here minus those ended
            here since then.
        accepts_new: the replica says that it accepts new streams. `is_listed`: the cluster lists it as running.
        pinned: the streams of this gateway that it hears, by number.
    """

    streams: int
    slots: int
    since_told: int = 0
    accepts_new: bool = True
    is_listed: bool = True
    last_number: int = 0
    pinned: dict[int, StreamT] = field(default_factory=dict)

    @property
    def takes_new(self) -> bool:
        return self.accepts_new and self.is_listed

    def occupancy(self) -> float:
        return (self.streams + self.since_told) / max(self.slots, 1)


@dataclass(slots=True)
class _Journey:
    """The history of a stream. `avoided` holds the replicas that refused it or kept it waiting, with the reason."""

    pin: Pin | None = None
    moves: int = 0
    avoided: dict[str, str] = field(default_factory=dict)


class PinTable(Generic[StreamT]):
    """The table of pins of one gateway.

    Args:
        max_moves: how many replicas one stream may lose.
        answer_s: how long a replica has for an answer, beyond the time it needs for audio that is sent all at once.
    """

    def __init__(self, *, max_moves: int, answer_s: float) -> None:
        self._max_moves = max_moves
        self._answer_s = answer_s
        self._replicas: dict[str, _Replica[StreamT]] = {}
        self._journeys: dict[StreamT, _Journey] = {}
        self._waiting: dict[StreamT, None] = {}  # an ordered set: the longest waiting is placed first

    # --- replicas -----------------------------------------------------------------------------------------------------

    def join(self, name: str, *, streams: int, slots: int) -> None:
        """Add a replica, of whose `slots` already `streams` are taken."""
        self._replicas[name] = _Replica(streams, slots)

    def has_replica(self, name: str) -> bool:
        """Return whether a replica of that name is here."""
        return name in self._replicas

    def has_replicas(self) -> bool:
        """Return whether there is at least one replica."""
        return bool(self._replicas)

    def note_load(self, name: str, *, streams: int, slots: int, accepts_new: bool) -> bool:
        """Record how full a replica reports to be, and return whether it has room for waiting streams."""
        replica = self._replicas.get(name)
        if replica is None:
            return False
        replica.streams, replica.slots, replica.since_told = streams, slots, 0
        replica.accepts_new = accepts_new
        return accepts_new and streams < slots

    def retire(self, name: str) -> None:
        """Give a replica no new streams, but let it keep those it has. Does nothing for an unknown replica."""
        if name in self._replicas:
            self._replicas[name].is_listed = False

    def readmit(self, name: str) -> bool:
        """Take a retired replica back, and return whether it was retired."""
        replica = self._replicas.get(name)
        if replica is None or replica.is_listed:
            return False
        replica.is_listed = True
        return True

    def lose(self, name: str) -> tuple[StreamT, ...]:
        """Forget a replica, and return the streams it had."""
        replica = self._replicas.pop(name)
        streams = tuple(replica.pinned.values())
        for stream in streams:
            self._journeys[stream].pin = None
        return streams

    # --- streams ------------------------------------------------------------------------------------------------------

    def place(self, stream: StreamT, *, audio_s: float, now_s: float) -> Pin | None:
        """Pin a stream to the least loaded replica that may take it.

        Args:
            stream: the stream to pin, which must not be pinned yet.
            audio_s: length of the audio that the replica receives at once.
            now_s: any steady time in seconds.

        Returns:
            The pin, or None if the stream has to wait; `refusals` then tells why.
        """
        journey = self._journeys.setdefault(stream, _Journey())
        name = self._best_for(journey)
        if name is None:
            self._waiting[stream] = None
            return None
        self._waiting.pop(stream, None)
        replica = self._replicas[name]
        replica.last_number += 1
        replica.since_told += 1
        due_s = now_s + self._answer_s + _CATCH_UP_S_PER_S * audio_s
        journey.pin = Pin(name, replica.last_number, due_s)
        replica.pinned[replica.last_number] = stream
        return journey.pin

    def pin_of(self, stream: StreamT) -> Pin | None:
        """Return a stream's pin, or None if it waits or has failed."""
        journey = self._journeys.get(stream)
        return journey.pin if journey else None

    def stream_at(self, name: str, number: int) -> StreamT | None:
        """Return the stream that a replica knows by a number, or None if it is closed or was moved."""
        replica = self._replicas.get(name)
        return replica.pinned.get(number) if replica else None

    def waiting_for(self, name: str) -> tuple[StreamT, ...]:
        """Return the waiting streams for another try. The named replica has room, so it is no longer avoided."""
        waiting = tuple(self._waiting)
        for stream in waiting:
            self._journeys[stream].avoided.pop(name, None)
        return waiting

    def refusals(self, stream: StreamT) -> str:
        """Return why the present replicas do not take a stream, or "" when none of them has refused it."""
        avoided = self._journeys[stream].avoided
        if not any(name in avoided for name in self._replicas):
            return ""
        return "; ".join(f"{name}: {reason}" for name, reason in sorted(avoided.items()))

    def unpin(self, stream: StreamT) -> None:
        """End a stream's pin and free its slot. Does nothing for a stream without a pin."""
        journey = self._journeys.get(stream)
        if journey is None or journey.pin is None:
            return
        replica = self._replicas[journey.pin.replica]
        replica.since_told -= 1
        del replica.pinned[journey.pin.number]
        journey.pin = None

    def avoid(self, stream: StreamT, name: str, reason: str) -> None:
        """Keep a stream away from this replica until the replica has room again."""
        self._journeys[stream].avoided[name] = reason

    def forgive(self, stream: StreamT) -> None:
        """Forget which replicas a stream avoids."""
        self._journeys.setdefault(stream, _Journey()).avoided.clear()

    def count_move(self, stream: StreamT) -> bool:
        """Count the loss of a stream's replica, and return whether the stream may be restarted elsewhere."""
        journey = self._journeys[stream]
        journey.moves += 1
        return journey.moves <= self._max_moves

    def is_late(self, stream: StreamT, now_s: float) -> bool:
        """Return whether the stream's replica should have answered by now."""
        pin = self.pin_of(stream)
        return pin is not None and now_s >= pin.answer_due_s

    def can_place(self, stream: StreamT) -> bool:
        """Return whether some replica may take the stream."""
        return self._best_for(self._journeys[stream]) is not None

    def forget(self, stream: StreamT) -> None:
        """Forget a closed stream completely."""
        self.unpin(stream)
        self._journeys.pop(stream, None)
        self._waiting.pop(stream, None)

    def gauges(self) -> dict[str, int]:
        """Return the numbers of replicas that take streams, of pinned streams, and of streams waiting for a replica."""
        return {
            "replicas": sum(replica.takes_new for replica in self._replicas.values()),
            "pinned": sum(len(replica.pinned) for replica in self._replicas.values()),
            "waiting": len(self._waiting),
        }

    def _best_for(self, journey: _Journey) -> str | None:
        usable = [name for name, replica in self._replicas.items() if replica.takes_new and name not in journey.avoided]
        return min(usable, key=lambda name: self._replicas[name].occupancy(), default=None)
