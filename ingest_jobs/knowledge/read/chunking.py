"""Cuts a section into passages of whole sentences, measured in tokens of the embedding model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from ingest_jobs.knowledge.read.dataset import ChunkingRule
from pipelines.language.en.sentences import sentences

CountTokens = Callable[[str], int]
# 512 tokens of this many bytes, a title, and the terms of both fit into the column's 8192 bytes.
_BYTES_A_TOKEN = 11


def token_counter(model_dir: Path) -> CountTokens:
    """Return a function that counts the tokens of a text for the model in `model_dir`, without special tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    @lru_cache(maxsize=4096)
    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count


def count_words(text: str) -> int:
    """Count words, which stand for tokens when the embedding is scripted."""
    return len(text.split())


def passages_of(text: str, rule: ChunkingRule, count: CountTokens) -> Iterator[str]:
    """Yield passages of at most `max_tokens`. At a cut, sentences of up to `overlap_tokens` are repeated.

    A single sentence that is longer than a passage is cut at words, without overlap.
    """
    count = _bounded(count)
    piece: list[tuple[str, int]] = []
    fresh = 0  # number of sentences in `piece` that are in no passage yet
    for sentence in sentences(text):
        for part in _short_enough(sentence, rule.max_tokens, count):
            size = count(part)
            if fresh and sum(n for _, n in piece) + size > rule.max_tokens:
                yield " ".join(words for words, _ in piece)
                piece, fresh = _overlap(piece, min(rule.overlap_tokens, rule.max_tokens - size)), 0
            piece.append((part, size))
            fresh += 1
    if fresh:
        yield " ".join(words for words, _ in piece)


def _bounded(count: CountTokens) -> CountTokens:
    """Count at least as many tokens as the text's bytes imply.

    A tokenizer sees one unknown token in a word of any length, and the columns of the store are limited.
    """
    return lambda text: max(count(text), -(-len(text.encode()) // _BYTES_A_TOKEN))


def _overlap(piece: list[tuple[str, int]], room: int) -> list[tuple[str, int]]:
    kept: list[tuple[str, int]] = []
    for sentence in reversed(piece[1:]):  # never repeat the whole passage
        if (room := room - sentence[1]) < 0:
            break
        kept.insert(0, sentence)
    return kept


def _short_enough(sentence: str, max_tokens: int, count: CountTokens) -> Iterator[str]:
    if count(sentence) <= max_tokens:
        yield sentence
        return
    words: list[str] = []
    size = 0
    for word in _short_words(sentence, max_tokens, count):
        tokens = count(word)
        if words and size + tokens > max_tokens:
            yield " ".join(words)
            words, size = [], 0
        words.append(word)
        size += tokens
    yield " ".join(words)


def _short_words(sentence: str, max_tokens: int, count: CountTokens) -> Iterator[str]:
    """Yield words. A word as long as a passage (a hash, or a line without spaces) is cut by characters."""
    for word in sentence.split():
        if len(word) <= max_tokens or count(word) <= max_tokens:
            yield word
        else:
            yield from (word[start : start + max_tokens] for start in range(0, len(word), max_tokens))
