from __future__ import annotations

import pytest
import torch

from ingest_jobs.speech_training.batches import Batch
from ingest_jobs.speech_training.flat_start import even_labels, guidance_at, guided_loss

pytestmark = pytest.mark.unit

FRAME = 1280
BLANK = 9


class Pieces:
    """Piece 1 has one letter, piece 2 three."""

    def ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [{1: "a", 2: "bcd"}[each] for each in ids]


def batch() -> Batch:
    targets = torch.tensor([[1, 2], [2, 0]])
    audio = torch.zeros(2, 10 * FRAME)
    places = ((2 * FRAME, 6 * FRAME), (0, 3 * FRAME))
    return Batch(audio, torch.tensor([10 * FRAME, 5 * FRAME]), targets, torch.tensor([2, 1]), ("x", "y"), places)


def test_pieces_get_frames_by_their_letters_one_frame_late_and_silence_is_blank() -> None:
    labels = even_labels(batch(), torch.tensor([10, 5]), Pieces(), BLANK)
    assert labels[0].tolist() == [BLANK] * 3 + [1, 2, 2, 2] + [BLANK] * 3
    assert labels[1].tolist() == [BLANK, 2, 2, 2, BLANK] + [-1] * 5


def test_loss_is_least_for_the_even_spread_and_ignores_what_is_beyond_the_recording() -> None:
    labels = even_labels(batch(), torch.tensor([10, 5]), Pieces(), BLANK)
    right = torch.nn.functional.one_hot(labels.clamp(min=0), BLANK + 1).float() * 20
    log_probs = right.log_softmax(-1)
    assert float(guided_loss(log_probs, torch.tensor([10, 5]), batch(), Pieces())) < 1e-3
    log_probs[1, 5:] = -50.0
    assert float(guided_loss(log_probs, torch.tensor([10, 5]), batch(), Pieces())) < 1e-3
    log_probs[0, 4, 2] = -8.0
    assert float(guided_loss(log_probs, torch.tensor([10, 5]), batch(), Pieces())) == pytest.approx(4.0, abs=0.01)


def test_guidance_fades_to_nothing() -> None:
    assert guidance_at(0.0) == 1.0
    assert 0 < guidance_at(0.2) < 0.5
    assert guidance_at(0.35) == guidance_at(1.0) == 0.0
