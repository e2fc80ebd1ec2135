from __future__ import annotations

import pytest

from deployments.engines.nemo.token_text import Token, TokenText
from pipelines.hearing.link import HeardWord

pytestmark = pytest.mark.unit

VOCABULARY = ["<unk>", "▁ce", "dar", "▁", "s", "▁oak", ".", "<EOU>"]


def tokens(*pieces: str, first_frame: int = 0) -> list[Token]:
    return [Token(VOCABULARY.index(piece), first_frame + at, 0.5 + at / 10) for at, piece in enumerate(pieces)]


def test_pieces_make_words_with_times_and_confidence() -> None:
    text = TokenText()
    assert not text.extend(tokens("▁ce", "dar", "▁oak", "."), VOCABULARY)
    assert text.words == ["cedar", "oak."]
    assert text.timed(80) == (HeardWord("cedar", 0, 160, 0.55), HeardWord("oak.", 160, 320, 0.75))
    assert text.timed(80, since=1)[0].text == "oak."


def test_a_lone_word_mark_begins_the_word_of_the_next_piece() -> None:
    text = TokenText()
    text.extend(tokens("▁ce", "▁", "s"), VOCABULARY)
    assert text.words == ["ce", "s"]
    assert text.timed(80)[1].start_ms == 160


def test_control_pieces_are_no_text_and_the_end_of_an_utterance_is_said() -> None:
    text = TokenText()
    assert text.extend(tokens("<unk>", "▁oak", "<EOU>"), VOCABULARY)
    assert (text.words, text.last_frame) == (["oak"], 1)


def test_a_first_piece_without_a_mark_is_a_word() -> None:
    text = TokenText()
    text.extend(tokens("dar"), VOCABULARY)
    assert text.words == ["dar"]


def test_a_copy_grows_alone() -> None:
    text = TokenText()
    text.extend(tokens("▁oak", "▁ce"), VOCABULARY)
    trial = text.copy()
    trial.extend(tokens("dar", "▁oak", first_frame=5), VOCABULARY)
    assert trial.words == ["oak", "cedar", "oak"]
    assert (text.words, text.last_frame, len(text)) == (["oak", "ce"], 1, 2)
