"""Learns the first words with a simple loop on one clear voice, until the encoder distinguishes sounds.

CTC gives an untrained model hardly any reason to emit anything but blanks. The simplest training was found to leave
that plateau: one voice, no distortion, one chunk length, few word pieces, full precision and a single process. The
resulting encoder starts the real training; its output layer is discarded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ingest_jobs.speech.training.batches import Batch, Recording, collate, grouped, is_easy, load, read_recordings
from ingest_jobs.speech.training.model import LOOK_AHEADS, ModelSize, build_model, train_pieces
from pipelines.audio.pcm import PCM_16K

UPDATES = 600
_PIECES = 96
_BATCH_SECONDS = 32.0
_RATE, _WARM_UP_UPDATES = 6e-4, 250
_CLIP_NORM = 1.0
_LEAD_SAMPLES, _TAIL_SAMPLES = PCM_16K.rate_hz // 10, PCM_16K.rate_hz * 2 // 5


def learn_first_words(
    corpus: Path,
    folder: Path,
    size: ModelSize,
    *,
    updates: int = UPDATES,
    seed: int = 1,
    on_update: Callable[[int, float], None] = lambda _update, _loss: None,
) -> dict[str, Any]:
    """Return the weights of an encoder (with features) that understands one voice, by name in the model.

    Args:
        corpus: folder with train.jsonl, of which the easy recordings are used, or all if there are none.
        folder: folder in which first-words/ receives the word pieces of this stage.
        on_update: called with (updates done, smoothed loss).
    """
    torch.manual_seed(seed)
    every = read_recordings(corpus / "train.jsonl")
    recordings = [each for each in every if is_easy(each)] or every
    size = replace(size, pieces=min(_PIECES, size.pieces))
    train_pieces((each.text for each in recordings), folder / "first-words", size.pieces)
    model = build_model(size, folder / "first-words")
    model.encoder.att_context_probs = [1.0] + [0.0] * (len(LOOK_AHEADS) - 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=1e-3)
    batches = _batches(recordings, model.tokenizer, np.random.default_rng(seed))
    loss = math.nan
    model.train()
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (update + 1) / _WARM_UP_UPDATES)
        value = _update(model, optimizer, next(batches))
        loss = value if math.isnan(loss) else 0.95 * loss + 0.05 * value
        on_update(update + 1, loss)
    return {name: value for name, value in model.state_dict().items() if not name.startswith("decoder")}


def _update(model: Any, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    log_probs, lengths, _ = model.forward(input_signal=batch.audio, input_signal_length=batch.samples)
    loss = model.loss(log_probs=log_probs, targets=batch.targets, input_lengths=lengths, target_lengths=batch.pieces)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)):
        optimizer.step()
    return float(loss.detach())


def _batches(recordings: Sequence[Recording], tokenizer: Any, rng: np.random.Generator) -> Iterator[Batch]:
    """Yield endless batches of recordings with similar lengths."""
    while True:
        for group in grouped(recordings, _BATCH_SECONDS, rng):
            audio = [np.pad(load(each), (_LEAD_SAMPLES, _TAIL_SAMPLES)) for each in group]
            yield collate(audio, [each.text for each in group], tokenizer)
