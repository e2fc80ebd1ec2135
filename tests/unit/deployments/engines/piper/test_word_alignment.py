from __future__ import annotations

import pytest

from deployments.engines.piper.word_alignment import AlignedWord, PhonemeTiming, align_words

pytestmark = pytest.mark.unit


def test_words_end_at_the_spaces_that_lie_near() -> None:
    assert align_words([list("abc de")], [3, 2]) == [[AlignedWord(0, 0, 4), AlignedWord(1, 4, 6)]]


def test_words_that_run_together_share_their_phonemes() -> None:
    (words,) = align_words([list("abcdefghijklmnop")], [8, 8])
    assert words[0].end == words[1].first
    assert words[1].end == 16


def test_words_of_a_second_sentence_count_from_its_start() -> None:
    first, second = align_words([list("abcdef"), list("ghijkl")], [6, 6])
    assert first == [AlignedWord(0, 0, 6)]
    assert second == [AlignedWord(1, 0, 6)]


def test_nothing_spoken_has_no_words() -> None:
    assert align_words([], []) == []


def test_phoneme_starts_when_the_ids_before_it_have_sounded() -> None:
    timing = PhonemeTiming.of([1, 2, 3, 4], [(1, 3), (3, 4)], frame_ms=10.0)
    assert timing.starts_ms == (10.0, 60.0, 100.0)
    assert timing.ms_at(1) == 60.0
    assert timing.ms_at(99) == 100.0


def test_timing_of_no_phonemes_is_zero() -> None:
    assert PhonemeTiming.of([1], [], frame_ms=10.0).ms_at(0) == 0.0
