"""A language model of a few sentences, for the word pieces of the small random models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from ingest_jobs.speech.language_model.kneser_ney import estimate, write_arpa

ORDER = 4


def save_language(path: Path, tokenizer: Path, sentences: Sequence[str]) -> Path:
    """Write an ARPA file as NeMo's scripts name the pieces."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer / "tokenizer.model"))
    count = pieces.get_piece_size()
    model = estimate([pieces.encode(text) for text in sentences], count, ORDER, min_counts=[1])
    with path.open("w", encoding="utf-8") as file:
        write_arpa(model, file, [chr(100 + piece) for piece in range(count)])
    return path
