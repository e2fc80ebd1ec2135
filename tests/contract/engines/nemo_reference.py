"""What NeMo itself makes of a whole recording in one pass, and a stepper driven chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deployments.engines.nemo import NemoSettings, TenantPhrases
from deployments.engines.nemo.prefix_beam import BeamHabits
from deployments.engines.nemo.recognizer import make_stepper
from deployments.engines.nemo.stepper import NemoStepper, StepperLimits
from deployments.engines.nemo.token_text import Token, TokenText
from deployments.engines.streaming.chunk_stepper import SlotAudio
from deployments.engines.streaming.schedule import ScheduleLimits, StreamSchedule
from deployments.engines.streaming.ticks import StreamTicks
from pipelines.hearing.link import StreamHeard, StreamResult

FLUSH_MS = 400
SMALL = StepperLimits(slots=8, max_batch=4, flush_ms=FLUSH_MS, digits=False)


def noise(seconds: float, *, seed: int = 0, level: float = 3000.0) -> bytes:
    rng = np.random.default_rng(seed)
    loudness = np.abs(np.sin(np.linspace(0, seconds * 3 + seed, round(seconds * 16_000))))
    return bytes((rng.normal(0.0, level, loudness.size) * loudness).clip(-32768, 32767).astype("<i2").tobytes())


def stepper_of(
    path: Path, limits: StepperLimits = SMALL, beam: BeamHabits | None = None, **settings: Any
) -> NemoStepper:
    # Not validated: models of random weights need weights that nobody else may ask for.
    asked = NemoSettings(device="cpu").model_copy(update=settings)
    return make_stepper(path, asked, limits, beam)


def phrases_of(**by_tenant: tuple[str, ...]) -> tuple[TenantPhrases, ...]:
    return tuple(TenantPhrases(tenant=tenant, phrases=phrases) for tenant, phrases in by_tenant.items())


def ticks_of(stepper: NemoStepper) -> tuple[StreamSchedule, StreamTicks]:
    limits = ScheduleLimits(stepper.first_bytes, stepper.chunk_bytes, stepper.slots, stepper.max_batch, gather_ms=0)
    schedule = StreamSchedule(limits)
    return schedule, StreamTicks(stepper, schedule)


def settle(schedule: StreamSchedule, ticks: StreamTicks) -> dict[int, list[StreamResult]]:
    results: dict[int, list[StreamResult]] = {}
    while schedule.wait_ms(0) is not None:
        ticks.run(lambda: 0)
        for link, told in ticks.take_results().items():
            results.setdefault(link, []).extend(told)
    return results


def last_finish(results: Sequence[StreamResult], stream: int) -> StreamHeard:
    finishes = [r for r in results if isinstance(r, StreamHeard) and r.stream == stream and r.finish is not None]
    return finishes[-1]


def settled_text(results: Sequence[StreamResult]) -> str:
    """Return what was settled at the end; every result must begin with what was settled before it."""
    settled = ""
    for heard in results:
        assert isinstance(heard, StreamHeard)
        assert heard.text.startswith(settled)
        settled = heard.text[: heard.stable_chars]
    return settled


def chunked_log_probs(stepper: NemoStepper, pcm: bytes) -> torch.Tensor:
    """Encode a recording chunk by chunk in slot 3 and return the CTC log probabilities, [frames, labels]."""
    model, memory = stepper._model, stepper._memory
    geometry = model.geometry
    samples = torch.from_numpy(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768)[None]
    outputs, place = [], 0
    with torch.inference_mode():
        memory.clear(3)
        while place + geometry.samples_for(1, is_first=not place) <= samples.shape[1]:
            is_first = place == 0
            end = place + geometry.samples_for(1, is_first=is_first)
            piece = samples[:, place - (0 if is_first else geometry.kept_samples) : end]
            past = memory.take([3], geometry.outputs_for(1, is_first=is_first))
            encoded, after = model.encode(piece, past, is_first=is_first)
            memory.put([3], after)
            outputs.append(encoded)
            place = end
        head = getattr(model.network, "ctc_decoder", None) or model.network.decoder
        return head(encoder_output=torch.cat(outputs, dim=2))[0]


class OnePass:
    """NeMo's own model, features and attention over a whole recording, in the attention context of a chunk size."""

    def __init__(self, path: Path, chunk_ms: int) -> None:
        from nemo.collections.asr.models import ASRModel

        self.network = ASRModel.restore_from(str(path), map_location="cpu")
        self.network.encoder.set_default_att_context_size([70, chunk_ms // 80 - 1])
        self.network.preprocessor.featurizer.dither = 0.0
        self.network.eval()

    def encoded(self, pcm: bytes) -> torch.Tensor:
        """Return [1, width, frames]; the last ones have heard the end of the recording as silence."""
        samples = torch.from_numpy(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768)[None]
        with torch.inference_mode():
            features, length = self.network.preprocessor(input_signal=samples, length=torch.tensor([samples.shape[1]]))
            encoded, _ = self.network.encoder(audio_signal=features, length=length)
        return encoded

    def log_probs(self, pcm: bytes) -> torch.Tensor:
        head = getattr(self.network, "ctc_decoder", None) or self.network.decoder
        with torch.inference_mode():
            return head(encoder_output=self.encoded(pcm))[0]

    def ctc_words(self, pcm: bytes, frames: int) -> list[str]:
        """Return the words of the greedy path through the first `frames` outputs."""
        head = getattr(self.network, "ctc_decoder", None) or self.network.decoder
        labels = self.log_probs(pcm)[:frames].argmax(dim=-1).tolist()
        blank, last, tokens = len(head.vocabulary), len(head.vocabulary), []
        for frame, label in enumerate(labels):
            if label not in (blank, last):
                tokens.append(Token(label, frame, 1.0))
            last = label
        text = TokenText()
        text.extend(tokens, head.vocabulary)
        return text.words

    def rnnt_words(self, pcm: bytes, frames: int) -> list[str]:
        """Return the words of NeMo's greedy RNN-T search over the first `frames` outputs."""
        encoded = self.encoded(pcm)[:, :, :frames]
        (found,) = self.network.decoding.rnnt_decoder_predictions_tensor(
            encoded, torch.tensor([encoded.shape[2]]), return_hypotheses=True
        )
        text = TokenText()
        pieces = [int(piece) for piece in found.y_sequence]
        text.extend([Token(piece, 0, 1.0) for piece in pieces], self.network.joint.vocabulary)
        return text.words


def frames_of_finish(stepper: NemoStepper, pcm: bytes) -> int:
    """Return how many outputs a finish after `pcm` covers: its chunks and the silence it assumes."""
    geometry = stepper._geometry
    samples = len(pcm) // 2
    taken, chunks = 0, 0
    while taken + geometry.samples_for(1, is_first=not chunks) <= samples:
        taken += geometry.samples_for(1, is_first=not chunks)
        chunks += 1
    more = geometry.chunks_for(samples - taken + FLUSH_MS * 16, is_first=not chunks)
    return geometry.outputs_for(chunks + more, is_first=True)


def slot_audio(stepper: NemoStepper, slot: int, pcm: bytes, *, is_first: bool) -> SlotAudio:
    return SlotAudio(slot, pcm[: stepper.first_bytes if is_first else stepper.chunk_bytes])
