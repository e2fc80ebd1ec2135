"""One scripted call and its transcript: every message in both directions, with its virtual time.

A line of a transcript is JSON: `{"at_ms":1234,"server":...}` or `"client"`. Server messages stand as they were sent,
byte for byte, but for the audio, of which length and hash are kept; a client's audio is told in words.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.transcripts.cast import LINES, MS_PER_WORD, LevelRecognizer, SquareVoice, retriever, square_wave
from tests.unit.transcripts.product import Cast, InProcessCall, SessionSettings, WindowedTranscriber
from tests.unit.transcripts.virtual_time import pass_time, run_virtual

FRAME_MS = 20
_SAMPLES_PER_FRAME = 24 * FRAME_MS
_PATIENCE_MS = 60_000

Scenario = Callable[["ScriptedCall"], Awaitable[None]]


class ScriptedCall:
    """What a scenario speaks and writes with. `events` holds all server events so far, parsed."""

    def __init__(self, cast: Cast, defaults: SessionSettings, **wire_options: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._arrived = asyncio.Event()
        self.cast = cast
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._frames_sent = 0
        self._next_frame_s = self._began_s
        self._call = InProcessCall.new(cast, self._receive, defaults, **wire_options)

    @property
    def failures(self) -> list[Exception]:
        """The bugs that have ended the call: none, or one."""
        return self._call.failures

    @property
    def now_ms(self) -> int:
        return int((self._loop.time() - self._began_s) * 1000)

    def send(self, event_type: str, **fields: Any) -> None:
        """Send a client event."""
        self.send_text(json.dumps({"type": event_type, **fields}, separators=(",", ":")))

    def send_text(self, text: str) -> None:
        """Send any text."""
        self._note("client", json.dumps(text) if not _is_json(text) else text)
        self._call.take(text)

    async def says(self, line: int, *, first: int = 0, words: int | None = None) -> None:
        """Speak a line of `cast.LINES`, or some of its words, at the pace of speech."""
        spoken = LINES[line].split()[first : None if words is None else first + words]
        self._note("client", json.dumps({"speaks": " ".join(spoken)}))
        await self._play(line, len(spoken) * MS_PER_WORD)

    async def is_silent(self, duration_ms: int) -> None:
        """Send silence, as an open microphone does."""
        self._note("client", json.dumps({"silent_ms": duration_ms}))
        await self._play(0, duration_ms)

    async def sends_nothing(self, duration_ms: int) -> None:
        """Let time go by without any message, as a muted microphone does."""
        self._note("client", json.dumps({"sends_nothing_ms": duration_ms}))
        await pass_time(duration_ms)

    async def until(self, event_type: str, *, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`th event of a type, counted from the call's begin, in silence; return it."""
        limit_ms = self.now_ms + _PATIENCE_MS
        while len(found := [event for event in self.events if event["type"] == event_type]) < count:
            assert self.now_ms < limit_ms, f"no {event_type} ({count}) within {_PATIENCE_MS} ms"
            await self._play(0, FRAME_MS)
        return found[count - 1]

    async def until_answered(self) -> None:
        """Wait in silence until the next response is done."""
        done = sum(event["type"] == "response.done" for event in self.events)
        await self.until("response.done", count=done + 1)

    async def close(self) -> list[str]:
        """Hang up; return the transcript."""
        self._note("client", json.dumps({"hangs_up": True}))
        await self._call.close()
        return self.lines

    async def _play(self, level: int, duration_ms: int) -> None:
        """Send frames at their times; the microphone's clock runs on while nothing is sent."""
        self._next_frame_s = max(self._next_frame_s, self._loop.time())
        for _ in range(duration_ms // FRAME_MS):
            start = self._frames_sent * _SAMPLES_PER_FRAME
            audio = base64.b64encode(square_wave(level, _SAMPLES_PER_FRAME, start=start)).decode()
            self._frames_sent += 1
            self._call.take(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')
            self._next_frame_s += FRAME_MS / 1000
            await pass_time((self._next_frame_s - self._loop.time()) * 1000)

    def _receive(self, messages: list[bytes]) -> None:
        for message in messages:
            event = json.loads(message)
            self.events.append(event)
            if event["type"] == "response.output_audio.delta":
                message = message.replace(event["delta"].encode(), _told(event["delta"]).encode())
            self._note("server", message.decode())

    def _note(self, side: str, text: str) -> None:
        self.lines.append(f'{{"at_ms":{self.now_ms},"{side}":{text}}}')


def record(
    scenario: Scenario,
    make_cast: Callable[[], Cast] | None = None,
    defaults: SessionSettings | None = None,
    **wire_options: bool,
) -> list[str]:
    """Play a scenario in virtual time; return its transcript, a line for each message."""

    async def play() -> list[str]:
        cast = (make_cast or windowed_cast)()
        call = ScriptedCall(cast, defaults or SessionSettings(), **wire_options)
        await scenario(call)
        return await call.close()

    return run_virtual(play())


def windowed_cast(**parts: Any) -> Cast:
    """Return the usual cast; `parts` replace some of it."""
    usual = {
        "transcriber": WindowedTranscriber(LevelRecognizer().recognize, partial_interval_ms=700),
        "synthesizer": SquareVoice(),
        "retriever": retriever(),
    }
    return Cast(**(usual | parts))


def _told(delta: str) -> str:
    audio = base64.b64decode(delta)
    return f"{len(audio)} bytes, sha256 {hashlib.sha256(audio).hexdigest()[:16]}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
