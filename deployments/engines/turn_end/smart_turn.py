"""Smart Turn v3.2: judges from the sound of the last 8 seconds whether the caller has finished.

The model expects Whisper's log-mel features of exactly 8 s at 16 kHz, zero-padded at the FRONT. The feature steps are
those of `transformers.WhisperFeatureExtractor(chunk_length=8)` with `do_normalize=True`; a contract test checks them to
within 1e-4. Only frames that touch audio are transformed; the frames of the padding are identical, so one is computed
for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from deployments.engines.microbatch import MicroBatcher
from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component

_SAMPLES = 8 * PCM_16K.rate_hz
_FFT_SAMPLES = 400
_HOP_SAMPLES = 160
_FRAMES = _SAMPLES // _HOP_SAMPLES
_MELS = 80
_MEL_FLOOR = 1e-10
_VARIANCE_FLOOR = 1e-7
# On one CPU thread a judgement takes 46 ms alone and 57 ms as one of eight: a batch would only delay the first.
_CPU_MAX_BATCH = 1


class SmartTurnDetector:
    """Implements `pipelines.ports.TurnDetector`. Judgements of several calls queue for one worker thread.

    Args:
        model_path: `smart-turn-v3.2-cpu.onnx`.
        threads: intra-op threads of the ONNX session.
        max_batch: the most judgements in one batch; raising it is worthwhile only on an accelerator.
    """

    def __init__(self, model_path: Path, *, threads: int, max_batch: int = _CPU_MAX_BATCH) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(model_path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._batcher = MicroBatcher[bytes, float](Component.TURN_DETECTOR, self._judge, max_batch=max_batch)

    def warm_up(self) -> None:
        """Judge silence once, so that the first call does not pay for allocation."""
        self._judge([b""])

    async def completion_probability(self, pcm_16k: bytes) -> float:
        """Return the probability (0.0 to 1.0) that the turn is complete. Cancelling drops the judgement.

        Raises:
            EngineError: the model failed or the detector is closed.
        """
        return await self._batcher.submit(pcm_16k[-2 * _SAMPLES :] if len(pcm_16k) % 2 == 0 else pcm_16k[:-1])

    def close(self) -> None:
        """Stop the worker thread; waiting judgements fail. Does nothing on successive calls."""
        self._batcher.close()

    def _judge(self, utterances: Sequence[bytes]) -> list[float]:
        features = np.stack([log_mel_features(pcm) for pcm in utterances])
        (probabilities,) = self._session.run(None, {"input_features": features})
        return [float(probability) for probability in probabilities[:, 0]]


def log_mel_features(pcm_16k: bytes) -> NDArray[np.float32]:
    """Return the model's input for the last 8 s of `pcm_16k`, float32 [80, 800]."""
    samples = np.frombuffer(pcm_16k, "<i2")[-_SAMPLES:].astype(np.float32) / np.float32(32768.0)
    # Mean and variance cover all 8 s including the padding, because the reference normalises after padding.
    mean = samples.sum(dtype=np.float64) / _SAMPLES
    variance = max(0.0, np.square(samples, dtype=np.float64).sum() / _SAMPLES - mean * mean)
    scale = 1.0 / np.sqrt(variance + _VARIANCE_FLOOR)
    silence = -mean * scale
    voiced = (samples - mean) * scale
    return _log_mel(voiced, silence)


def _log_mel(voiced: NDArray[np.float64], silence: float) -> NDArray[np.float32]:
    """Transform the frames that touch audio, and put copies of the padding's single frame in front of them.

    padding (all `silence`)             audio
    |.....|.....|.....|.....|.....|..###|#####|#####|  frame k spans 400 samples around k * 160
     one transform for all of these | each transformed
    """
    padding = _SAMPLES - voiced.size
    first = max(0, (padding - _FFT_SAMPLES // 2) // _HOP_SAMPLES)
    start = first * _HOP_SAMPLES
    signal = np.concatenate([np.full(max(0, padding - start), silence), voiced])
    half = _FFT_SAMPLES // 2
    # The first frame is preceded by padding or, without padding, by a reflection as in the reference. The last is
    # followed by a reflection.
    left = np.full(half, silence) if first else signal[half:0:-1]
    framed = np.concatenate([left, signal, signal[-2 : -half - 2 : -1]])
    frames = sliding_window_view(framed, _FFT_SAMPLES)[::_HOP_SAMPLES][: _FRAMES - first]
    mels = np.empty((_MELS, _FRAMES))
    mels[:, first:] = _MEL_FILTERS @ _power(frames * _HANN).T
    if first:
        mels[:, :first] = _MEL_FILTERS @ _power(np.full((1, _FFT_SAMPLES), silence) * _HANN).T
    levels = np.log10(np.maximum(_MEL_FLOOR, mels))
    scaled: NDArray[np.float32] = ((np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0).astype(np.float32)
    return scaled


def _power(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(frames, axis=-1)
    power: NDArray[np.float64] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _mel_filters() -> NDArray[np.float64]:
    """Return Slaney-normalised triangular filters, [80, 201], linear up to 1 kHz and logarithmic above."""
    top_mel = 15.0 + 27.0 * np.log(PCM_16K.rate_hz / 2 / 1000.0) / np.log(6.4)
    mels = np.linspace(0.0, top_mel, _MELS + 2)
    edges_hz = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mels - 15.0)))
    bins_hz = np.linspace(0.0, PCM_16K.rate_hz / 2, _FFT_SAMPLES // 2 + 1)
    slopes = edges_hz[:, None] - bins_hz[None, :]
    widths = np.diff(edges_hz)[:, None]
    triangles = np.maximum(0.0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    return np.asarray(triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None])


_MEL_FILTERS = _mel_filters()
_HANN = np.hanning(_FFT_SAMPLES + 1)[:-1]
