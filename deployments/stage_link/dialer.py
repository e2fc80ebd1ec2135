"""The gateway's end of one link: from dialling a recogniser until the link is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from deployments.stage_link.frames import (
    HANDSHAKE_S,
    MAX_FRAME_BYTES,
    READ_AHEAD_BYTES,
    LinkAddress,
    frame,
    prove_as_gateway,
    read_frame,
)
from deployments.stage_link.messages import LinkLoad, pack_commands, unpack_answer
from pipelines.hearing.link import PushAudio, PushMany, StreamCommand
from pipelines.hearing.linked import LinkedTranscriber

# A recogniser reports its load twice a second. If it is silent for longer, it hangs or its machine is gone.
SILENCE_S = 5.0
SIGN_OF_LIFE_S = 1.0
# Limit on commands that a recogniser has not read, worth two utterances for each of a hundred calls.
MAX_UNREAD_BYTES = 64 * 1024 * 1024
_MAX_COMMANDS_BYTES = MAX_FRAME_BYTES // 2


class SocketLink:
    """A `pipelines.hearing.link.RecognizerLink` over a socket. Used on its event loop only."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._timer = asyncio.get_running_loop().call_later(SIGN_OF_LIFE_S, self._live)

    def send(self, commands: Sequence[StreamCommand]) -> None:
        for batch in _batches(commands):
            self._write(batch)

    def close(self) -> None:
        self._timer.cancel()
        self._writer.transport.abort()

    def _live(self) -> None:
        self._write([])
        self._timer = asyncio.get_running_loop().call_later(SIGN_OF_LIFE_S, self._live)

    def _write(self, commands: Sequence[StreamCommand]) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(frame(pack_commands(commands)))
        if self._writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._writer.transport.abort()


async def hold_link(
    address: LinkAddress, transcriber: LinkedTranscriber, on_joined: Callable[[], None] = lambda: None
) -> None:
    """Connect to a recogniser and let `transcriber` use it. Never returns, but raises when the link ends.

    Args:
        address: address of the recogniser.
        transcriber: uses the link for its streams.
        on_joined: called once the link can be used.

    Raises:
        LinkError: the peer violated the protocol or does not know the key.
        OSError: the peer cannot be reached, or the link broke.
        TimeoutError: the peer was silent for too long.
        asyncio.IncompleteReadError: the peer closed the link.
    """
    async with asyncio.timeout(HANDSHAKE_S):
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=READ_AHEAD_BYTES)
    link: SocketLink | None = None
    try:
        await prove_as_gateway(reader, writer, address.key)
        link = SocketLink(writer)
        while True:
            async with asyncio.timeout(SILENCE_S):
                said = unpack_answer(await read_frame(reader))
            if isinstance(said, LinkLoad):
                if not transcriber.has_joined(address.name):
                    transcriber.join(address.name, link, streams=said.streams, slots=said.slots)
                    on_joined()
                transcriber.tell_load(
                    address.name, streams=said.streams, slots=said.slots, accepts_new=said.accepts_new
                )
            else:
                transcriber.deliver(address.name, said)
    finally:
        if link is not None:
            link.close()
        writer.transport.abort()
        transcriber.lose(address.name)


def _batches(commands: Sequence[StreamCommand]) -> Iterator[Sequence[StreamCommand]]:
    """Divide commands into lists that each fit into one frame."""
    first, size = 0, 0
    for index, command in enumerate(commands):
        grown = size + _audio_bytes(command)
        if grown > _MAX_COMMANDS_BYTES and index > first:
            yield commands[first:index]
            first, grown = index, grown - size
        size = grown
    yield commands[first:]


def _audio_bytes(command: StreamCommand) -> int:
    if isinstance(command, PushMany):
        return sum(map(len, command.pieces))
    return len(command.pcm_16k) if isinstance(command, PushAudio) else 0
