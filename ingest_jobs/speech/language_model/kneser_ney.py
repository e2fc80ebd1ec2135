"""An n-gram model by interpolated Kneser-Ney smoothing (Chen and Goodman, 1998), as an ARPA file.

Symbols are integers from 0; a sentence is read between `BEGIN` and `END`. No package estimates such models from Python.
KenLM's estimator is a separate program, whose ARPA files the recogniser can read as well.

Probabilities of the highest order come from counts. Those of lower orders come from the number of different symbols
that a sequence was seen to follow, because they are used where the longer history was never seen. The discount is
subtracted from every count, and the mass that this frees goes to the next lower order; that of the lowest order is
shared by all symbols equally.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

BEGIN, END = -1, -2
_UNKNOWN_LOG10 = -10.0
_NEVER_LOG10 = -99.0

NGram = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NGramModel:
    """Probabilities and back-off weights.

    Attributes:
        probabilities: for each order from 1, P(last | those before) of the sequences that were kept.
        backoffs: for each order, by history, the factor on the next lower order for symbols that were not kept after
            it.
    """

    probabilities: list[dict[NGram, float]]
    backoffs: list[dict[NGram, float]]

    def probability(self, history: NGram, symbol: int) -> float:
        """Return P(symbol | history), using as much of the history as the order allows."""
        longest = len(self.probabilities) - 1
        history = history[-longest:] if longest else ()
        weight = 1.0
        while True:
            found = self.probabilities[len(history)].get((*history, symbol))
            if found is not None:
                return weight * found
            if not history:
                return 0.0
            weight *= self.backoffs[len(history) - 1].get(history, 1.0)
            history = history[1:]


def estimate(
    sentences: Iterable[Sequence[int]], symbols: int, order: int, *, discount: float = 0.75, min_counts: Sequence[int]
) -> NGramModel:
    """Learn which symbol follows which.

    Args:
        symbols: number of symbols, each of which gets a probability.
        order: longest sequence, at least 1.
        discount: amount subtracted from each count, between 0 and 1.
        min_counts: minimum counts by order from 1, rising, of which the last applies to all further orders. Rarer
            sequences are left to the lower orders.

    Raises:
        ValueError: there is no sentence.
    """
    counts = _counted(sentences, order)
    if not counts[0]:
        raise ValueError("there is no sentence to learn from")
    least = [min_counts[min(at, len(min_counts) - 1)] for at in range(order)]
    kept = [{gram for gram, count in counts[at].items() if count >= least[at]} for at in range(order)]
    _continuations(counts)
    probabilities: list[dict[NGram, float]] = []
    for at in range(order):
        lower = probabilities[-1] if at else {}
        probabilities.append(_interpolated(counts[at], lower, discount, symbols))
    return _backed_off(probabilities, kept)


def write_arpa(model: NGramModel, file: TextIO, names: Sequence[str]) -> None:
    """Write the model as text. `names` are those of the symbols from 0."""
    said = {BEGIN: "<s>", END: "</s>"}
    tables = [dict(table) for table in model.probabilities]
    file.write("\\data\\\n")
    for at, table in enumerate(tables, start=1):
        # <s> and <unk> are among the unigrams.
        file.write(f"ngram {at}={len(table) + (2 if at == 1 else 0)}\n")
    for at, table in enumerate(tables, start=1):
        file.write(f"\n\\{at}-grams:\n")
        if at == 1:
            file.write(f"{_UNKNOWN_LOG10}\t<unk>\t0\n")
            file.write(f"{_NEVER_LOG10}\t<s>\t{_log10(model.backoffs[0].get((BEGIN,), 1.0)):.5f}\n")
        for gram in sorted(table):
            text = " ".join(said.get(symbol) or names[symbol] for symbol in gram)
            weight = f"\t{_log10(model.backoffs[at - 1].get(gram, 1.0)):.5f}" if at < len(tables) else ""
            file.write(f"{_log10(table[gram]):.5f}\t{text}{weight}\n")
    file.write("\n\\end\\\n")


def _counted(sentences: Iterable[Sequence[int]], order: int) -> list[Counter[NGram]]:
    """Return how often each sequence was seen, by order. A lone `BEGIN` is never said, so it is not counted."""
    counts: list[Counter[NGram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        said = (BEGIN, *sentence, END)
        for at, counter in enumerate(counts):
            first = 1 if at == 0 else 0
            counter.update(zip(*(said[first + shift :] for shift in range(at + 1)), strict=False))
    return counts


def _continuations(counts: list[Counter[NGram]]) -> None:
    """Replace the counts of lower orders with the number of preceding symbols. Nothing precedes `BEGIN`."""
    for at in range(len(counts) - 1):
        before: Counter[NGram] = Counter(gram[1:] for gram in counts[at + 1])
        counts[at] = Counter({gram: before[gram] if gram[0] != BEGIN else count for gram, count in counts[at].items()})


def _interpolated(
    counts: Counter[NGram], lower: dict[NGram, float], discount: float, symbols: int
) -> dict[NGram, float]:
    """Return P(last | history) for one order. The first order has every symbol and `END`."""
    totals: defaultdict[NGram, int] = defaultdict(int)
    kinds: defaultdict[NGram, int] = defaultdict(int)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        kinds[gram[:-1]] += 1
    if not lower:
        every = 1 / (symbols + 1)
        grams: Iterable[NGram] = [*((symbol,) for symbol in range(symbols)), (END,)]
    else:
        grams = counts
    found = {}
    for gram in grams:
        history = gram[:-1]
        rest = lower[gram[1:]] if lower else every
        found[gram] = (max(counts[gram] - discount, 0) + discount * kinds[history] * rest) / totals[history]
    return found


def _backed_off(probabilities: list[dict[NGram, float]], kept: list[set[NGram]]) -> NGramModel:
    """Drop what was not kept, and weight the lower orders so that the probabilities after a history sum to 1."""
    tables = [probabilities[0]]
    tables += [
        {gram: value for gram, value in table.items() if gram in names}
        for table, names in zip(probabilities[1:], kept[1:], strict=True)
    ]
    weights: list[dict[NGram, float]] = []
    for at in range(len(tables) - 1):
        following: defaultdict[NGram, list[NGram]] = defaultdict(list)
        for gram in tables[at + 1]:
            following[gram[:-1]].append(gram)
        shorter = NGramModel(tables[: at + 1], weights)
        weights.append({history: _weight(grams, tables[at + 1], shorter) for history, grams in following.items()})
    return NGramModel(tables, weights)


def _weight(grams: Sequence[NGram], table: dict[NGram, float], shorter: NGramModel) -> float:
    left = 1 - sum(table[gram] for gram in grams)
    lower = 1 - sum(shorter.probability(gram[1:-1], gram[-1]) for gram in grams)
    # Rounding may leave slightly less than zero for a history that everything has followed.
    return max(left, 1e-7) / max(lower, 1e-7)


def _log10(value: float) -> float:
    return math.log10(max(value, 1e-30))
