from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest_jobs.speech.corpus import plan as planning
from ingest_jobs.speech.corpus import prose
from ingest_jobs.speech.corpus.grammar import Grammar
from ingest_jobs.speech.corpus.plan import KOKORO_UNSEEN, Minutes, PlannedUtterance, as_read, plan_corpus

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("[PAD]\n##ing\nriver\nmountain\nyellow\nseldom\n", "utf-8")
    # Reading all installed packages takes a quarter of a minute, and is not what is tested.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prose, "package_sentences", lambda _: ["returns the length of the list"])
        yield path


@pytest.fixture(scope="module")
def plan(vocabulary: Path) -> list[PlannedUtterance]:
    return plan_corpus(Minutes(piper=60, kokoro=5, espeak=20, pico=10), vocabulary, seed=7)


def test_training_and_test_share_no_sentence(plan: list[PlannedUtterance]) -> None:
    texts = {
        split: {each.text for each in plan if each.split == split} for split in ("train", "dev", "test", "general")
    }
    assert all(texts.values())
    # A sentence of the company may be drawn for the test too; `make_corpus` takes those out.
    company = set(prose.company_sentences(random.Random(7)))
    assert not (texts["test"] & texts["train"]) - company
    assert not texts["dev"] & texts["test"]
    assert not texts["general"] & texts["train"]


def test_another_seed_has_other_sentences_for_training_and_the_same_test(
    plan: list[PlannedUtterance], vocabulary: Path
) -> None:
    other = plan_corpus(Minutes(piper=0, kokoro=0, espeak=20, pico=0), vocabulary, seed=8)
    assert [each for each in other if each.split != "train"] == [each for each in plan if each.split != "train"]
    again = {each.text for each in other if each.source == "grammar" and each.split == "train" and each.words > 5}
    assert len(again & {each.text for each in plan}) < len(again) / 4


def test_texts_of_the_language_model_hold_no_sentence_of_the_test(
    plan: list[PlannedUtterance], vocabulary: Path
) -> None:
    texts = planning.training_texts(2000, vocabulary, seed=3)
    assert len(texts) > 2000
    assert not set(texts) & {each.text for each in plan if each.split != "train"}


def test_training_hears_no_voice_of_the_unseen(plan: list[PlannedUtterance]) -> None:
    trained = {name for each in plan if each.split == "train" for name in each.speaker.split("+")}
    assert not trained & set(KOKORO_UNSEEN)
    unseen = {(each.engine, each.speaker) for each in plan if each.split == "test" and not each.is_seen_voice}
    assert not unseen & {(each.engine, each.speaker) for each in plan if each.split == "train"}
    assert len(unseen) == 8


def test_names_that_are_held_out_do_not_come_in_the_training_grammar() -> None:
    learned = planning.training_grammar(Grammar.load(), frozenset({"maren", "holt"}))
    whole = Grammar.load()
    assert {"maren", "holt"} <= set(learned.slots["first_name"]) | set(learned.slots["last_name"])
    missing = set(whole.slots["city"]) - set(learned.slots["city"])
    assert missing
    assert all(planning.is_held_out(city) for city in missing)


def test_every_word_of_the_sample_data_is_said_in_training(plan: list[PlannedUtterance]) -> None:
    said = {word for each in plan if each.split == "train" for word in each.text.split()}
    # Numbers are read in ways that change from one plan to another.
    company = {word for sentence in prose.company_sentences(random.Random(7)) for word in sentence.split()}
    assert company - said <= {"and", "oh", "zero"}


def test_minutes_are_kept_and_keys_are_unique(plan: list[PlannedUtterance]) -> None:
    assert max(Counter(each.key for each in plan).values()) == 1
    words = sum(each.words for each in plan if each.split == "train" and each.engine == "espeak")
    assert words * planning._SECONDS_PER_WORD == pytest.approx(20 * 60, rel=0.01)
    assert not [each.text for each in plan if re.search(r"\d", each.text)]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("order f h ten forty two", "order F-H ten forty two"),
        ("that's spelled h o l t a n", "that's spelled H, O, L, T, A, N"),
        ("it's a tent", "it's a tent"),
        ("that's a b as in book", "that's A-B as in book"),
    ],
)
def test_letters_are_shown_to_the_voice_as_letters(text: str, read: str) -> None:
    assert as_read(text) == read
