"""Passages: within the limit, in order, nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_jobs.knowledge.read.chunking import count_words, passages_of
from ingest_jobs.knowledge.read.dataset import ChunkingRule
from pipelines.language.en.sentences import sentences

pytestmark = pytest.mark.unit

WORDS = st.lists(st.sampled_from(["Tents", "cost", "more.", "Is", "it", "9", "x" * 10]), min_size=1, max_size=120)


def passages(text: str, most: int, overlap: int) -> list[str]:
    return list(passages_of(text, ChunkingRule(max_tokens=most, overlap_tokens=overlap), count_words))


def test_long_text_is_cut_between_sentences_and_the_last_ones_come_again() -> None:
    text = " ".join(f"Sentence number {n} has exactly seven words." for n in range(10))
    found = passages(text, 21, 7)
    assert found[0].endswith("Sentence number 2 has exactly seven words.")
    assert found[1].startswith("Sentence number 2 has exactly seven words.")
    assert passages(text, 21, 0)[1].startswith("Sentence number 3")


def test_endless_sentence_is_cut_at_words_and_an_endless_word_by_characters() -> None:
    assert [len(p.split()) for p in passages(" ".join(["word"] * 43), 20, 8)] == [20, 20, 3]
    by_characters = passages_of("y" * 50, ChunkingRule(max_tokens=16, overlap_tokens=0), len)
    assert [len(passage) for passage in by_characters] == [16, 16, 16, 2]


def test_word_that_is_one_token_to_the_model_is_cut_all_the_same() -> None:
    found = list(passages_of("z" * 10_000, ChunkingRule(max_tokens=512, overlap_tokens=0), lambda _: 1))
    assert "".join(found).replace(" ", "") == "z" * 10_000
    assert max(len(passage) for passage in found) < 6000


@given(WORDS, st.integers(16, 40), st.integers(0, 30))
def test_passages_are_short_and_without_overlap_they_are_the_text(words: list[str], most: int, overlap: int) -> None:
    text = " ".join(words)
    assert all(count_words(passage) <= most for passage in passages(text, most, overlap))
    assert " ".join(passages(text, most, 0)).split() == text.split()


@given(WORDS, st.integers(16, 40), st.integers(0, 30))
def test_every_short_sentence_is_whole_in_some_passage(words: list[str], most: int, overlap: int) -> None:
    found = passages(" ".join(words), most, overlap)
    for sentence in sentences(" ".join(words)):
        if count_words(sentence) <= most:
            assert any(sentence in passage for passage in found)
