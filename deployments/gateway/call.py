"""One call: a WebSocket on one side, a session on the other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from cluster.config.parts import GatewayPart
from deployments.gateway.access import Principal
from deployments.gateway.metrics import GatewayMetrics
from deployments.pools.routing import RoutedTranscriber
from pipelines.agents.definition import Agent
from pipelines.call.observers import ObserverChain
from pipelines.call.runner import Engines, SessionRunner
from pipelines.call.trace import TurnTrace, TurnTracer
from pipelines.errors import PeerError, traceback_without_values
from pipelines.session.core import Session
from pipelines.session.effects import Notice
from pipelines.session.settings import SessionSettings
from pipelines.wire.translate import AudioBytes, WireTranslator

logger = logging.getLogger(__name__)

# Audio is sent faster than it plays, and a minute of it takes about 4 MB of JSON. Beyond this limit the client is not
# reading.
MAX_UNSENT_BYTES = 16 * 1024 * 1024
CLOSE_TRY_AGAIN = 1013
CLOSE_NORMAL = 1000
CLOSE_INTERNAL_ERROR = 1011
CLOSE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class HeldEngines:
    """The engines that a call of one agent uses.

    Attributes:
        engines: the engines of the session.
        transcriber: the transcriber of `engines`, which can also recognise whole recordings.
        transcription_model, voice: the names shown to clients.
    """

    engines: Engines
    transcriber: RoutedTranscriber
    transcription_model: str
    voice: str


@dataclass(frozen=True, slots=True)
class CallParty:
    """The parties of a call: the agent in the version it began with, the principal, and the agent's engines."""

    agent: Agent
    principal: Principal
    held: HeldEngines


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Settings that a gateway gives to every call.

    Attributes:
        idle_timeout_s: time without any message after which a socket is closed.
        longest_call_s: length after which a call is ended.
        speculate_up_to_calls: calls that begin while more than this are open do not speculate.
    """

    defaults: SessionSettings
    idle_timeout_s: float
    longest_call_s: float
    speculate_up_to_calls: int

    @classmethod
    def of(cls, part: GatewayPart) -> CallSettings:
        """Take what every call is told out of what a gateway reads."""
        return cls(
            part.turn.session_settings(),
            idle_timeout_s=part.gateway.idle_timeout_s,
            longest_call_s=part.longest_call_s,
            speculate_up_to_calls=part.gateway.speculate_up_to_calls,
        )

    def session_defaults(self, party: CallParty, open_calls: int) -> SessionSettings:
        """Return the session defaults for a call that begins while `open_calls` others are open."""
        return replace(
            self.defaults,
            instructions=party.agent.instructions,
            voice=party.held.voice,
            speculate=open_calls < self.speculate_up_to_calls,
        )


class Call:
    """Runs one accepted socket until it ends. `private_events` and `is_transcription` come from the URL's query."""

    def __init__(
        self,
        websocket: WebSocket,
        session_id: str,
        party: CallParty,
        settings: CallSettings,
        metrics: GatewayMetrics,
        *,
        other_calls: int,
    ) -> None:
        query = websocket.query_params
        self._session_id = session_id
        self._websocket = websocket
        self._metrics = metrics
        self._idle_timeout_s = settings.idle_timeout_s
        self._longest_call_s = settings.longest_call_s
        self._wire = WireTranslator(
            session_id,
            model=query.get("model", party.agent.name),
            defaults=settings.session_defaults(party, other_calls),
            expires_at_s=int(time.time() + settings.longest_call_s),
            transcription_model=party.held.transcription_model,
            is_transcription=query.get("intent") == "transcription",
            private_events="voxray.trace" in query.get("include", "").split(","),
        )
        session = Session.start(session_id.removeprefix("sess_"), self._wire.settings())
        observers = ObserverChain([TurnTracer(session, self._on_turn)], metrics.count_observer_failure)
        self._runner = SessionRunner(session, party.held.engines, self._on_notice, self._fail, observers)
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._messages = 0
        self._has_unsent = asyncio.Event()
        self._overflow: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    @property
    def runner(self) -> SessionRunner:
        return self._runner

    async def run(self) -> None:
        """Serve the socket until either side closes it. When this returns, everything in the call has ended.

        A bug anywhere in the call ends it with an `error` event and close code 1011, without affecting other calls.
        """
        tasks = [asyncio.create_task(work()) for work in (self._read, self._write, self._watch)]
        for task in tasks:
            task.add_done_callback(self._fail_with)
        try:
            self._send(self._wire.open())
            ends: set[asyncio.Future[Any]] = {*tasks, self._overflow, self._failure}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:
            self._fail(error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()

    async def _end(self) -> None:
        """Free what the call holds, and tell the client why it ended unless the client ended it."""
        try:
            await self._runner.close()
        except Exception as error:
            self._fail(error)
        if self._failure.done():
            await self._report(self._failure.result())
        elif self._overflow.done():
            self._metrics.slow_clients.inc()
            await self._close(CLOSE_TRY_AGAIN, "the client does not read")

    async def _report(self, error: Exception) -> None:
        self._metrics.failed_calls.inc()
        logger.error("! %s: the call has failed\n%s", self._session_id, traceback_without_values(error))
        message = "Something went wrong in the server, and this call has ended. Connect again to begin a new one."
        with suppress(Exception):  # the bug may be in the code that tells the client
            self._send(self._wire.fail("internal_error", message))
            await asyncio.wait_for(self._flush(), CLOSE_TIMEOUT_S)
        await self._close(CLOSE_INTERNAL_ERROR, "internal error")

    def _fail(self, error: Exception) -> None:
        """End the call because of a bug. Only the first one is recorded."""
        if not self._failure.done():
            self._failure.set_result(error)

    def _fail_with(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    async def _read(self) -> None:
        """Handle messages until the client leaves, is idle for too long, or the session's time is up."""
        try:
            async with asyncio.timeout(self._longest_call_s):
                while True:
                    message = await self._websocket.receive()
                    if message["type"] == "websocket.disconnect":
                        return
                    self._messages += 1
                    self._take(message.get("text") or message.get("bytes") or "")
        except TimeoutError:
            await self._close(CLOSE_NORMAL, "over the longest session")
        except WebSocketDisconnect:
            return

    async def _watch(self) -> None:
        """Return once no message has come for the idle timeout. Polling is cheaper than a timer for every frame."""
        seen = -1
        while seen != self._messages:
            seen = self._messages
            await asyncio.sleep(self._idle_timeout_s)  # noqa: TID251  the timeout itself
        await self._close(CLOSE_NORMAL, "idle")

    def _take(self, text: str | bytes) -> None:
        try:
            meaning = self._wire.inbound(text)
        except PeerError as error:
            self._send(self._wire.refuse(error))
            return
        if isinstance(meaning, AudioBytes):
            self._runner.feed_audio(meaning.pcm_16k)
        else:
            self._runner.feed(meaning)

    def _on_notice(self, notice: Notice) -> None:
        self._send(self._wire.outbound(notice))

    def _on_turn(self, trace: TurnTrace) -> None:
        self._metrics.record_turn(trace)
        self._send(self._wire.trace(trace.as_dict()))

    def _send(self, messages: list[bytes]) -> None:
        self._unsent += messages
        self._unsent_bytes += sum(map(len, messages))
        self._has_unsent.set()
        if self._unsent_bytes > MAX_UNSENT_BYTES and not self._overflow.done():
            self._overflow.set_result(None)

    async def _write(self) -> None:
        """Send the queued messages in order."""
        while await self._flush():
            await self._has_unsent.wait()
            self._has_unsent.clear()

    async def _flush(self) -> bool:
        """Send all unsent messages, and return whether the socket is still open."""
        while self._unsent:
            message = self._unsent.popleft()
            self._unsent_bytes -= len(message)
            try:
                await self._websocket.send({"type": "websocket.send", "text": message.decode()})
            except (WebSocketDisconnect, RuntimeError):  # starlette raises RuntimeError once the socket is closed
                return False
        return True

    async def _close(self, code: int, reason: str) -> None:
        logger.info("x %s", reason)
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            await asyncio.wait_for(self._websocket.close(code, reason), CLOSE_TIMEOUT_S)
