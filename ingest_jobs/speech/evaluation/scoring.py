"""Word error rate with its confidence interval, over all recordings and by tag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from kaldialign import edit_distance

_RESAMPLES = 1000
_SEED = 1


@dataclass(frozen=True, slots=True)
class Scored:
    """Errors of one recording against its reference."""

    wrong: int
    words: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """WER of a group with its 95% interval, where 0.05 is 5%. It can exceed 1 if many words are invented."""

    value: float
    low: float
    high: float
    recordings: int
    words: int


def score(reference: Sequence[str], heard: Sequence[str], tags: Mapping[str, str]) -> Scored:
    """Return the total of substitutions, deletions and insertions in one recording."""
    return Scored(int(edit_distance(list(reference), list(heard))["total"]), len(reference), tags)


def error_rate(scores: Sequence[Scored]) -> ErrorRate:
    """Return the WER of a group, with a bootstrap interval over recordings (Bisani and Ney, 2004)."""
    wrong = np.array([each.wrong for each in scores], float)
    words = np.array([each.words for each in scores], float)
    if not words.sum():
        return ErrorRate(0.0, 0.0, 0.0, len(scores), 0)
    picks = np.random.default_rng(_SEED).integers(len(scores), size=(_RESAMPLES, len(scores)))
    rates = wrong[picks].sum(axis=1) / np.maximum(1.0, words[picks].sum(axis=1))
    low, high = np.percentile(rates, (2.5, 97.5))
    return ErrorRate(float(wrong.sum() / words.sum()), float(low), float(high), len(scores), int(words.sum()))


def by_tag(scores: Sequence[Scored], tag: str) -> dict[str, ErrorRate]:
    """Return the WER of each value of a tag, leaving out recordings without the tag."""
    groups: dict[str, list[Scored]] = defaultdict(list)
    for each in scores:
        if tag in each.tags:
            groups[each.tags[tag]].append(each)
    return {value: error_rate(group) for value, group in sorted(groups.items())}
