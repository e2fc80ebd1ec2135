"""Steps many streams of a NeMo model at once: `chunk_stepper.ChunkStepper` on tensors.

SlotAudio of 30 streams ──► one batch of samples ──► encoder ──► decoder ──► pieces ──► text, stream by stream
                              caches of 30 slots ──┘      └──► caches back into 30 slots, once all has gone well
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deployments.engines.nemo.decoding import Decoded, FrameDecoder
from deployments.engines.nemo.memory import EncoderNext
from deployments.engines.nemo.model import StreamingModel
from deployments.engines.nemo.spoken_text import SpokenText
from deployments.engines.nemo.token_text import Token, TokenText
from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio
from pipelines.audio.pcm import PCM_16K, SAMPLE_BYTES

_WARM_ROUNDS = 3


@dataclass(slots=True)
class _Slot:
    """One stream: the state for its next chunk, its settled text, and its open text."""

    tail: NDArray[np.int16]
    decoder_state: Any
    written: SpokenText
    said: TokenText = field(default_factory=TokenText)
    guess: TokenText = field(default_factory=TokenText)
    has_open: bool = False
    heard: Heard = field(default_factory=lambda: Heard("", 0))
    outputs: int = 0
    ended_outputs: int = 0

    @property
    def is_first(self) -> bool:
        return self.outputs == 0


@dataclass(slots=True)
class _Pass:
    """A step over streams that are either all at their first chunk or all beyond it."""

    places: list[int]
    slots: list[int]
    after: EncoderNext
    decoded: list[Decoded]
    outputs: list[int]


@dataclass(frozen=True, slots=True)
class StepperLimits:
    """Bounds and habits of a stepper.

    Attributes:
        slots: the most streams open at a time; their caches are allocated up front.
        max_batch: the most streams in one step.
        flush_ms: silence that a finish assumes after the audio, so that the last word is completed.
        end_silence_ms: silence after words that ends an utterance; 0 leaves it to the model alone.
        digits: whether spoken numbers are written in digits.
    """

    slots: int = 64
    max_batch: int = 32
    flush_ms: int = 400
    end_silence_ms: int = 0
    digits: bool = True


class NemoStepper:
    """See `chunk_stepper.ChunkStepper`.

    Args:
        phrases_of: returns the number of a tenant's boosted phrases, -1 for none.
    """

    def __init__(
        self,
        model: StreamingModel,
        decoder: FrameDecoder,
        limits: StepperLimits,
        phrases_of: Callable[[str], int] = lambda _: -1,
    ) -> None:
        geometry = model.geometry
        self.first_bytes = geometry.first_samples * SAMPLE_BYTES
        self.chunk_bytes = geometry.chunk_samples * SAMPLE_BYTES
        self.slots = limits.slots
        self.max_batch = limits.max_batch
        self._model = model
        self._geometry = geometry
        self._decoder = decoder
        self._limits = limits
        self._phrases_of = phrases_of
        self._flush_samples = PCM_16K.samples_of(limits.flush_ms)
        self._end_outputs = -(-limits.end_silence_ms // geometry.frame_ms)
        self._memory = model.memory(limits.slots)
        self._slots: dict[int, _Slot] = {}

    def open(self, slot: int, tenant: str) -> None:
        state = self._decoder.begin(self._phrases_of(tenant))
        tail = np.zeros(self._geometry.kept_samples, np.int16)
        with torch.inference_mode():
            self._memory.clear(slot)
        self._slots[slot] = _Slot(tail, state, SpokenText(digits=self._limits.digits))

    def free(self, slot: int) -> None:
        self._slots.pop(slot, None)

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        with torch.inference_mode():
            passes = [self._hear(chunks, places, is_first, 0) for places, is_first in self._groups(chunks)]
            for done in passes:
                self._keep(chunks, done)
        return [self._heard(chunk.slot) for chunk in chunks]

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        heard: dict[int, Heard] = {}
        with torch.inference_mode():
            for places, is_first in self._groups(rests):
                done = self._hear(rests, places, is_first, self._flush_samples)
                for place, slot, decoded in zip(done.places, done.slots, done.decoded, strict=True):
                    heard[place] = self._heard_at_end(self._slots[slot], decoded)
        return [heard[place] for place in range(len(rests))]

    def warm_up(self) -> Mapping[int, float]:
        """Step every batch size with first and later chunks, and finish. The slots must be free."""
        took_ms: dict[int, float] = {}
        for size in range(1, min(self.max_batch, self.slots) + 1):
            for slot in range(size):
                self.open(slot, "")
            first = [SlotAudio(slot, bytes(self.first_bytes)) for slot in range(size)]
            later = [SlotAudio(slot, bytes(self.chunk_bytes)) for slot in range(size)]
            self.step(first)
            times = [_time_ms(lambda later=later: self.step(later)) for _ in range(_WARM_ROUNDS)]  # type: ignore[misc]
            took_ms[size] = min(times)
            self.finish(later[:1])
            for slot in range(size):
                self.free(slot)
        # NeMo leaves a million objects that live as long as the process. Scanning them would take a tick or two.
        gc.collect()
        gc.freeze()
        return took_ms

    def close(self) -> None:
        self._slots.clear()
        gc.unfreeze()
        del self._memory, self._model, self._decoder

    def _groups(self, audio: Sequence[SlotAudio]) -> list[tuple[list[int], bool]]:
        """Split a batch by shape: streams at their first chunk, and the others."""
        firsts = [place for place, item in enumerate(audio) if self._slots[item.slot].is_first]
        others = [place for place, item in enumerate(audio) if not self._slots[item.slot].is_first]
        return [(places, is_first) for places, is_first in ((firsts, True), (others, False)) if places]

    def _hear(self, audio: Sequence[SlotAudio], places: list[int], is_first: bool, silence: int) -> _Pass:
        """Encode and decode the audio at `places`, followed by `silence` samples, without storing anything."""
        slots = [audio[place].slot for place in places]
        sizes = [len(audio[place].pcm_16k) // SAMPLE_BYTES + silence for place in places]
        chunks = [self._geometry.chunks_for(size, is_first=is_first) for size in sizes]
        samples = self._samples([audio[place] for place in places], max(chunks), is_first)
        past = self._memory.take(slots, self._geometry.outputs_for(max(chunks), is_first=is_first))
        encoded, after = self._model.encode(samples, past, is_first=is_first)
        outputs = [self._geometry.outputs_for(count, is_first=is_first) for count in chunks]
        decoded = self._decoder.decode(encoded, outputs, [self._slots[slot].decoder_state for slot in slots])
        return _Pass(places, slots, after, decoded, outputs)

    def _samples(self, audio: Sequence[SlotAudio], chunks: int, is_first: bool) -> Any:
        """Lay out each stream's kept samples, its audio, and silence up to the end of the chunks."""
        kept = 0 if is_first else self._geometry.kept_samples
        size = kept + self._geometry.samples_for(chunks, is_first=is_first)
        samples = np.zeros((len(audio), size), np.int16)
        for row, item in zip(samples, audio, strict=True):
            if kept:
                row[:kept] = self._slots[item.slot].tail
            new = np.frombuffer(item.pcm_16k, "<i2")
            row[kept : kept + new.size] = new
        return torch.from_numpy(samples).to(torch.float32).mul_(1 / 32768)

    def _keep(self, audio: Sequence[SlotAudio], done: _Pass) -> None:
        self._memory.put(done.slots, done.after)
        kept_bytes = self._geometry.kept_samples * SAMPLE_BYTES
        for place, slot, decoded, outputs in zip(done.places, done.slots, done.decoded, done.outputs, strict=True):
            stream = self._slots[slot]
            stream.tail = np.frombuffer(audio[place].pcm_16k[-kept_bytes:], "<i2")
            stream.decoder_state = decoded.state
            self._write(stream, decoded)
            stream.outputs += outputs

    def _write(self, stream: _Slot, decoded: Decoded) -> None:
        if decoded.tokens and stream.said.extend(_shifted(decoded.tokens, stream.outputs), self._decoder.vocabulary):
            stream.ended_outputs = -1
        if decoded.tokens or decoded.open or stream.has_open:
            stream.written.write(stream.said.words)
            stream.guess = stream.said.copy()
            stream.guess.extend(_shifted(decoded.open, stream.outputs), self._decoder.vocabulary)
            stream.has_open = bool(decoded.open)
            stream.heard = Heard(*stream.written.preview(stream.guess.words))

    def _heard(self, slot: int) -> Heard:
        stream = self._slots[slot]
        return replace(stream.heard, ends_utterance=True) if self._has_ended(stream) else stream.heard

    def _heard_at_end(self, stream: _Slot, decoded: Decoded) -> Heard:
        said = stream.said.copy()
        is_end = said.extend(_shifted(decoded.tokens, stream.outputs), self._decoder.vocabulary)
        said.extend(_shifted(decoded.open, stream.outputs), self._decoder.vocabulary)
        text, stable = stream.written.preview(said.words)
        return Heard(text, stable, is_end, said.timed(self._geometry.frame_ms))

    def _has_ended(self, stream: _Slot) -> bool:
        """Return once per utterance whether it has ended, by the model's own piece or by silence after words."""
        if stream.ended_outputs < 0:
            stream.ended_outputs = stream.outputs
            return True
        last = stream.guess.last_frame
        silent = stream.outputs - 1 - last
        if self._end_outputs and last >= stream.ended_outputs and silent >= self._end_outputs:
            stream.ended_outputs = stream.outputs
            return True
        return False


def _shifted(tokens: Sequence[Token], outputs: int) -> list[Token]:
    """Convert the frames of pieces from relative to the step to relative to the stream."""
    return [Token(token.piece, token.frame + outputs, token.confidence) for token in tokens]


def _time_ms(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1000
