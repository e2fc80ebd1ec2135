"""Aligns the written words of a sentence with the phonemes that a voice speaks.

The phonemizer joins some words ("of the") and splits others ("1042"), so its spaces do not mark words. Each word's own
phoneme count gives its expected share, and its end is then moved to a space nearby if there is one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

_SNAP_PHONEMES = 4


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """The token with number `token` covers phonemes `first` to `end` (exclusive) of its sentence."""

    token: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class PhonemeTiming:
    """Start of every phoneme of a sentence in ms, followed by the end of the last one."""

    starts_ms: tuple[float, ...]

    @classmethod
    def of(cls, frames: Sequence[float] | Any, spans: Sequence[tuple[int, int]], frame_ms: float) -> PhonemeTiming:
        """Sum the frames of the phoneme ids up to each phoneme, which covers a span of ids."""
        ends = [0.0, *accumulate(float(count) for count in frames)]
        starts = [ends[start] * frame_ms for start, _ in spans]
        return cls((*starts, ends[spans[-1][1]] * frame_ms if spans else 0.0))

    def ms_at(self, phoneme: int) -> float:
        """Return when a phoneme starts, in ms."""
        return self.starts_ms[min(phoneme, len(self.starts_ms) - 1)]


def align_words(sentences: Sequence[Sequence[str]], weights: Sequence[int]) -> list[list[AlignedWord]]:
    """Return the words of each sentence.

    Args:
        sentences: the phonemes of each sentence, with " " between the phonemizer's own words.
        weights: for each token, how many phonemes it has when spoken alone.
    """
    lengths = [len(sentence) for sentence in sentences]
    total = sum(lengths)
    scale = total / max(1, sum(weights))
    flat = [phoneme for sentence in sentences for phoneme in sentence]
    offsets = [0, *accumulate(lengths)]
    breaks = sorted({*offsets, *(index + 1 for index, phoneme in enumerate(flat) if phoneme == " ")})
    aligned: list[list[AlignedWord]] = [[] for _ in sentences]
    start = 0
    for token, expected in enumerate(accumulate(weight * scale for weight in weights)):
        end = total if token == len(weights) - 1 else max(start, min(total, _snap(expected, breaks)))
        sentence = max(0, bisect_left(offsets, start + 1) - 1) if start < total else len(sentences) - 1
        last = offsets[sentence + 1]
        if sentences and end > start:
            aligned[sentence].append(AlignedWord(token, start - offsets[sentence], min(end, last) - offsets[sentence]))
        start = end
    return aligned


def _snap(expected: float, breaks: Sequence[int]) -> int:
    nearest = min(breaks, key=lambda position: abs(position - expected))
    return nearest if abs(nearest - expected) <= _SNAP_PHONEMES else round(expected)
