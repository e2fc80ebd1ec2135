"""A flat start: at first, every frame of the speech is told its word piece, as if all letters were equally long.

CTC has to find out by itself which frame says what, and for thousands of updates a small model answers with blanks
only. An even spread is wrong by a few frames, which is close enough to learn what pieces sound like; then it fades, and
CTC moves the pieces to where they belong. (Hidden Markov models have long been begun like this.)
"""

from __future__ import annotations

from typing import Any

import torch

from ingest_jobs.speech_training.batches import Batch
from ingest_jobs.speech_training.model import FRAME_MS

_FRAME_SAMPLES = FRAME_MS * 16
# A causal encoder knows a sound when it has passed.
_DELAY_FRAMES = 1
_UNTIL = 0.35


def guidance_at(spent: float) -> float:
    """Return the weight of the even spread (1 to 0) at a share of the budget."""
    return max(0.0, 1.0 - spent / _UNTIL)


def even_labels(batch: Batch, lengths: torch.Tensor, tokenizer: Any, blank: int) -> torch.Tensor:
    """Return the piece of each frame, int64 [B, frames]: blank outside of the speech, -1 beyond the recording."""
    labels = torch.full((len(lengths), int(lengths.max())), -1, dtype=torch.int64)
    for row, (length, place) in enumerate(zip(lengths.tolist(), batch.places, strict=True)):
        labels[row, :length] = blank
        ids = batch.targets[row, : int(batch.pieces[row])]
        sizes = torch.tensor(
            [max(1, len(piece)) for piece in tokenizer.ids_to_tokens(ids.tolist())], dtype=torch.float64
        )
        ends = torch.cumsum(sizes, 0) / sizes.sum()
        start, end = (each / _FRAME_SAMPLES + _DELAY_FRAMES for each in place)
        first, last = int(start), min(length, round(end))
        at = (torch.arange(first, last, dtype=torch.float64) + 0.5 - start) / max(1e-6, end - start)
        labels[row, first:last] = ids[torch.searchsorted(ends, at.clamp(0, 1 - 1e-9)).clamp(max=len(ids) - 1)]
    return labels


def guided_loss(log_probs: torch.Tensor, lengths: torch.Tensor, batch: Batch, tokenizer: Any) -> torch.Tensor:
    """Return the cross entropy with the even spread, of [B, frames, pieces + blank]; summed over frames, mean of B."""
    labels = even_labels(batch, lengths, tokenizer, log_probs.shape[-1] - 1)
    flat = log_probs[:, : labels.shape[1]].reshape(-1, log_probs.shape[-1])
    return torch.nn.functional.nll_loss(flat, labels.view(-1), ignore_index=-1, reduction="sum") / len(lengths)
