"""A telephone line to the agent: an open socket with a live microphone."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from cluster.caller.playout import Playout
from cluster.caller.recording import Recording
from pipelines.audio.pcm import PCM_24K
from pipelines.errors import VoxrayError

FRAME_MS = 20
_FRAME_BYTES = PCM_24K.bytes_of(FRAME_MS)
_SILENCE = bytes(_FRAME_BYTES)
_HEAD = b'{"type":"input_audio_buffer.append","audio":"'
_TAIL = b'"}'


class LineError(VoxrayError):
    """The call could not be placed, or the server refused something."""


class LineLost(LineError):
    """The call broke off. Placing it again may help."""


@dataclass(slots=True)
class TurnResult:
    """One question and its answer, as observed by the caller.

    Attributes:
        voice_to_voice_ms: time from the question's last voiced sample to the first sample of the answer.
        playout: the answer's audio and its gaps.
        trace: the server's time marks of the turn; empty when the server did not send any.
        status: status of the response; "none" when there was no response.
    """

    transcript: str = ""
    answer: str = ""
    status: str = "none"
    voice_to_voice_ms: float | None = None
    playout: Playout = field(default_factory=Playout)
    trace: dict[str, Any] = field(default_factory=dict)
    false_turn_ends: int = 0


EventListener = Callable[[dict[str, Any]], None]


class Line:
    """An open call. The microphone sends a frame every 20 ms from the beginning, which holds speech or silence."""

    def __init__(self, socket: ClientConnection, on_event: EventListener) -> None:
        self._socket = socket
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._speech = b""
        self._speech_began_s = 0.0
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.frames_late = 0

    async def ask(self, recording: Recording, timeout_s: float = 60.0) -> TurnResult:
        """Play the recording and listen until the answer has ended.

        Raises:
            LineError: there was no answer within `timeout_s`, the server reported an error, or the socket closed.
        """
        self._speech_began_s = 0.0
        self._speech = recording.pcm_24k
        result = TurnResult()
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._take_event(result):
                    pass
        except TimeoutError:
            raise LineError(f"no answer within {timeout_s:.0f} s (heard: {result.transcript or 'nothing'})") from None
        if result.playout.first_at_s is not None:
            spoken_s = self._speech_began_s + recording.voice_end_ms / 1000
            result.voice_to_voice_ms = (result.playout.first_at_s - spoken_s) * 1000
        return result

    async def configure(self, session: dict[str, Any]) -> None:
        """Send a session.update. If it is refused, the next turn fails."""
        await self._socket.send(json.dumps({"type": "session.update", "session": session}))

    async def _take_event(self, result: TurnResult) -> bool:
        """Apply one event, and return whether the turn is over."""
        event = await self._events.get()
        if event is None:
            raise LineLost("the call broke off")
        match event["type"]:
            case "conversation.item.input_audio_transcription.completed":
                result.transcript = f"{result.transcript} {event['transcript'].strip()}".strip()
            case "response.output_audio_transcript.delta":
                result.answer += event["delta"]
            case "response.output_audio.delta":
                result.playout.play(base64.b64decode(event["delta"]), event["_at_s"])
            case "voxray.trace":  # this is the last event of its response
                result.trace = event["marks"]
                return not self._was_cut_off(result)
            case "error":
                raise LineError(f"the server refused: {event['error'].get('message', '')}")
            case "response.done":
                result.status = event["response"]["status"]
        return False

    @staticmethod
    def _was_cut_off(result: TurnResult) -> bool:
        """Return whether the server mistook a pause for the end of the turn, so that another answer will follow."""
        if result.status != "cancelled":
            return False
        result.false_turn_ends += 1
        result.answer, result.playout = "", Playout()
        return True

    async def listen(self) -> None:
        """Receive until the socket closes."""
        try:
            async for message in self._socket:
                event = json.loads(message)
                event["_at_s"] = self._loop.time()
                self._on_event(event)
                self._events.put_nowait(event)
        except ConnectionClosed:
            pass
        finally:
            self._events.put_nowait(None)

    async def speak(self) -> None:
        """Send a frame every 20 ms once its last sample has been recorded, as a microphone does."""
        began_s, count = self._loop.time(), 0
        while True:
            frame, self._speech = self._speech[:_FRAME_BYTES], self._speech[_FRAME_BYTES:]
            if frame and not self._speech_began_s:
                self._speech_began_s = began_s + count * FRAME_MS / 1000
            count += 1
            delay_s = began_s + count * FRAME_MS / 1000 - self._loop.time()
            self.frames_late += delay_s < -FRAME_MS / 1000
            await asyncio.sleep(max(delay_s, 0))  # noqa: TID251  the microphone's own clock
            await self._socket.send(_HEAD + base64.b64encode(frame.ljust(_FRAME_BYTES, b"\0")) + _TAIL, text=True)


@asynccontextmanager
async def open_line(
    ws_url: str, *, api_key: str = "", on_event: EventListener = lambda _event: None
) -> AsyncIterator[Line]:
    """Place a call to the realtime socket at `ws_url` and hang up at the end.

    Raises:
        LineError: nothing answers at the URL, or the call is refused.
    """
    url = f"{ws_url}?include=voxray.trace"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        socket = await connect(url, additional_headers=headers, max_size=2**24, compression=None)
    except InvalidHandshake as error:
        raise LineError(f"the call was refused: {error}") from None
    except OSError as error:
        raise LineError(f"nothing answers at {ws_url} ({error.strerror or error})") from None
    line = Line(socket, on_event)
    tasks = [asyncio.create_task(line.listen()), asyncio.create_task(line.speak())]
    try:
        yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await socket.close()
