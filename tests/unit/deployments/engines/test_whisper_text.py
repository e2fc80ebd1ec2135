from __future__ import annotations

import numpy as np
import pytest

from deployments.engines.whisper.recognizer import cut_loop, cut_repetition, has_sound, split_at_quiet

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("decoded", "said"),
    [
        ("Where is my order? Where is my", "Where is my order?"),
        ("Yes. Yes. Yes.", "Yes."),
        ("is their a discount. Is their a", "is their a discount."),
        ("What is the price of the Larkspur? What is the price of the L", "What is the price of the Larkspur?"),
        ("No, no, no.", "No, no, no."),
        ("It broke. What should I do? What should I do?", "It broke. What should I do?"),
        ("Where is my order?", "Where is my order?"),
        ("I had a tent that had a hole", "I had a tent that had a hole"),
        ("", ""),
    ],
)
def test_what_a_decoder_says_again_is_cut(decoded: str, said: str) -> None:
    assert cut_repetition(decoded) == said


@pytest.mark.parametrize(
    ("decoded", "said"),
    [
        ([7, 8, 13, 15, 13, 15, 13, 15, 13, 15, 13, 15], [7, 8, 13, 15]),
        ([7, 5, 5, 5, 5, 5], [7, 5]),
        ([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3], [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]),
        ([5, 5, 5, 5, 5, 7], [5, 5, 5, 5, 5, 7]),
        ([7, 5, 5, 5], [7, 5, 5, 5]),
        ([], []),
    ],
)
def test_loop_at_the_end_is_cut_to_one_round(decoded: list[int], said: list[int]) -> None:
    assert cut_loop(decoded) == said


def test_silence_and_hiss_have_no_sound_and_speech_level_has() -> None:
    rng = np.random.default_rng(0)
    assert not has_sound(np.zeros(0, np.int16))
    assert not has_sound(rng.normal(0, 100, 16_000).astype(np.int16))
    assert has_sound(rng.normal(0, 1000, 1600).astype(np.int16))


def test_long_audio_is_cut_where_it_is_quiet_and_nothing_is_lost() -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 16_000 * 10).astype(np.int16)
    samples[16_000 * 4 : 16_000 * 4 + 3200] = 0
    pieces = split_at_quiet(samples, longest_s=6.0)
    assert abs(pieces[0].size - (16_000 * 4 + 1600)) <= 1600
    assert all(piece.size <= 16_000 * 6 for piece in pieces)
    assert np.array_equal(np.concatenate(pieces), samples)
