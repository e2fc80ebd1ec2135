"""The recent audio of a session, addressed by session time."""

from __future__ import annotations

from pipelines.audio.pcm import PCM_16K


class AudioHistory:
    """Keeps the last `keep_ms` of 16 kHz PCM16; positions are ms of audio since the session began.

    Args:
        keep_ms: the least amount of audio to keep, in ms.
        offset_bytes: length of the session audio that precedes what is appended here; above 0 when a session is
            resumed.
    """

    def __init__(self, keep_ms: int, offset_bytes: int = 0) -> None:
        self._keep_bytes = PCM_16K.bytes_of(keep_ms)
        self._buffer = bytearray()
        self._dropped_bytes = offset_bytes

    @property
    def end_ms(self) -> int:
        """Total audio of the session so far, in ms."""
        return PCM_16K.ms_of(self._dropped_bytes + len(self._buffer))

    def append(self, pcm_16k: bytes) -> None:
        self._buffer += pcm_16k
        # Deleting from the front moves everything behind it, so trimming in large steps keeps appending cheap.
        if len(self._buffer) > 2 * self._keep_bytes:
            surplus_bytes = len(self._buffer) - self._keep_bytes
            del self._buffer[:surplus_bytes]
            self._dropped_bytes += surplus_bytes

    def since(self, start_ms: int, end_ms: int | None = None) -> bytes:
        """Return the audio from `start_ms` (or the oldest kept) to `end_ms` (default: all)."""
        begin = max(PCM_16K.bytes_of(start_ms) - self._dropped_bytes, 0)
        end = len(self._buffer) if end_ms is None else max(PCM_16K.bytes_of(end_ms) - self._dropped_bytes, 0)
        return bytes(self._buffer[begin:end])

    def start_bytes(self, start_ms: int) -> int:
        """Return the byte offset in the session's audio at which `since(start_ms)` begins."""
        return max(PCM_16K.bytes_of(start_ms), self._dropped_bytes)
