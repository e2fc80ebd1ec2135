"""A cache-aware FastConformer of NeMo, loaded for streaming: its chunks, its features, one step of its encoder.

Theory of operation. The encoder's attention sees whole chunks of `right + 1` frames (80 ms each) and `left` frames
before them; its convolutions see nothing ahead. A chunk's output is therefore final once the chunk is complete, and
equals that of a single pass over all audio, provided that the step is given what the single pass would see:

    samples   ···|···|·····────────── new chunk ─────────·····      window of 25 ms around each feature frame,
    features         p p p p p p p p p n n n n n n n n n n n n      every 10 ms; p: 9 frames kept from before
    outputs                              └─ x ─┘ └─ x ─┘            8 frames make one output

A feature is used only when its whole window has been heard, which costs the 12.5 ms that the window reaches ahead. The
first chunk has nothing before it and one output that rests on a single frame, so its size differs.

NeMo's own feature buffer (`nemo.collections.asr.inference`) gives each chunk zeros instead of the samples ahead and
frames of silence before the first one; its outputs are close, but not equal, to those of a single pass. See ADR 0019.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deployments.engines.nemo.memory import EncoderNext, EncoderPast, StreamMemory, keep_keys
from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component, EngineError

_ENGINE = Component.TRANSCRIBER


@dataclass(frozen=True, slots=True)
class ChunkGeometry:
    """Sizes of a stream's chunks, for one right context of one model.

    Attributes:
        frame_ms: duration of one output.
        chunk_outputs: number of outputs of every chunk but the first.
        first_outputs: number of outputs of the first chunk.
        subsampling: feature frames per output.
        hop_samples: distance between feature frames.
        ahead_samples: how far the window of a feature frame reaches from its centre, in both directions.
        kept_frames: feature frames of the previous chunk that a step sees again.
    """

    frame_ms: int
    chunk_outputs: int
    first_outputs: int
    subsampling: int
    hop_samples: int
    ahead_samples: int
    kept_frames: int

    @property
    def chunk_samples(self) -> int:
        return self.chunk_outputs * self.subsampling * self.hop_samples

    @property
    def first_samples(self) -> int:
        return self.samples_for(1, is_first=True)

    @property
    def kept_samples(self) -> int:
        """How many samples before a chunk its first feature frames need: two hops before its first centre."""
        return self.hop_samples + self.ahead_samples

    def frames_for(self, chunks: int, *, is_first: bool) -> int:
        """Return the number of feature frames in that many chunks. The very first output rests on one frame."""
        outputs = self.outputs_for(chunks, is_first=is_first)
        return self.subsampling * (outputs - 1) + 1 if is_first else self.subsampling * outputs

    def outputs_for(self, chunks: int, *, is_first: bool) -> int:
        return (self.first_outputs if is_first else self.chunk_outputs) + (chunks - 1) * self.chunk_outputs

    def samples_for(self, chunks: int, *, is_first: bool) -> int:
        """Return the number of new samples that this many chunks need."""
        if not is_first:
            return chunks * self.chunk_samples
        return (self.frames_for(chunks, is_first=True) - 1) * self.hop_samples + self.ahead_samples

    def chunks_for(self, samples: int, *, is_first: bool) -> int:
        """Return how many chunks are needed to hear this many samples, at least 1."""
        if not is_first:
            return max(1, -(-samples // self.chunk_samples))
        return 1 + max(0, -(-(samples - self.first_samples) // self.chunk_samples))


class StreamingModel:
    """A NeMo model on its device, used by one thread.

    Attributes:
        network: the NeMo model.
        geometry: sizes of chunks.
        device: where the model is.
        dtype: data type of the encoder and decoder; features are computed in 32 bits.
    """

    def __init__(self, network: Any, *, chunk_ms: int, device: str, dtype: Any) -> None:
        self.network = network
        self.device = torch.device(device)
        self.dtype = dtype
        self._featurizer = _featurizer(network).to(self.device)
        self.geometry = _set_chunk(network.encoder, self._featurizer, chunk_ms)
        self._drop_outputs = int(network.encoder.streaming_cfg.drop_extra_pre_encoded)
        # The featurizer stays in 32 bits, because log-mel energies do not fit into 16.
        network.preprocessor = None
        network.to(self.device, dtype)
        network.eval()
        keep_keys(network.encoder)

    def memory(self, slots: int) -> StreamMemory:
        """Return memory for the state of that many streams."""
        features = torch.empty((int(self._featurizer.nfilt), self.geometry.kept_frames), device=self.device)
        return StreamMemory(self.network.encoder, slots, features, self.dtype)

    def encode(self, samples: Any, past: EncoderPast, *, is_first: bool) -> tuple[Any, EncoderNext]:
        """Encode one or more chunks of some streams. Must be called in inference mode.

        Args:
            samples: [streams, kept + new samples] from -1 to 1; for the first chunk [streams, new samples].
            past: what is remembered of these streams, with room for the outputs.

        Returns:
            The outputs, [streams, width, outputs], and what to remember of the step.
        """
        features = self._features(samples.to(self.device), is_first=is_first)
        signal = features if is_first else torch.cat([past.features, features], dim=2)
        encoded, _, channel, time, _ = self.network.encoder.cache_aware_stream_step(
            processed_signal=signal.to(self.dtype),
            processed_signal_length=torch.full((signal.shape[0],), signal.shape[2], device=self.device),
            cache_last_channel=past.channel,
            cache_last_time=past.time,
            cache_last_channel_len=past.length,
            keep_all_outputs=True,
            drop_extra_pre_encoded=0 if is_first else self._drop_outputs,
        )
        return encoded, EncoderNext(channel, time, signal[:, :, -self.geometry.kept_frames :])

    def _features(self, samples: Any, *, is_first: bool) -> Any:
        lengths = torch.full((samples.shape[0],), samples.shape[1], device=self.device)
        features, _ = self._featurizer(samples, lengths)
        if is_first:
            return features[:, :, : (samples.shape[1] - self.geometry.ahead_samples) // self.geometry.hop_samples + 1]
        new = (samples.shape[1] - self.geometry.kept_samples) // self.geometry.hop_samples
        return features[:, :, 2 : 2 + new]


def load_model(path: Path, *, chunk_ms: int, device: str, dtype: str, threads: int) -> StreamingModel:
    """Load a `.nemo` file and set the threads of the whole process. Takes half a minute, mostly for importing NeMo.

    Args:
        chunk_ms: one of the chunks that the model was trained for.
        device: "cpu", "cuda", "cuda:1", ..., or "auto".
        dtype: "float32", "bfloat16" or "auto": bfloat16 on a GPU that computes in it, else float32.

    Raises:
        EngineError: the file is not a cache-aware model, or the model was not trained for such chunks.
    """
    if not path.is_file():
        raise EngineError(_ENGINE, f"there is no model at {path}", retryable=False)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(threads)
    with quiet():
        from nemo.collections.asr.models import ASRModel
        from nemo.core.classes.common import typecheck

        network = ASRModel.restore_from(str(path), map_location=torch.device(device))
        # NeMo would otherwise check tensor types at every call, which costs a tenth of a small model's step.
        typecheck.set_typecheck_enabled(False)
        return StreamingModel(network, chunk_ms=chunk_ms, device=device, dtype=_dtype(dtype, device))


def _dtype(name: str, device: str) -> Any:
    if name == "auto":
        able = device != "cpu" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if able else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _featurizer(network: Any) -> Any:
    """Return the model's own feature extraction, made exact for pieces of a stream."""
    featurizer = network.preprocessor.featurizer
    if featurizer.normalize not in (None, "", "NA", "None") or featurizer.exact_pad or featurizer.frame_splicing > 1:
        raise EngineError(
            _ENGINE, "the model's features depend on the whole utterance, so it cannot stream", retryable=False
        )
    rate_hz = int(featurizer.sample_rate)
    if rate_hz != PCM_16K.rate_hz:
        raise EngineError(_ENGINE, f"the model hears {rate_hz} Hz, not {PCM_16K.rate_hz}", retryable=False)
    featurizer.dither = 0.0
    featurizer.pad_to = 0
    return featurizer.float().eval()


def _set_chunk(encoder: Any, featurizer: Any, chunk_ms: int) -> ChunkGeometry:
    """Choose the attention context for `chunk_ms`, and derive the sizes from the encoder."""
    if getattr(encoder, "att_context_style", "") != "chunked_limited" or encoder.conv_context_size[1] != 0:
        raise EngineError(_ENGINE, "the model is not cache-aware (chunked attention, causal)", retryable=False)
    if encoder.self_attention_model != "rel_pos":
        raise EngineError(_ENGINE, f"attention {encoder.self_attention_model!r} is not supported", retryable=False)
    hop, subsampling = int(featurizer.hop_length), int(encoder.subsampling_factor)
    frame_ms = subsampling * hop * 1000 // PCM_16K.rate_hz
    contexts = {(context[1] + 1) * frame_ms: list(context) for context in encoder.att_context_size_all}
    if chunk_ms not in contexts:
        known = ", ".join(str(size) for size in sorted(contexts))
        raise EngineError(
            _ENGINE, f"chunk_ms {chunk_ms} is not one of those the model was trained for: {known}", retryable=False
        )
    encoder.set_default_att_context_size(contexts[chunk_ms])
    outputs = chunk_ms // frame_ms
    kept = int(_last(encoder.streaming_cfg.pre_encode_cache_size))
    return ChunkGeometry(
        frame_ms=frame_ms,
        chunk_outputs=outputs,
        first_outputs=_first_outputs(outputs, subsampling, kept),
        subsampling=subsampling,
        hop_samples=hop,
        ahead_samples=int(featurizer.win_length) // 2,
        kept_frames=kept,
    )


def _first_outputs(chunk_outputs: int, subsampling: int, kept_frames: int) -> int:
    """Return how many outputs the first chunk needs so that the second one has enough frames to look back on."""
    outputs = chunk_outputs
    while subsampling * (outputs - 1) + 1 < kept_frames:
        outputs += chunk_outputs
    return outputs


def _last(size: int | Sequence[int]) -> int:
    return size if isinstance(size, int) else size[-1]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the settings that NeMo prints out of the replica's log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
