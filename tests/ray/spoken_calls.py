"""A client of the realtime socket that speaks: the same audio at the same pace each time, with silence around it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import websockets.sync.client

FRAME_BYTES = 960  # 20 ms at 24 kHz
_FRAME_S = 0.02
_SILENCE_BEFORE = bytes(24_000)
_SILENCE_AFTER = bytes(3 * 48_000)


@dataclass(slots=True)
class Heard:
    """What the client was shown.

    Attributes:
        partials: of the transcript, in order, until the last sound of the speech was sent.
        transcripts: one for each turn; one is expected of speech without pauses.
    """

    partials: list[str] = field(default_factory=list)
    transcripts: list[str] = field(default_factory=list)


class SpokenCall:
    """Says one thing. `commits`: the client itself ends its turn (push to talk); else the server finds the end."""

    def __init__(self, url: str, speech_24k: bytes, *, commits: bool = False) -> None:
        self._socket = websockets.sync.client.connect(f"{url}?include=voxray.trace", proxy=None)
        self._speech_24k = speech_24k
        self._commits = commits
        self._turns = 0
        self.heard = Heard()

    def say(self, at_half: Callable[[], None] = lambda: None) -> Heard:
        """Speak and wait for the text of every turn; `at_half` is called in the middle of the speech."""
        half = threading.Thread(target=at_half)
        pcm_24k = _SILENCE_BEFORE + self._speech_24k + (b"" if self._commits else _SILENCE_AFTER)
        half_bytes, end_bytes = len(_SILENCE_BEFORE) + len(self._speech_24k) // 2, len(pcm_24k) - len(_SILENCE_AFTER)
        with self._socket:
            if self._commits:
                session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
                self._send({"type": "session.update", "session": session})
            for start in range(0, len(pcm_24k), FRAME_BYTES):
                if start <= half_bytes < start + FRAME_BYTES:
                    half.start()
                audio = base64.b64encode(pcm_24k[start : start + FRAME_BYTES]).decode()
                self._send({"type": "input_audio_buffer.append", "audio": audio})
                self._listen(time.monotonic() + _FRAME_S, is_speaking=self._commits or start < end_bytes)
            if self._commits:
                self._send({"type": "input_audio_buffer.commit"})
            half.join()
            while not self._turns or len(self.heard.transcripts) < self._turns:
                self._take(json.loads(self._socket.recv(timeout=150)), is_speaking=False)
        return self.heard

    def _send(self, event: dict[str, Any]) -> None:
        self._socket.send(json.dumps(event))

    def _listen(self, until_s: float, *, is_speaking: bool) -> None:
        """Take what comes until the next frame is due."""
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                self._take(json.loads(self._socket.recv(timeout=left_s)), is_speaking=is_speaking)
            except TimeoutError:
                return

    def _take(self, event: dict[str, Any], *, is_speaking: bool) -> None:
        match event["type"]:
            case "error":
                raise AssertionError(event)
            case "input_audio_buffer.committed":
                self._turns += 1
            case "voxray.transcript.partial" if is_speaking:
                self.heard.partials.append(str(event["text"]))
            case "conversation.item.input_audio_transcription.completed":
                self.heard.transcripts.append(str(event["transcript"]))
