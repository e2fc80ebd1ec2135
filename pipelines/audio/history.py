"""The recent audio of a session, addressed by session time."""

from __future__ import annotations

from pipelines.audio.pcm import PCM_16K


class AudioHistory:
    """Keeps the last `keep_ms` of 16 kHz PCM16; positions are ms of audio since the session began.

    Args:
        keep_ms: how much is kept at least.
        offset_bytes: session audio that came before what is appended here; more than 0 where a session goes on.
    """

    def __init__(self, keep_ms: int, offset_bytes: int = 0) -> None:
        self._keep_bytes = PCM_16K.bytes_of(keep_ms)
        self._buffer = bytearray()
        self._dropped_bytes = offset_bytes

    @property
    def end_ms(self) -> int:
        """How much audio the session has had so far."""
        return PCM_16K.ms_of(self._dropped_bytes + len(self._buffer))

    def append(self, pcm_16k: bytes) -> None:
        self._buffer += pcm_16k
        # Trimming in large steps keeps appending cheap: deleting from the front moves everything behind it.
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
        """Return where in the session's audio `since(start_ms)` begins."""
        return max(PCM_16K.bytes_of(start_ms), self._dropped_bytes)
