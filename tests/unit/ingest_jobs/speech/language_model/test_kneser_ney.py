from __future__ import annotations

import io
import random
import re

import pytest

from ingest_jobs.speech.language_model.kneser_ney import BEGIN, END, estimate, write_arpa

pytestmark = pytest.mark.unit

SYMBOLS = 6


def sentences(count: int = 300) -> list[list[int]]:
    """Symbols 0 to 3, every second one more often 0; 4 and 5 are never said."""
    rng = random.Random(1)
    return [
        [rng.choice([0, 0, 1, 2, 3]) if place % 2 else rng.randrange(4) for place in range(rng.randrange(1, 8))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("min_counts", [[1], [1, 1, 2, 3]])
@pytest.mark.parametrize("history", [(), (BEGIN,), (0,), (1, 2), (BEGIN, 3), (0, 1, 2), (5, 5, 5), (9, 3, 1)])
def test_what_may_follow_a_history_sums_to_one(min_counts: list[int], history: tuple[int, ...]) -> None:
    model = estimate(sentences(), SYMBOLS, 4, min_counts=min_counts)
    every = [model.probability(history, symbol) for symbol in (*range(SYMBOLS), END)]
    assert sum(every) == pytest.approx(1.0)
    assert min(every) > 0


def test_what_was_seen_is_likelier_and_rare_sequences_are_left_out() -> None:
    said = [[0, 1, 2]] * 9 + [[0, 1, 3]]
    model = estimate(said, SYMBOLS, 3, min_counts=[1, 1, 2])
    assert model.probability((0, 1), 2) > 0.8
    assert model.probability((0, 1), 3) > model.probability((0, 1), 4)
    assert (0, 1, 2) in model.probabilities[2]
    assert (0, 1, 3) not in model.probabilities[2]


def test_what_follows_many_is_likelier_elsewhere_than_what_follows_one() -> None:
    """Kneser and Ney's point: 3 is said as often as 2, but only ever after 1."""
    said = [[0, 2], [4, 2], [5, 2], [1, 3], [1, 3], [1, 3]]
    model = estimate(said, SYMBOLS, 2, min_counts=[1])
    assert model.probability((3,), 2) > model.probability((3,), 3)


def test_no_sentence_is_an_error() -> None:
    with pytest.raises(ValueError, match="no sentence"):
        estimate([], SYMBOLS, 3, min_counts=[1])


def test_arpa_has_the_counts_it_says_and_the_probabilities_of_the_model() -> None:
    model = estimate(sentences(), SYMBOLS, 3, min_counts=[1, 1, 2])
    file = io.StringIO()
    write_arpa(model, file, [f"s{symbol}" for symbol in range(SYMBOLS)])
    head, *sections = re.split(r"\n\\\d-grams:\n", file.getvalue().removesuffix("\n\\end\\\n"))
    said = [int(count) for count in re.findall(r"ngram \d=(\d+)", head)]
    assert said == [len(section.splitlines()) for section in sections]
    first = dict(reversed(line.split("\t")[:2]) for line in sections[0].splitlines())
    assert 10 ** float(first["s0"]) == pytest.approx(model.probability((), 0), rel=1e-3)
    assert set(first) == {"<s>", "</s>", "<unk>", *(f"s{symbol}" for symbol in range(SYMBOLS))}
    pairs = {fields[1]: fields for fields in (line.split("\t") for line in sections[1].splitlines())}
    assert 10 ** float(pairs["<s> s1"][0]) == pytest.approx(model.probability((BEGIN,), 1), rel=1e-3)
    assert 10 ** float(pairs["s0 s1"][2]) == pytest.approx(model.backoffs[1][(0, 1)], rel=1e-3)
