"""How recognised words are written: joined by spaces, spoken numbers as digits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines.text.spoken_numbers import digits_for_words


def writer(*, digits: bool) -> Callable[[Sequence[str]], tuple[str, int]]:
    """Return what makes text of words, and says how long the prefix is that further words do not change."""
    return _write_digits if digits else _write_words


def _write_words(words: Sequence[str]) -> tuple[str, int]:
    text = " ".join(words)
    return text, len(" ".join(words[:-1]))


def _write_digits(words: Sequence[str]) -> tuple[str, int]:
    text = digits_for_words(" ".join(words))
    return text, 0
