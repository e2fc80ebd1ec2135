"""Streams speech from a Piper voice.

The first sound needs only the text encoder and a fraction of a second of decoding. Theory of operation. A Piper voice
is VITS: text encoder, durations and flow make a latent of one column per 256 samples (11.6 ms); a convolutional decoder
turns columns into samples and takes most of the time. The exported graph is cut before the decoder (`onnx_graph`). The
decoder sees 10 columns to either side, so pieces with that margin decode to the same samples as the whole and can be
played as they arrive:

    latent   |----first----|----------second----------|------ ...
    decoded  [first......+10]
                       [10+..........second........+10]

The cut also exposes the duration of every phoneme, which gives word times. Everything runs in one worker thread with
one job per piece, so that calls take turns and closing the iterator wastes at most one piece.

VITS draws noise twice: for the durations, and for the latent that the flow inverts. Both draws are also cut out of the
graph and fed from a generator seeded by the phonemes. The same words therefore always sound the same in every replica,
so what was checked is what callers hear.

    phonemes, noise ──encoder──> mean, deviation, mask, durations ──noise, flow──> latent ──decoder──> samples
"""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
import soxr
from numpy.typing import NDArray
from piper.phonemize_espeak import EspeakPhonemizer

from deployments.engines.piper.onnx_graph import OnnxGraph
from deployments.engines.piper.speakable import spoken_tokens
from deployments.engines.piper.voice_tensors import VoiceTensors
from deployments.engines.piper.word_alignment import PhonemeTiming, align_words
from pipelines.audio.pcm import PCM_24K
from pipelines.errors import Component, EngineError
from pipelines.language.en.clauses import ClauseSplitter
from pipelines.ports import SpeechChunk, SpeechRequest, WordTime

_MARGIN_FRAMES = 10
# The first piece is short so that sound starts early. Later ones are longer, since each pays for 2 x 10 columns of
# margin.
_PIECE_FRAMES = (18, 30, 48)
# The last piece contains the whole trailing silence (up to 250 ms, or 22 columns), so that it can be trimmed.
_LAST_PIECE_MIN_FRAMES = 24
_CHUNK_SAMPLES = PCM_24K.samples_of(160)
_LEADING_MS = 30
_TRAILING_MS = 150
_SILENCE_LEVEL = 0.01
_SPEECH_RMS = 0.1  # -20 dBFS
_LONG_TEXT_CHARS = 200
_CALIBRATION = "The quick brown fox jumps over the lazy dog."

Samples = NDArray[np.float32]
Result = TypeVar("Result")
# espeak keeps its voice and translator in process-wide globals.
_ESPEAK_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Latent:
    """A sentence between encoder and decoder: its columns, [1, channels, frames], and phoneme timing."""

    columns: NDArray[np.float32]
    timing: PhonemeTiming


class PiperSynthesizer:
    """Implements `pipelines.ports.Synthesizer` with one Piper voice, whichever voice a request names.

    Args:
        model_path: the voice's .onnx file (single speaker, medium or high quality).
        config_path: its .onnx.json; `model_path` + ".json" by default.
        threads: intra-op threads of the sessions.
    """

    def __init__(self, model_path: Path, config_path: Path | None = None, *, threads: int) -> None:
        config = json.loads((config_path or Path(f"{model_path}.json")).read_text(encoding="utf-8"))
        self._rate_hz = int(config["audio"]["sample_rate"])
        self._frame_samples = int(config.get("hop_length", 256))
        self._voice = str(config["espeak"]["voice"])
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self._scales: dict[str, float] = config["inference"]
        graph = OnnxGraph(model_path.read_bytes())
        self._names = names = VoiceTensors.of(graph)
        prior = [names.mean, names.deviation, names.mask]
        self._encoder = _session(graph.cut([*prior, names.durations], float_inputs=[names.duration_noise]), threads)
        self._flow = _session(graph.cut([names.latent], float_inputs=[names.latent_noise, *prior]), threads)
        self._decoder = _session(graph.cut(["output"], float_inputs=[names.latent]), threads)
        self._phonemizer = EspeakPhonemizer()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="piper")
        self._gain = self._executor.submit(self._calibrate).result()

    def warm_up(self) -> None:
        """Speak sentences of several lengths once, so that the first call does not pay for allocation."""
        for text in (_CALIBRATION, "Yes.", _CALIBRATION * 2):
            self._executor.submit(lambda spoken: list(self._pieces(spoken, 1.0)), text).result()

    async def synthesize(self, request: SpeechRequest) -> AsyncIterator[SpeechChunk]:
        """Stream 24 kHz audio in chunks of at most 160 ms. Text with nothing speakable yields no chunk.

        Closing the iterator stops after the piece (at most 0.6 s of audio) that is being decoded.

        Raises:
            EngineError: synthesis failed or the engine is closed.
        """
        pieces = self._pieces(request.text, min(max(request.speed, 0.25), 1.5))
        while (piece := await self._run(lambda: next(pieces, None))) is not None:
            for chunk in _chunks(*piece):
                yield chunk

    def close(self) -> None:
        """Stop the worker thread after the current piece. Does nothing on successive calls."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except Exception as error:
            raise EngineError(
                Component.SYNTHESIZER, type(error).__name__, retryable=isinstance(error, RuntimeError)
            ) from error

    def _pieces(self, text: str, speed: float) -> Iterator[tuple[bytes, int, list[WordTime]]]:
        """Yield (24 kHz PCM, its start in samples, its words) for each decoded piece.

        Runs in the worker thread only.
        """
        emitted = 0
        offset_chars = 0
        for part in _parts(text):
            for pcm, words in self._part_pieces(part, speed, emitted, offset_chars):
                yield pcm, emitted, words
                emitted += len(pcm) // 2
            offset_chars += len(part)

    def _part_pieces(
        self, part: str, speed: float, start_samples: int, offset_chars: int
    ) -> Iterator[tuple[bytes, list[WordTime]]]:
        tokens = spoken_tokens(part)
        sentences = self._phonemize(" ".join(token.spoken for token in tokens)) if tokens else []
        weights = [sum(map(len, self._phonemize(token.spoken))) for token in tokens] if sentences else []
        alignment = align_words(sentences, weights)
        emitted = start_samples
        for index, sentence in enumerate(sentences):
            latent = self._encode(sentence, speed)
            lead_samples, resampler = None, soxr.ResampleStream(self._rate_hz, PCM_24K.rate_hz, 1, dtype="float32")
            words: list[WordTime] = []
            for samples, is_last in self._decode(latent):
                if lead_samples is None:
                    samples, lead_samples = _trim_start(samples, self._rate_hz)
                    start_ms = emitted * 1000 / PCM_24K.rate_hz - lead_samples * 1000 / self._rate_hz
                    words = [
                        WordTime(
                            offset_chars + tokens[word.token].end_char,
                            max(0, round(start_ms + latent.timing.ms_at(word.first))),
                            max(0, round(start_ms + latent.timing.ms_at(word.end))),
                        )
                        for word in alignment[index]
                    ]
                if is_last:
                    samples = _trim_end(samples, self._rate_hz)
                pcm = _to_pcm(resampler.resample_chunk(samples * self._gain, last=is_last))
                yield pcm, words
                emitted += len(pcm) // 2

    def _phonemize(self, spoken: str) -> list[list[str]]:
        """Return the phonemes that the voice knows, sentence by sentence, leaving out empty sentences."""
        with _ESPEAK_LOCK:
            sentences = self._phonemizer.phonemize(self._voice, spoken)
        known = [[phoneme for phoneme in sentence if phoneme in self._ids] for sentence in sentences]
        return [sentence for sentence in known if any(phoneme.isalpha() for phoneme in sentence)]

    def _encode(self, phonemes: list[str], speed: float) -> _Latent:
        pad = self._ids["_"]
        ids, spans = [*self._ids["^"], *pad], []
        for phoneme in phonemes:
            start = len(ids)
            ids += [*self._ids[phoneme], *pad]
            spans.append((start, len(ids)))
        ids += self._ids["$"]
        noise, names = np.random.default_rng(zlib.crc32("".join(phonemes).encode())), self._names
        scales = np.array(
            [self._scales["noise_scale"], self._scales["length_scale"] / speed, self._scales["noise_w"]], np.float32
        )
        inputs: dict[str, Any] = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": scales,
            names.duration_noise: noise.standard_normal((1, 2, len(ids)), np.float32),
        }
        mean, deviation, mask, frames = self._encoder.run(None, inputs)
        prior = {names.mean: mean, names.deviation: deviation, names.mask: mask}
        drawn = noise.standard_normal(mean.shape, np.float32)
        (columns,) = self._flow.run(None, {"scales": scales, names.latent_noise: drawn, **prior})
        frame_ms = self._frame_samples * 1000 / self._rate_hz
        return _Latent(columns, PhonemeTiming.of(frames.ravel(), spans, frame_ms))

    def _decode(self, latent: _Latent) -> Iterator[tuple[Samples, bool]]:
        """Yield (samples at the voice's rate, whether they are the last ones)."""
        total = latent.columns.shape[2]
        for start, end in _piece_bounds(total):
            left, right = max(0, start - _MARGIN_FRAMES), min(total, end + _MARGIN_FRAMES)
            (samples,) = self._decoder.run(None, {self._names.latent: latent.columns[:, :, left:right]})
            skip = (start - left) * self._frame_samples
            yield samples.ravel()[skip : skip + (end - start) * self._frame_samples], end == total

    def _calibrate(self) -> float:
        """Return the gain that brings this voice to `_SPEECH_RMS`.

        Normalising each clause would make the loudness jump.
        """
        audio = np.concatenate([part for part, _ in self._decode(self._encode(self._phonemize(_CALIBRATION)[0], 1.0))])
        voiced = audio[np.abs(audio) > _SILENCE_LEVEL]
        return float(_SPEECH_RMS / np.sqrt(np.mean(np.square(voiced)))) if voiced.size else 1.0


def _session(model: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])


def _parts(text: str) -> list[str]:
    """Cut long text at clauses, because the cost of the encoder's attention grows with the square of the length."""
    if len(text) <= _LONG_TEXT_CHARS:
        return [text]
    splitter = ClauseSplitter(first_min_chars=80, later_min_chars=80, max_chars=_LONG_TEXT_CHARS)
    return splitter.feed(text) + splitter.flush()


def _piece_bounds(total: int) -> Iterator[tuple[int, int]]:
    start = index = 0
    while start < total:
        end = start + _PIECE_FRAMES[min(index, len(_PIECE_FRAMES) - 1)]
        if total - end < _LAST_PIECE_MIN_FRAMES:
            end = total
        yield start, end
        start, index = end, index + 1


def _trim_start(samples: Samples, rate_hz: int) -> tuple[Samples, int]:
    """Return the samples without leading silence beyond `_LEADING_MS`, and how many were dropped."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE_LEVEL)
    first = int(loud[0]) if loud.size else samples.size
    dropped = max(0, first - _LEADING_MS * rate_hz // 1000)
    return samples[dropped:], dropped


def _trim_end(samples: Samples, rate_hz: int) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > _SILENCE_LEVEL)
    last = int(loud[-1]) if loud.size else 0
    return samples[: last + _TRAILING_MS * rate_hz // 1000]


def _to_pcm(samples: Samples) -> bytes:
    """Limit softly above 0.8, so that a loud vowel is compressed instead of clipped, and quantise."""
    level = np.abs(samples)
    bent = np.where(level > 0.8, 0.8 + 0.2 * np.tanh((level - 0.8) / 0.2), level)
    quantised: bytes = np.round(np.copysign(bent, samples) * 32767.0).astype("<i2").tobytes()
    return quantised


def _chunks(pcm: bytes, start_samples: int, words: list[WordTime]) -> Iterator[SpeechChunk]:
    for position in range(0, len(pcm), 2 * _CHUNK_SAMPLES):
        piece = pcm[position : position + 2 * _CHUNK_SAMPLES]
        first = start_samples + position // 2
        start_ms, end_ms = first * 1000 / PCM_24K.rate_hz, (first + len(piece) // 2) * 1000 / PCM_24K.rate_hz
        yield SpeechChunk(piece, tuple(word for word in words if start_ms <= word.start_ms < end_ms))
