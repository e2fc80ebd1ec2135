"""Makes a language model from texts. `voxray asr language-model` runs this module."""

from __future__ import annotations

import argparse
import gzip
import random
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece
from rich.console import Console
from rich.progress import track

from ingest_jobs.speech.corpus.spoken_form import spoken
from ingest_jobs.speech.language_model.kneser_ney import NGramModel, estimate, write_arpa

# NeMo represents a word piece by the character with this offset.
_FIRST_CHARACTER = 100
_SEED = 7


def main(arguments: list[str] | None = None) -> int:
    """Count, estimate and write the model, and return the exit code."""
    parsed = _parser().parse_args(arguments)
    out = Console(stderr=True)
    try:
        return _make(parsed, out)
    except KeyboardInterrupt:
        return 130
    except (ValueError, tarfile.TarError) as error:
        out.print(f"a file cannot be read: {error}", style="red", markup=False)
        return 2


def _make(parsed: argparse.Namespace, out: Console) -> int:
    missing = [str(path) for path in (*parsed.texts, parsed.model) if not path.is_file()]
    if missing:
        out.print(f"there is no file {', '.join(missing)}", style="red", markup=False)
        return 2
    pieces = word_pieces(parsed.model)
    texts = list(_texts_of(parsed.texts)) if parsed.texts else _sample_texts(parsed, out)
    if not texts:
        out.print("the texts contain no sentence", style="red")
        return 2
    encoded = (pieces.encode(text) for text in track(texts, "counting", console=out))
    with out.status("weighing"):
        model = estimate(
            encoded, pieces.get_piece_size(), parsed.order, min_counts=parsed.min_counts or _min_counts(parsed)
        )
        _write(model, pieces.get_piece_size(), parsed.out)
    sizes = ", ".join(str(len(table)) for table in model.probabilities)
    megabytes = parsed.out.stat().st_size / 1e6
    out.print(f"{parsed.out}: {len(texts)} sentences, {sizes} n-grams, {megabytes:.1f} MB", highlight=False)
    return 0


def _min_counts(parsed: argparse.Namespace) -> list[int]:
    """Keep all sequences of given texts, but drop rare ones from half a million drawn sentences to limit the file."""
    return [1] if parsed.texts else [1, 1, 2, 2, 3, 3]


def word_pieces(model: Path) -> sentencepiece.SentencePieceProcessor:
    """Return the word pieces of a `.nemo` file.

    Raises:
        ValueError: the file contains none.
    """
    with tarfile.open(model) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.name.endswith("tokenizer.model") else None
            if file is not None:
                return sentencepiece.SentencePieceProcessor(model_proto=file.read())
    raise ValueError(f"{model} holds no word pieces")


def _texts_of(files: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of text files in spoken form."""
    rng = random.Random(_SEED)
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            if said := spoken(line, rng):
                yield said


def _sample_texts(parsed: argparse.Namespace, out: Console) -> list[str]:
    from ingest_jobs.speech.corpus.plan import training_texts

    with out.status("drawing sentences of the sample company"):
        return training_texts(parsed.sentences, parsed.vocabulary, _SEED)


def _write(model: NGramModel, pieces: int, target: Path) -> None:
    """Write an ARPA file, or NeMo's format if the name does not end with .arpa."""
    names = [chr(_FIRST_CHARACTER + piece) for piece in range(pieces)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        arpa = Path(folder) / "model.arpa"
        with arpa.open("w", encoding="utf-8") as file:
            write_arpa(model, file, names)
        if target.suffix != ".arpa":
            _convert(arpa, pieces, Path(folder) / "model.nemo").replace(target)
        else:
            arpa.replace(target)


def _convert(arpa: Path, pieces: int, target: Path) -> Path:
    from deployments.engines.nemo.ngrams import load_ngrams

    load_ngrams(arpa, pieces).save_to(str(target))
    # Half of the data is zeros, and NeMo reads a compressed archive just as well.
    small = target.with_suffix(".gz")
    with (
        target.open("rb") as plain,
        small.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed,
    ):
        shutil.copyfileobj(plain, compressed)
    return small


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voxray asr language-model", description=__doc__)
    parser.add_argument("texts", type=Path, nargs="*", help="a sentence a line; without: those of the sample company")
    parser.add_argument("--model", type=Path, required=True, help="the recogniser's .nemo, for its word pieces")
    parser.add_argument("--out", type=Path, required=True, help="NeMo's format; .arpa for text")
    parser.add_argument("--order", type=int, default=6, help="longest sequence of word pieces")
    parser.add_argument("--min-counts", type=int, nargs="+", help="of sequences that are kept, by length from 1")
    parser.add_argument("--sentences", type=int, default=500_000, help="drawn of the sample company's callers")
    parser.add_argument("--vocabulary", type=Path, help="word pieces, one a line; for the sample company")
    return parser


if __name__ == "__main__":
    sys.exit(main())
