"""The recogniser's end: accepts links from gateways, and passes commands to the engine and results back.

It runs on its own loop and thread, so that links survive whatever else the replica does. A misbehaving peer can end
only its own link, which frees the slots of its streams.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Set
from concurrent.futures import Future
from contextlib import suppress

from deployments.stage_link.frames import (
    READ_AHEAD_BYTES,
    LinkAddress,
    LinkError,
    check_gateway,
    frame,
    read_frame,
)
from deployments.stage_link.messages import LinkLoad, pack_load, pack_results, unpack_commands
from pipelines.errors import EngineError
from pipelines.hearing.link import (
    OpenStream,
    PushMany,
    StreamCommand,
    StreamingRecognizer,
    StreamRefused,
    StreamResult,
)

logger = logging.getLogger(__name__)

# How often the load is sent, which also serves as a sign of life.
LOAD_S = 0.5
# A gateway sends at least an empty message every second. If it is silent for longer, it is gone with its streams.
SILENCE_S = 5.0
# Limit on results that a gateway has not read, worth minutes of results.
MAX_UNREAD_BYTES = 4 * 1024 * 1024
MAX_STRANGERS = 64
_KEY_BYTES = 32
_DRAIN_POLL_S = 0.05


class LinkListener:
    """Serves one recogniser to gateways.

    Args:
        recognizer: the engine.
        name: this replica's name, by which gateways distinguish replicas.
        host: address to listen on; the port is a free one.
    """

    def __init__(self, recognizer: StreamingRecognizer, *, name: str, host: str = "127.0.0.1") -> None:
        self._recognizer = recognizer
        self._name, self._host = name, host
        self._key = secrets.token_bytes(_KEY_BYTES)
        self.accepts_new = True
        self._strangers = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage-link", daemon=True)
        self._server: asyncio.Server | None = None
        self._is_closed = False

    def start(self) -> LinkAddress:
        """Start listening, and return the address and the key.

        Raises:
            OSError: the address does not belong to this machine.
        """
        self._thread.start()
        return self._call(self._listen()).result()

    def load(self) -> LinkLoad:
        """Return how full the recogniser is."""
        stats = self._recognizer.stats()
        return LinkLoad(int(stats.get("streams", 0)), int(stats.get("slots", 0)), self.accepts_new)

    def drain(self, timeout_s: float) -> None:
        """Refuse new streams, and block until the last one has ended or `timeout_s` have passed."""
        self.accepts_new = False
        if self._server is not None and not self._is_closed:
            idle = self._call(self._until_idle())
            with suppress(TimeoutError):
                idle.result(timeout_s)
            idle.cancel()

    def close(self) -> None:
        """Break all links and stop. Does nothing on successive calls."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread.is_alive():
            self._call(self._end()).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _call(self, work: object) -> Future[LinkAddress]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]

    async def _listen(self) -> LinkAddress:
        self._server = await asyncio.start_server(self._accept, self._host, 0, limit=READ_AHEAD_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return LinkAddress(self._name, self._host, port, self._key)

    async def _until_idle(self) -> None:
        for link in self._links:
            link.tell_load()
        while self.load().streams:  # noqa: ASYNC110  the engine tells nobody of its last stream
            await asyncio.sleep(_DRAIN_POLL_S)  # noqa: TID251  there is no event to wait for

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # noqa: TID251  sockets close in the loop's next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a separate task. However that ends, even before it began, the socket is closed."""
        link = _Link(self, self._recognizer, writer, self._loop)
        task = self._loop.create_task(self._serve(reader, writer, link))
        self._connections.add(task)

        def end(_task: asyncio.Task[None]) -> None:
            self._connections.discard(task)
            self._links.discard(link)
            link.end()

        task.add_done_callback(end)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        """Serve one connection, whatever its peer is, until its end."""
        try:
            await self._meet(reader, writer)
            self._links.add(link)
            await link.serve(reader)
        except (LinkError, TimeoutError) as error:
            logger.warning("x link of %s: %s", _peer_of(writer), str(error) or "silent for too long")
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            logger.info("x link of %s ended", _peer_of(writer))
        except EngineError as error:
            logger.error("! link of %s: %s", _peer_of(writer), error)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._strangers >= MAX_STRANGERS:
            raise LinkError("too many connections that have not presented the key")
        self._strangers += 1
        try:
            await check_gateway(reader, writer, self._key)
        finally:
            self._strangers -= 1


class _Link:
    """One gateway that has proved to know the key."""

    def __init__(
        self,
        listener: LinkListener,
        recognizer: StreamingRecognizer,
        writer: asyncio.StreamWriter,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._listener = listener
        self._recognizer = recognizer
        self._writer = writer
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Pass on commands until the link ends. The engine's results are sent back as they arrive."""
        engine = self._recognizer.open_link(self._hand_over)
        try:
            self.tell_load()
            while True:
                async with asyncio.timeout(SILENCE_S):
                    payload = await read_frame(reader)
                commands = self._admitted(unpack_commands(payload))
                if commands:
                    engine.send(commands)
        finally:
            engine.close()

    def tell_load(self) -> None:
        """Send the load now, and again every `LOAD_S`."""
        if self._timer is not None:
            self._timer.cancel()
        self._write(pack_load(self._listener.load()))
        self._timer = self._loop.call_later(LOAD_S, self.tell_load)

    def end(self) -> None:
        """Close the socket. Does nothing on successive calls."""
        if self._timer is not None:
            self._timer.cancel()
        self._writer.transport.abort()

    def _admitted(self, commands: list[StreamCommand]) -> list[StreamCommand]:
        """Refuse new streams while the replica drains, and return the remaining commands."""
        if self._listener.accepts_new:
            return commands
        opened = {command.stream for command in commands if isinstance(command, OpenStream)}
        if opened:
            self._send([StreamRefused(stream, "this replica is about to stop") for stream in sorted(opened)])
        return [kept for command in commands if (kept := _without(opened, command)) is not None]

    def _hand_over(self, results: list[StreamResult]) -> None:
        """Take results on the engine's thread and pass them to the loop."""
        with suppress(RuntimeError):  # the loop is closed, so nobody reads any more
            self._loop.call_soon_threadsafe(self._send, results)

    def _send(self, results: list[StreamResult]) -> None:
        self._write(pack_results(results))

    def _write(self, payload: bytes) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(frame(payload))
        if self._writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            logger.warning("x link of %s: it does not read", _peer_of(self._writer))
            self._writer.transport.abort()


def _without(streams: Set[int], command: StreamCommand) -> StreamCommand | None:
    """Return the part of a command that concerns other streams than these."""
    if not isinstance(command, PushMany):
        return None if command.stream in streams else command
    kept = [push for push in zip(command.streams, command.pieces, strict=True) if push[0] not in streams]
    return PushMany([stream for stream, _ in kept], [piece for _, piece in kept])


def _peer_of(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "a peer"
