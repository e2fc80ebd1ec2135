"""The two audio formats used inside the product, and the arithmetic of their lengths.

Both are 16-bit little-endian mono PCM: engines consume `PCM_16K` and produce `PCM_24K`. The number of bytes per
millisecond is defined here and nowhere else (tests/unit/test_pcm_numbers.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SAMPLE_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """16-bit little-endian mono PCM at one rate. Lengths are rounded down to whole ms and whole samples.

    Attributes:
        rate_hz: samples per second, a multiple of 1000.
    """

    rate_hz: int

    @property
    def samples_per_ms(self) -> int:
        return self.rate_hz // 1000

    @property
    def bytes_per_ms(self) -> int:
        return self.samples_per_ms * SAMPLE_BYTES

    @property
    def bytes_per_s(self) -> int:
        return self.rate_hz * SAMPLE_BYTES

    def bytes_of(self, duration_ms: int) -> int:
        """Return the size in bytes of `duration_ms` of audio."""
        return duration_ms * self.bytes_per_ms

    def ms_of(self, size_bytes: int) -> int:
        """Return the duration of `size_bytes` of audio, in whole ms."""
        return size_bytes // self.bytes_per_ms

    def seconds_of(self, size_bytes: int) -> float:
        """Return the duration of `size_bytes` of audio, in seconds."""
        return size_bytes / self.bytes_per_s

    def samples_of(self, duration_ms: int) -> int:
        """Return the number of samples in `duration_ms` of audio."""
        return duration_ms * self.samples_per_ms

    def ms_of_samples(self, samples: int) -> int:
        """Return the duration of `samples` samples, in whole ms."""
        return samples // self.samples_per_ms

    def silence(self, duration_ms: int) -> bytes:
        """Return `duration_ms` of silence."""
        return bytes(self.bytes_of(duration_ms))


PCM_16K: Final = PcmFormat(16_000)
PCM_24K: Final = PcmFormat(24_000)
