"""Streaming sample-rate conversion with a fixed delay near one millisecond and no block of samples held back.

Theory of operation. Converting by the ratio `up/down` is a low-pass filter at `from_hz * up` of which only every
`down`-th output is computed, and in which only every `up`-th input is not zero. So `down` inputs (a group) yield `up`
outputs, each a dot product of one phase of the filter with the last `taps` inputs:

    inputs   |<- taps-1 of history ->|<- down ->|<- down ->| ...
    outputs                          |<-  up  ->|<-  up  ->| ...

`_GROUPS_PER_BLOCK` groups are computed at once: a matrix of overlapping windows times one banded weight matrix, which
is one small BLAS call per frame. A remainder of fewer than `down` samples waits for the next call.

The soxr library's streaming mode is not used because it computes in blocks and holds back 20 to 118 ms of audio
(docs/adr/0002-wire.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_STOPBAND_DB: Final = 60.0
_KAISER_BETA: Final = 5.65  # for 60 dB
_PASSBAND: Final = 0.86  # share of the narrower Nyquist band that passes: 6.9 kHz of 8, 3.4 kHz of 4
_STOPBAND: Final = 1.14  # frequencies in between alias only to above the passband
_BLOCK_SAMPLES: Final = 24


class _Filter(NamedTuple):
    up: int
    down: int
    taps: int  # number of inputs that contribute to one output
    delay: int  # delay of the signal, in outputs
    groups: int  # groups per block
    weights: NDArray[np.float32]  # (taps - 1 + groups * down, groups * up)


@cache
def _design(from_hz: int, to_hz: int) -> _Filter:
    """Return the banded weights for one pair of rates (shared by all streams)."""
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    rate_hz, nyquist_hz = from_hz * up, min(from_hz, to_hz) / 2
    width = 2 * math.pi * nyquist_hz * (_STOPBAND - _PASSBAND) / rate_hz
    half = (_STOPBAND_DB - 7.95) / (2.285 * width) / 2
    delay = math.ceil(half / down)  # rounded to whole outputs, so that an aligned stream is exactly in place
    taps = math.ceil((delay * down + half + 1) / up)
    time = np.arange(taps * up) - delay * down
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(1 - (time / half) ** 2, 0))) / np.i0(_KAISER_BETA)
    impulse = np.sinc(2 * nyquist_hz / rate_hz * time) * np.where(np.abs(time) <= half, window, 0)
    phases = impulse.reshape(taps, up).T
    phases /= phases.sum(axis=1, keepdims=True)  # every phase has unit gain for a constant, so no ripple tone arises
    groups = max(1, _BLOCK_SAMPLES // down)
    weights = np.zeros((taps - 1 + groups * down, groups * up), np.float32)
    for output in range(groups * up):
        newest = output * down // up
        weights[newest : newest + taps, output] = phases[output * down % up, ::-1]
    return _Filter(up, down, taps, delay, groups, weights)


@dataclass(frozen=True, slots=True)
class ResamplerState:
    """The position of a stream, as plain data.

    Attributes:
        pending: input that later output still needs, as float32 in native byte order.
        skip: number of outputs that are still to be dropped.
        samples_in, samples_out: totals of the stream so far.
    """

    pending: bytes
    skip: int
    samples_in: int
    samples_out: int


class StreamResampler:
    """Converts one stream of 16-bit mono PCM, chunk by chunk, without clicks at chunk borders.

    With `is_live`, each call returns as much audio as it was given and the signal is delayed by `delay_ms`, so nothing
    is left over at the end of the stream. Otherwise the signal keeps its timing, the first call returns `delay_ms`
    less, and `flush` returns the rest; the whole output is exactly `samples_in * to_hz // from_hz` samples long.

    Not safe for use by two tasks at once. Equal rates pass through untouched.
    """

    def __init__(self, from_hz: int, to_hz: int, *, is_live: bool = False) -> None:
        self._is_identity = from_hz == to_hz
        self._filter = _design(from_hz, to_hz)
        self._to_hz = to_hz
        self._is_live = is_live
        self.reset()

    @property
    def delay_ms(self) -> float:
        return 0.0 if self._is_identity else self._filter.delay * 1000 / self._to_hz

    def reset(self) -> None:
        """Forget all audio, so that the next call begins a new stream."""
        self._pending = np.zeros(self._filter.taps - 1, np.float32)
        self._skip = 0 if self._is_live else self._filter.delay
        self._samples_in = self._samples_out = 0

    def save(self) -> ResamplerState:
        """Return the position of the stream."""
        return ResamplerState(self._pending.tobytes(), self._skip, self._samples_in, self._samples_out)

    def resume(self, state: ResamplerState) -> None:
        """Continue a stream with the same rates from where it was saved."""
        self._pending = np.frombuffer(state.pending, np.float32)
        self._skip, self._samples_in, self._samples_out = state.skip, state.samples_in, state.samples_out

    def process(self, pcm: bytes) -> bytes:
        """Add `pcm` (whole samples) to the stream and return the output that can be computed so far."""
        if self._is_identity:
            return pcm
        samples = np.frombuffer(pcm, np.int16)
        self._samples_in += len(samples)
        out = self._convolve(samples)
        if self._skip:
            skipped = min(self._skip, len(out))
            self._skip -= skipped
            out = out[skipped:]
        self._samples_out += len(out)
        return out.tobytes()

    def flush(self) -> bytes:
        """End the stream and return its tail (empty when live). The next call begins a new stream."""
        if self._is_identity or self._is_live:
            self.reset()
            return b""
        spec = self._filter
        missing = self._samples_in * spec.up // spec.down - self._samples_out
        silence = np.zeros((self._skip + missing + spec.up) * spec.down // spec.up + spec.down, np.int16)
        tail = self._convolve(silence)[self._skip :][:missing]
        self.reset()
        return tail.tobytes()

    def _convolve(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        up, down, taps, _, groups, weights = self._filter
        ready = len(self._pending) - (taps - 1) + len(samples)
        group_count = ready // down
        blocks = -(-group_count // groups)
        stride = groups * down
        buffer = np.zeros(max(taps - 1 + blocks * stride, taps - 1 + ready), np.float32)
        buffer[: len(self._pending)] = self._pending
        buffer[len(self._pending) : taps - 1 + ready] = samples
        self._pending = buffer[group_count * down : taps - 1 + ready].copy()
        # One overlapping window per block. Zeros past the end affect no output that is kept.
        windows: NDArray[np.float32] = np.ndarray(
            (blocks, taps - 1 + stride), np.float32, buffer, strides=(stride * 4, 4)
        )
        out = np.ascontiguousarray(windows) @ weights
        np.rint(out, out=out)
        np.maximum(out, -32768, out=out)  # np.clip would cost as much as the convolution on arrays this short
        np.minimum(out, 32767, out=out)
        return out.reshape(-1)[: group_count * up].astype(np.int16)
