"""Makes the evaluation set: a folder of documents, and questions with the documents that answer them.

It has two parts, both without text of uncertain licence: the sample company's data with hand-written questions, and the
docstrings of installed packages (`docstrings.py`) with generated questions. Generated questions are of three kinds,
because each kind favours a different way of searching:

    purpose   the text's first sentence in other words: a table of synonyms                   favours meaning
    detail    the rarest words of one later sentence, with the name                           favours words
    name      the name alone, as people say it ("read csv")                                  favours words

Everything is selected by digests, so the same installed packages give the same set.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest_jobs.measuring.retrieval.docstrings import DocumentedObject, documented_objects
from pipelines.language.en.sentences import sentences
from pipelines.language.en.terms import content_words

DOCUMENTS = 2000
QUESTIONS_OF_KIND = 60
DATA_FOLDER, QUESTIONS_FILE = "data", "questions.jsonl"
_SAMPLE_QUESTIONS = ("questions.jsonl", "questions_heldout.jsonl")
_MAX_QUESTION_WORDS = 16
_DETAIL_WORDS = 3

# Everyday words that replace technical ones. None of them is in `language.en.terms`, which would undo the replacement.
_OTHER_WORDS = {
    "return": "give back", "returns": "gives back", "create": "make", "creates": "makes", "remove": "take away",
    "removes": "takes away", "delete": "erase", "deletes": "erases", "compute": "work out", "computes": "works out",
    "calculate": "work out", "calculates": "works out", "check": "find out", "checks": "finds out", "list": "sequence",
    "error": "failure", "string": "text", "number": "count", "raise": "throw", "raised": "thrown", "write": "save",
    "writes": "saves", "read": "load", "reads": "loads", "convert": "turn", "converts": "turns", "contains": "holds",
    "specified": "chosen", "given": "chosen", "multiple": "several", "execute": "run", "executes": "runs",
    "retrieve": "fetch", "retrieves": "fetches", "begin": "start", "begins": "starts", "apply": "use",
    "applies": "uses",
    "replace": "swap", "replaces": "swaps", "determine": "decide", "determines": "decides", "construct": "build",
    "constructs": "builds", "element": "item", "elements": "items", "specify": "choose", "specifies": "chooses",
    "initialize": "set up", "initializes": "sets up", "modify": "change", "modifies": "changes",
    "identical": "the same",
    "directory": "folder", "entire": "whole", "input": "incoming", "output": "resulting", "represents": "stands for",
    "representing": "standing for", "wait": "pause", "waits": "pauses", "generate": "produce", "generates": "produces",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MadeQuestion:
    """A generated question, with the source (a file below the data folder) of the document it was made from."""

    id: str
    kind: str
    question: str
    source: str


def make_evaluation_set(folder: Path, sample: Path, documents: int = DOCUMENTS) -> tuple[int, int]:
    """Write `folder/data` and `folder/questions.jsonl`, and return the numbers of documents and questions.

    An existing set in the folder is replaced. `sample` is the sample company's folder.
    """
    objects = documented_objects()[:documents]
    data = folder / DATA_FOLDER
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(sample, data)
    for each in objects:
        path = data / source_of(each)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {title_of(each)}\n\n{each.summary}. {each.body}\n", "utf-8")
    lines = [*_sample_lines(sample), *(_line(q) for q in made_questions(objects))]
    (folder / QUESTIONS_FILE).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return len(objects) + sum(1 for p in sample.rglob("*") if p.suffix in {".md", ".html"}), len(lines)


def source_of(each: DocumentedObject) -> str:
    return f"{each.package}/{each.module}.{each.name}.md"


def title_of(each: DocumentedObject) -> str:
    return f"{each.package} {each.spoken_name}"


def made_questions(objects: Sequence[DocumentedObject], of_kind: int = QUESTIONS_OF_KIND) -> list[MadeQuestion]:
    """Return at most `of_kind` questions of each kind, all about different objects."""
    rarity = _rarity(objects)
    # The digest differs from that of the documents' order, so that questions are spread over all documents.
    order = sorted(objects, key=lambda each: hashlib.sha256(f"ask {each.key}".encode()).hexdigest())
    makers = {"purpose": _purpose, "detail": lambda each: _detail(each, rarity), "name": _name}
    made: list[MadeQuestion] = []
    for position, (kind, maker) in enumerate(makers.items()):
        asked = [(each, maker(each)) for each in order[position :: len(makers)]]
        good = [(each, text) for each, text in asked if text][:of_kind]
        made += [MadeQuestion(f"{kind}{n:03}", kind, text, source_of(each)) for n, (each, text) in enumerate(good, 1)]
    return made


def _purpose(each: DocumentedObject) -> str:
    """Rephrase the first sentence as a question, or return "" if no synonyms are known or it says too little."""
    words = re.sub(r"\([^)]*\)|[^\w\s'-]", " ", each.summary.lower()).split()
    kept = [_OTHER_WORDS.get(word, word) for word in words][:_MAX_QUESTION_WORDS]
    is_changed = any(word in _OTHER_WORDS for word in words)
    if len(set(content_words(" ".join(kept)))) < 5 or not is_changed:
        return ""
    return f"Is there something that {' '.join(kept)}?"


def _detail(each: DocumentedObject, rarity: dict[str, float]) -> str:
    """Ask with the rarest words of one later sentence, or return "" if there is none."""
    later = [s for s in sentences(each.body) if len(s.split()) >= 8]
    own = set(content_words(title_of(each)))
    for sentence in later[:1]:
        words = [w for w in dict.fromkeys(re.findall(r"[a-z]{4,}", sentence.lower())) if content_words(w)]
        new = [w for w in words if not own & set(content_words(w))]
        rarest = sorted(
            sorted(new, key=lambda w: -rarity.get(content_words(w)[0], 0.0))[:_DETAIL_WORDS], key=words.index
        )
        if len(rarest) == _DETAIL_WORDS:
            return f"What about {' '.join(rarest)} with {each.spoken_name}?"
    return ""


def _name(each: DocumentedObject) -> str:
    """Ask by the spoken name, or return "" for a name that consists of everyday words."""
    words = each.spoken_name.split()
    return f"Tell me about {each.spoken_name} in {each.package}." if len(words) >= 2 else ""


def _rarity(objects: Sequence[DocumentedObject]) -> dict[str, float]:
    """Return the inverse document frequency of each content word."""
    counts = Counter(term for each in objects for term in set(content_words(f"{each.summary}. {each.body}")))
    return {term: math.log(len(objects) / count) for term, count in counts.items()}


def _line(question: MadeQuestion) -> str:
    fields = {"id": question.id, "kind": question.kind, "question": question.question}
    return json.dumps({**fields, "relevant": [{"source": question.source}]})


def _sample_lines(sample: Path) -> Iterator[str]:
    """Yield the hand-written questions that the data can answer. Their facts determine the relevant passages."""
    for name in _SAMPLE_QUESTIONS:
        yield from _answerable((sample / name).read_text("utf-8").splitlines())


def _answerable(lines: Iterable[str]) -> Iterator[str]:
    for line in filter(str.strip, lines):
        row = json.loads(line)
        if row["expected"]:
            yield json.dumps({**row, "kind": "sample"})
