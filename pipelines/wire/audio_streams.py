"""Converts session audio: input from the wire format to 16 kHz PCM, and output from 24 kHz PCM to the wire format."""

from __future__ import annotations

from enum import StrEnum

from pipelines.audio.codecs import decode_a_law, decode_mu_law, encode_a_law, encode_mu_law
from pipelines.audio.pcm import PCM_16K, PCM_24K, SAMPLE_BYTES
from pipelines.audio.resample import ResamplerState, StreamResampler

_TELEPHONE_RATE_HZ = 8_000


class WireFormat(StrEnum):
    """An audio format of the protocol, by its wire name."""

    PCM = "audio/pcm"
    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"

    @property
    def rate_hz(self) -> int:
        return PCM_24K.rate_hz if self is WireFormat.PCM else _TELEPHONE_RATE_HZ

    @property
    def bytes_per_second(self) -> int:
        return PCM_24K.bytes_per_s if self is WireFormat.PCM else _TELEPHONE_RATE_HZ  # one byte per sample


class InputAudioDecoder:
    """Decodes one session's input. Each call returns as much audio as it was given, delayed by 1 to 2 ms.

    Args:
        wire_format: the initial format.
        left: the saved position of an earlier decoder of the stream.
    """

    def __init__(self, wire_format: WireFormat, left: ResamplerState | None = None) -> None:
        self._format = wire_format
        self._resampler = StreamResampler(wire_format.rate_hz, PCM_16K.rate_hz, is_live=True)
        if left is not None:
            self._resampler.resume(left)

    def save(self) -> ResamplerState:
        """Return the position of the stream, for a decoder that continues it."""
        return self._resampler.save()

    @property
    def wire_format(self) -> WireFormat:
        return self._format

    def switch(self, wire_format: WireFormat) -> None:
        """Expect `wire_format` from now on. Between formats of equal rate the signal continues without a break."""
        if wire_format.rate_hz != self._format.rate_hz:
            self._resampler = StreamResampler(wire_format.rate_hz, PCM_16K.rate_hz, is_live=True)
        self._format = wire_format

    def decode(self, coded: bytes) -> bytes:
        """Return 16 kHz PCM16. `coded` must hold whole samples.

        Raises:
            ValueError: `coded` ends in the middle of a sample.
        """
        if self._format is WireFormat.PCM:
            if len(coded) % SAMPLE_BYTES:
                raise ValueError("PCM16 audio must have an even number of bytes")
            return self._resampler.process(coded)
        decode = decode_mu_law if self._format is WireFormat.PCMU else decode_a_law
        return self._resampler.process(decode(coded))


class OutputAudioEncoder:
    """Encodes the audio of one response without gaps between chunks.

    `left` is the saved position of an earlier encoder.
    """

    def __init__(self, wire_format: WireFormat, left: ResamplerState | None = None) -> None:
        self.wire_format = wire_format
        self._resampler = StreamResampler(PCM_24K.rate_hz, wire_format.rate_hz)
        if left is not None:
            self._resampler.resume(left)

    def save(self) -> ResamplerState:
        """Return the position of the stream, for an encoder that continues it."""
        return self._resampler.save()

    def encode(self, pcm_24k: bytes) -> bytes:
        return self._compand(self._resampler.process(pcm_24k))

    def flush(self) -> bytes:
        """Return the end of the signal. With it the output is exactly as long as the input."""
        return self._compand(self._resampler.flush())

    def _compand(self, pcm: bytes) -> bytes:
        if self.wire_format is WireFormat.PCM:
            return pcm
        return encode_mu_law(pcm) if self.wire_format is WireFormat.PCMU else encode_a_law(pcm)
