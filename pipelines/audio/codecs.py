"""G.711 mu-law and A-law by table: 8-bit telephone audio to 16-bit linear samples and back.

Each direction takes one table look-up per sample. The tables are built from the segment arithmetic of ITU-T G.711 at
import; decoding has 256 entries, encoding 65,536 (one for each 16-bit sample, indexed by its unsigned bit pattern).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_MU_BIAS: Final = 0x84
_MU_CLIP: Final = 32_635 >> 2  # within the 14-bit range on which G.711 companding operates
_SIGN: Final = 0x80


def _mu_law_decode_table() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    exponent = (code >> 4) & 0x07
    magnitude = ((((code & 0x0F) << 3) + _MU_BIAS) << exponent) - _MU_BIAS
    return np.where(code & _SIGN, -magnitude, magnitude).astype(np.int16)


def _a_law_decode_table() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    exponent = (code >> 4) & 0x07
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & _SIGN, magnitude, -magnitude).astype(np.int16)


def _segment(magnitude: NDArray[np.int64], first_end: int) -> NDArray[np.int64]:
    """Return the index of the first segment whose end (doubling from `first_end`) holds each magnitude."""
    ends = np.array([(first_end << index) - 1 for index in range(8)])
    return np.searchsorted(ends, magnitude).astype(np.int64)


def _mu_law_encode_table() -> NDArray[np.uint8]:
    sample = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int64) >> 2
    magnitude = np.minimum(np.abs(sample), _MU_CLIP) + (_MU_BIAS >> 2)
    segment = _segment(magnitude, 0x40)
    mask = np.where(sample < 0, 0x7F, 0xFF)
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    return np.where(segment >= 8, 0x7F ^ mask, code ^ mask).astype(np.uint8)


def _a_law_encode_table() -> NDArray[np.uint8]:
    sample = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int64) >> 3
    magnitude = np.where(sample < 0, -sample - 1, sample)
    segment = _segment(magnitude, 0x20)
    shift = np.where(segment < 2, 1, segment)
    mask = np.where(sample < 0, 0x55, 0xD5)
    code: NDArray[np.int64] = ((segment << 4) | ((magnitude >> shift) & 0x0F)) ^ mask
    return code.astype(np.uint8)


_MU_DECODE: Final = _mu_law_decode_table()
_MU_ENCODE: Final = _mu_law_encode_table()
_A_DECODE: Final = _a_law_decode_table()
_A_ENCODE: Final = _a_law_encode_table()


def decode_mu_law(coded: bytes) -> bytes:
    """Decode mu-law bytes (one per sample) to 16-bit little-endian PCM."""
    return _MU_DECODE[np.frombuffer(coded, np.uint8)].tobytes()


def encode_mu_law(pcm: bytes) -> bytes:
    """Encode whole 16-bit little-endian samples as mu-law bytes."""
    return _MU_ENCODE[np.frombuffer(pcm, np.uint16)].tobytes()


def decode_a_law(coded: bytes) -> bytes:
    """Decode A-law bytes (one per sample) to 16-bit little-endian PCM."""
    return _A_DECODE[np.frombuffer(coded, np.uint8)].tobytes()


def encode_a_law(pcm: bytes) -> bytes:
    """Encode whole 16-bit little-endian samples as A-law bytes."""
    return _A_ENCODE[np.frombuffer(pcm, np.uint16)].tobytes()
