"""Silero VAD, with one ONNX session for all calls of a gateway.

Theory of operation. The model is a small recurrent network: it takes 512 new samples (32 ms) preceded by the last 64 of
the previous window, and a state of [2, 1, 128] floats. Its batch axis is free, so a batch gathers one window from each
of several streams, and states and scores are scattered back:

    stream a  |--w0--|--w1--|          batch 1: [a.w0, b.w0]   batch 2: [a.w1]
    stream b  |--w0--|

A stream that still has a whole window goes to the end of the queue, so a burst takes more batches but never a larger
share of one. Passes over the queue start at least `tick_ms` apart, so that windows of several calls gather; a window
that arrives while the detector is idle is scored at once. Everything runs on the event loop. Beyond about ten streams a
batch costs 65 us per window whatever its size, so batches are kept to 2 ms and the loop runs between them. A worker
thread is slower, because on busy cores each hand-over waits for the scheduler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipelines.audio.pcm import PCM_16K
from pipelines.ports import SpeechScore

_WINDOW_SAMPLES = 512
_WINDOW_BYTES = _WINDOW_SAMPLES * 2
_WINDOW_MS = 32
_CONTEXT_SAMPLES = 64
_BATCH = 32
# Long non-speech (above all music) shifts the recurrent state until speech scores low. A reset while the caller is
# certainly quiet clears it: 2 s since the last reset, the last 1 s of them clearly not speech. Both are counted in
# windows.
_RESET_AFTER_WINDOWS = 62
_RESET_QUIET_WINDOWS = 31
_RESET_PROBABILITY = 0.1

_Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


class SileroStream:
    """One call's audio and recurrent state. Made by `SileroSpeechDetector.open`."""

    __slots__ = ("_detector", "buffer", "context", "end_ms", "is_closed", "on_score", "quiet", "since_reset", "state")

    def __init__(self, detector: SileroSpeechDetector, on_score: Callable[[SpeechScore], None]) -> None:
        self._detector = detector
        self.on_score = on_score
        self.buffer = bytearray()
        self.end_ms = 0
        self.is_closed = False
        self.reset()

    def reset(self) -> None:
        self.state = np.zeros((2, 128), np.float32)
        self.context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self.quiet = 0
        self.since_reset = 0

    def push(self, pcm_16k: bytes) -> None:
        if self.is_closed:
            return
        self.buffer += pcm_16k
        if len(self.buffer) >= _WINDOW_BYTES:
            self._detector.enqueue(self)

    def close(self) -> None:
        self.is_closed = True
        self.buffer.clear()
        self._detector.forget(self)

    def take_window(self) -> bytearray:
        """Return the oldest whole window and drop it from the buffer."""
        window = self.buffer[:_WINDOW_BYTES]
        del self.buffer[:_WINDOW_BYTES]
        return window

    def deliver(self, probability: float) -> None:
        """Count the window and report its score. Resets the model's state after a long silence."""
        self.end_ms += _WINDOW_MS
        self.since_reset += 1
        self.quiet = self.quiet + 1 if probability < _RESET_PROBABILITY else 0
        if self.since_reset >= _RESET_AFTER_WINDOWS and self.quiet >= _RESET_QUIET_WINDOWS:
            self.reset()
        self.on_score(SpeechScore(probability=probability, end_ms=self.end_ms, window_ms=_WINDOW_MS))


class SileroSpeechDetector:
    """Implements `pipelines.ports.SpeechDetector` for all calls of one event loop.

    Args:
        model_path: `silero_vad.onnx` (16 kHz).
        tick_ms: minimum time between two passes over the queue.
        threads: intra-op threads of the ONNX session; 1 is best up to hundreds of streams.
    """

    def __init__(self, model_path: Path, *, tick_ms: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(model_path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(PCM_16K.rate_hz, np.int64)
        self._tick_s = tick_ms / 1000
        self._ready: dict[SileroStream, None] = {}  # an ordered set of streams with at least one whole window
        self._next: asyncio.Handle | None = None
        self._left_in_pass = 0
        self._last_pass_s = float("-inf")
        self._is_closed = False

    def warm_up(self) -> None:
        """Run the batch sizes that allocate memory once, so that the first call is not slower than later ones."""
        for size in (1, 8, _BATCH):
            self._infer((np.zeros((size, _CONTEXT_SAMPLES + _WINDOW_SAMPLES), np.float32), _blank_state(size)))

    def open(self, on_score: Callable[[SpeechScore], None]) -> SileroStream:
        """Open a stream. Must be called on the event loop's thread.

        An error raised by `on_score` goes to the loop's exception handler and harms no other call."""
        asyncio.get_running_loop()
        return SileroStream(self, on_score)

    def close(self) -> None:
        """Drop what is pending. Does nothing on successive calls."""
        self._is_closed = True
        self._ready.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def enqueue(self, stream: SileroStream) -> None:
        """Queue a stream whose buffer holds a whole window. Called by the stream."""
        self._ready[stream] = None
        self._arm()

    def forget(self, stream: SileroStream) -> None:
        """Remove a stream from the queue. Called by a stream that closes."""
        self._ready.pop(stream, None)

    def _arm(self) -> None:
        if self._next is None and self._ready and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._next = loop.call_at(max(loop.time(), self._last_pass_s + self._tick_s), self._start_pass)

    def _start_pass(self) -> None:
        self._last_pass_s = asyncio.get_running_loop().time()
        self._left_in_pass = len(self._ready)
        self._run_batch()

    def _run_batch(self) -> None:
        """Score one batch. The rest of the pass, and then bursts, follow after the loop has run."""
        self._next = None
        if not self._ready:  # all streams were closed meanwhile
            return
        streams, batch = self._gather()
        self._left_in_pass -= len(streams)
        has_burst = any(stream in self._ready for stream in streams)
        self._scatter(streams, self._infer(batch))
        if self._ready and not self._is_closed and (self._left_in_pass > 0 or has_burst):
            self._next = asyncio.get_running_loop().call_soon(self._run_batch)
        else:
            self._arm()

    def _gather(self) -> tuple[list[SileroStream], _Batch]:
        streams = list(islice(self._ready, _BATCH))
        # The whole batch is converted at once, because 100 streams would pay numpy's cost per call 100 times.
        pcm = np.frombuffer(b"".join([stream.take_window() for stream in streams]), "<i2")
        windows = np.empty((len(streams), _CONTEXT_SAMPLES + _WINDOW_SAMPLES), np.float32)
        np.divide(pcm.reshape(-1, _WINDOW_SAMPLES), np.float32(32768.0), out=windows[:, _CONTEXT_SAMPLES:])
        np.stack([stream.context for stream in streams], out=windows[:, :_CONTEXT_SAMPLES])
        states = np.stack([stream.state for stream in streams], axis=1)
        for stream, window in zip(streams, windows, strict=True):
            stream.context = window[-_CONTEXT_SAMPLES:]
            del self._ready[stream]
            if len(stream.buffer) >= _WINDOW_BYTES:
                self._ready[stream] = None
        return streams, (windows, states)

    def _infer(self, batch: _Batch) -> _Batch:
        windows, states = batch
        output, new_states = self._session.run(None, {"input": windows, "state": states, "sr": self._rate})
        return output[:, 0], new_states

    def _scatter(self, streams: list[SileroStream], result: _Batch) -> None:
        probabilities, states = result
        for index, stream in enumerate(streams):
            if stream.is_closed:
                continue
            stream.state = states[:, index]
            try:
                stream.deliver(float(probabilities[index]))
            except Exception as error:
                context = {"message": "a speech score callback failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


def _blank_state(size: int) -> NDArray[np.float32]:
    return np.zeros((2, size, 128), np.float32)
