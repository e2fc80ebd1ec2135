"""Sentences beyond the grammar: the company's own texts, documentation of packages, and word lists.

A recogniser that has heard only templates is deaf to everything else. All sources are already on the machine and
permissively licensed: the sample data, docstrings (`measuring.retrieval.docstrings`), and the word pieces of the
sentence encoder (BERT's vocabulary, Apache-2.0), which lists the common English words by frequency.
"""

from __future__ import annotations

import html
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest_jobs.measuring.retrieval.docstrings import documented_objects
from ingest_jobs.speech.corpus.spoken_form import spoken

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
_TAG = re.compile(r"<style.*?</style>|<[^>]+>", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n+")
_PLAIN = re.compile(r"[A-Z][A-Za-z' ,;-]+[.?!]?")
_MIN_WORDS, _MAX_WORDS = 3, 16
# A word used by fewer package sentences than this is probably an identifier.
_MIN_USES = 4
_COMMON_WORDS = 9_000
_FUNCTION_WORDS = "the a of and to in is was for on with as by at from that this it his her their or not are be".split()


def company_sentences(rng: random.Random, folder: Path = SAMPLE_DATA) -> list[str]:
    """Return every sentence, product and order of the sample data in spoken form, without its questions."""
    return sorted({said for text in _company_texts(folder) for said in _pieces(spoken(text, rng))})


def company_questions(rng: random.Random, file: Path) -> list[str]:
    """Return the questions of a JSON Lines file in spoken form."""
    lines = file.read_text("utf-8").splitlines()
    return [spoken(json.loads(line)["question"], rng) for line in lines if line.strip()]


def package_sentences(rng: random.Random) -> list[str]:
    """Return documentation sentences made of commonly used words, in spoken form and in a stable order."""
    written = [
        sentence.strip()
        for each in documented_objects()
        for sentence in _SENTENCE_END.split(f"{each.summary}. {each.body}")
        if _PLAIN.fullmatch(sentence.strip())
    ]
    said = [spoken(sentence, rng) for sentence in written]
    uses = Counter(itertools.chain.from_iterable(set(sentence.split()) for sentence in said))
    kept = (
        sentence
        for sentence in said
        if _MIN_WORDS <= len(sentence.split()) <= _MAX_WORDS
        and all(uses[word] >= _MIN_USES for word in sentence.split())
    )
    return sorted(set(kept))


def common_words(vocabulary_file: Path) -> list[str]:
    """Return common whole words, most frequent first, from a word-piece vocabulary (one piece per line)."""
    pieces = vocabulary_file.read_text("utf-8").split()
    return [piece for piece in pieces if re.fullmatch(r"[a-z]{3,}", piece) and re.search("[aeiouy]", piece)][
        :_COMMON_WORDS
    ]


def word_salad(words: list[str], rng: random.Random) -> str:
    """Return four to nine random words, which put sounds into all contexts and cannot be guessed."""
    drawn = []
    for _ in range(rng.randint(3, 6)):
        if rng.random() < 0.4:
            drawn.append(rng.choice(_FUNCTION_WORDS))
        # Squaring makes common words more frequent while rare ones still occur.
        drawn.append(words[int(rng.random() ** 2 * len(words))])
    return " ".join(drawn)


def _company_texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".md", ".html"}:
            text = html.unescape(_TAG.sub("\n", path.read_text("utf-8"))).replace("#", "")
            yield from _SENTENCE_END.split(re.sub(r"(?<=\d)\. (?=[a-z])", " ", text))
        elif path.suffix == ".csv":
            yield from (piece for line in path.read_text("utf-8").splitlines()[1:] for piece in line.split(","))
        elif path.name == "orders.jsonl":
            for line in path.read_text("utf-8").splitlines():
                order = json.loads(line)
                yield f"{order['customer']} ordered {order['quantity']} {order['item']}"
                yield f"order {order['order_id']} {order['status_text']}"


def _pieces(said: str) -> Iterable[str]:
    words = said.split()
    return (" ".join(words[at : at + _MAX_WORDS]) for at in range(0, len(words), _MAX_WORDS))
