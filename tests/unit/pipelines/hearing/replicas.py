"""A recogniser's replica in memory: its hypothesis is its audio, every 16-bit sample the code of a letter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    StreamCommand,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from pipelines.hearing.linked import LinkedTranscriber


def pcm_of(letters: str) -> bytes:
    return letters.encode("utf-16-le")


async def turns_of_the_loop(count: int = 4) -> None:
    """Let everything run that is ready now, ticks included."""
    for _ in range(count):
        turned = asyncio.Event()
        asyncio.get_running_loop().call_later(0, turned.set)
        await turned.wait()


class LetterReplica:
    """Works when the test says so.

    Attributes:
        messages: lists of commands, as they came.
        is_answering: False: it takes commands and says nothing.
        says_each_letter: False: a partial for each push; True: for each letter, as a recogniser of chunks does.
    """

    def __init__(self, transcriber: LinkedTranscriber, name: str, *, slots: int = 8, streams: int = 0) -> None:
        self.name, self.slots = name, slots
        self.messages: list[list[StreamCommand]] = []
        self.is_answering = True
        self.is_closed = False
        self.says_each_letter = False
        self.audio: dict[int, bytearray] = {}
        self._transcriber = transcriber
        self._waiting: list[StreamCommand] = []
        transcriber.join(name, self, streams=streams, slots=slots)

    @property
    def opened(self) -> int:
        return sum(isinstance(command, OpenStream) for message in self.messages for command in message)

    def send(self, commands: Sequence[StreamCommand]) -> None:
        assert not self.is_closed
        self.messages.append(list(commands))
        self._waiting += commands

    def close(self) -> None:
        self.is_closed = True

    def work(self) -> None:
        """Carry out all commands, and tell the results."""
        commands, self._waiting = self._waiting, []
        results = [result for command in commands for result in self._take(command)]
        if self.is_answering and not self.is_closed:
            self._transcriber.deliver(self.name, results)

    def die(self) -> None:
        self._transcriber.lose(self.name)

    def _take(self, command: StreamCommand) -> list[StreamResult]:
        if isinstance(command, PushMany):
            pushes = map(PushAudio, command.streams, command.pieces)
            return [result for push in pushes for result in self._take(push)]
        number = command.stream
        match command:
            case OpenStream():
                assert number not in self.audio, "opened twice"
                if len(self.audio) >= self.slots:
                    return [StreamRefused(number, "full")]
                self.audio[number] = bytearray()
            case PushAudio(pcm_16k=pcm_16k) if number in self.audio:
                assert len(pcm_16k) % 2 == 0
                before = len(self.audio[number]) // 2
                self.audio[number] += pcm_16k
                whole = len(self.audio[number]) // 2
                ends = range(before + 1, whole + 1) if self.says_each_letter else [whole]
                return [self._heard(number, None, end) for end in ends]
            case FinishUtterance(finish=finish) if number in self.audio:
                return [self._heard(number, finish)]
            case CloseStream():
                self.audio.pop(number, None)
        return []

    def _heard(self, number: int, finish: int | None, end: int | None = None) -> StreamHeard:
        text = self.audio[number].decode("utf-16-le")[:end]
        return StreamHeard(number, text, max(0, len(text) - 1), len(text), finish)
