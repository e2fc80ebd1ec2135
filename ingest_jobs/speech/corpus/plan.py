"""Plans who says what: the utterances of each split, chosen before anything is synthesized.

train   every text source, the voices of training
dev     grammar only, voices of training; steers the training
test    sentences that train and dev do not hold, a tenth of the names and places never in train; voices of
        training ("seen") and voices that were kept from it ("unseen")
general ordinary English sentences (general.txt) and unseen voices: how far it goes outside of the domain
"""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ingest_jobs.speech.corpus import prose
from ingest_jobs.speech.corpus.grammar import Grammar

GENERAL_FILE = Path(__file__).with_name("general.txt")
_HELD_OUT_SLOTS = ("first_name", "last_name", "city", "country", "street")
_HELD_OUT_ONE_IN = 10
_TEST_SEED = 7
# Average duration of a word in seconds, used to convert minutes into a number of sentences.
_SECONDS_PER_WORD = 0.38
# Shares of training sentences by source: grammar, documentation, word salad, and the company's texts.
_SOURCE_SHARES = (0.74, 0.12, 0.05, 0.09)

KOKORO_UNSEEN = ("af_nova", "am_puck", "bf_lily", "bm_lewis", "am_eric")
KOKORO_SEEN = (
    "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_river", "af_sarah",
    "af_sky", "am_adam", "am_echo", "am_fenrir", "am_liam", "am_michael", "am_onyx", "am_santa", "bf_alice", "bf_emma",
    "bf_isabella", "bm_daniel", "bm_fable", "bm_george",
)  # fmt: skip
# Speakers of other languages speak English with an accent.
KOKORO_ACCENTS = (
    "ef_dora",
    "em_alex",
    "ff_siwis",
    "hf_alpha",
    "hm_omega",
    "if_sara",
    "im_nicola",
    "pf_dora",
    "pm_alex",
)
_ESPEAK_ACCENTS = ("en-us", "en-us", "en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-us-nyc")
_ESPEAK_VARIANTS = (
    "f1", "f2", "f3", "f4", "m1", "m2", "m3", "m4", "m5", "m6", "m8", "Andy", "Annie", "Gene", "Lee", "Michael",
    "adam", "belinda", "caleb", "david", "ed", "edward", "klatt", "linda", "steph", "victor", "zac",
)  # fmt: skip
ESPEAK_UNSEEN = ("en-us+f5", "en-us+m7", "en-us+shelby")


@dataclass(frozen=True, slots=True)
class PlannedUtterance:
    """One sentence for one voice.

    Attributes:
        key: file name without ending, unique.
        engine: piper, kokoro, espeak or pico.
        is_seen_voice: whether the training hears this voice.
    """

    key: str
    split: str
    text: str
    engine: str
    speaker: str
    is_seen_voice: bool = True
    source: str = "grammar"

    @property
    def words(self) -> int:
        """Number of words."""
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Minutes:
    """Minutes of speech to plan for each engine in training."""

    piper: float = 330
    kokoro: float = 80
    espeak: float = 340
    pico: float = 220


def is_held_out(value: str) -> bool:
    """Return whether this slot value is kept out of training."""
    return zlib.crc32(value.encode()) % _HELD_OUT_ONE_IN == 0


def training_grammar(grammar: Grammar, company_words: frozenset[str]) -> Grammar:
    """Return the grammar without the values reserved for the test, but with all of the company's own names."""
    kept = {
        slot: [value for value in values if not is_held_out(value) or value in company_words]
        if slot in _HELD_OUT_SLOTS
        else values
        for slot, values in grammar.slots.items()
    }
    return replace(grammar, slots=kept)


def plan_corpus(minutes: Minutes, vocabulary_file: Path, seed: int) -> list[PlannedUtterance]:
    """Return all utterances: test splits first, then training in random order. Equal arguments give equal plans.

    Args:
        vocabulary_file: word pieces, see `prose.common_words`.
        seed: seed of the training sentences. Test and dev do not depend on it, so that corpora can be combined.
    """
    held_out = _plan_held_out()
    rng = random.Random(seed)
    sources = _TrainingTexts(held_out.learned, rng, held_out.company, vocabulary_file)
    taken = {each.text for each in held_out.planned}
    train = list(_plan_training(minutes, _not_in(taken, sources), held_out.company, rng))
    # The order is mixed, so that a training on the first part hears every engine.
    rng.shuffle(train)
    return [*held_out.planned, *train]


def training_texts(count: int, vocabulary_file: Path, seed: int) -> list[str]:
    """Return sentences as drawn for training and those of the company, without any from test or dev."""
    held_out = _plan_held_out()
    sources = _TrainingTexts(held_out.learned, random.Random(seed), held_out.company, vocabulary_file)
    taken = {each.text for each in held_out.planned}
    drawn = itertools.islice(_not_in(taken, sources), count)
    return [*(each for each in held_out.company if each not in taken), *(text for _, text in drawn)]


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """The splits test, general and dev, and the grammar and company sentences left for training."""

    planned: list[PlannedUtterance]
    learned: Grammar
    company: list[str]


def _plan_held_out() -> _HeldOut:
    rng = random.Random(_TEST_SEED)
    grammar = Grammar.load()
    company = prose.company_sentences(rng)
    company_words = frozenset(word for sentence in company for word in sentence.split())
    learned = training_grammar(grammar, company_words)
    heldout_questions = prose.company_questions(rng, prose.SAMPLE_DATA / "questions_heldout.jsonl")
    general = [line for line in GENERAL_FILE.read_text("utf-8").splitlines() if line]
    test = _plan_test(_distinct(lambda: grammar.draw(rng), set(heldout_questions)), heldout_questions, general)
    taken = {each.text for each in test}
    dev = list(_plan_dev(_distinct(lambda: learned.draw(rng), taken)))
    return _HeldOut([*test, *dev], learned, company)


class _TrainingTexts:
    """An endless stream of (source, text) in the shares of `_SOURCE_SHARES`."""

    def __init__(self, grammar: Grammar, rng: random.Random, company: list[str], vocabulary_file: Path) -> None:
        self._grammar, self._rng = grammar, rng
        questions = prose.company_questions(rng, prose.SAMPLE_DATA / "questions.jsonl")
        self._company = company + questions * 2
        self._documentation = prose.package_sentences(rng)
        self._words = prose.common_words(vocabulary_file)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        rng = self._rng
        draws: dict[str, Callable[[], str]] = {
            "grammar": lambda: self._grammar.draw(rng),
            "documentation": lambda: rng.choice(self._documentation),
            "words": lambda: prose.word_salad(self._words, rng),
            "company": lambda: rng.choice(self._company),
        }
        while True:
            source = rng.choices(list(draws), _SOURCE_SHARES)[0]
            yield source, draws[source]()


def _distinct(draw: Callable[[], str], taken: set[str]) -> Iterator[str]:
    """Yield texts of at least two words that were not yielded before and are not taken."""
    seen = set(taken)
    while True:
        text = draw()
        if text not in seen and len(text.split()) > 1:
            seen.add(text)
            yield text


def _not_in(taken: set[str], texts: _TrainingTexts) -> Iterator[tuple[str, str]]:
    return ((source, text) for source, text in texts if text and text not in taken)


def _plan_test(texts: Iterator[str], questions: list[str], general: list[str]) -> list[PlannedUtterance]:
    voices = [("piper", "joe", True, 80), ("pico", "en-US", True, 20), ("pico", "en-GB", True, 10)]
    voices += [("espeak", "en-us+m3", True, 10), ("espeak", "en-gb-x-rp+f2", True, 10)]
    voices += [("espeak", speaker, False, 12) for speaker in ESPEAK_UNSEEN]
    voices += [("kokoro", speaker, False, 16) for speaker in KOKORO_UNSEEN]
    voices += [("kokoro", speaker, True, 6) for speaker in ("af_heart", "am_michael", "bf_emma", "bm_george")]
    slots = [voice[:3] for voice in voices for _ in range(voice[3])]
    planned = []
    for index, (engine, speaker, seen) in enumerate(slots):
        # Every eighth sentence is one of the sample company's held-out questions.
        is_question = index % 8 == 0 and index // 8 < len(questions)
        text = questions[index // 8] if is_question else next(texts)
        source = "question" if is_question else "grammar"
        planned.append(PlannedUtterance(f"test-{index:05}", "test", text, engine, speaker, seen, source))
    for index, text in enumerate(general):
        speaker = KOKORO_UNSEEN[index % len(KOKORO_UNSEEN)]
        key = f"general-{index:05}"
        planned.append(PlannedUtterance(key, "general", text, "kokoro", speaker, False, "general"))
    return planned


def _plan_dev(texts: Iterator[str]) -> Iterator[PlannedUtterance]:
    voices = [("piper", "joe")] * 40 + [("pico", "en-US")] * 15 + [("espeak", "en-us+f4")] * 15
    voices += [("kokoro", KOKORO_SEEN[index]) for index in range(0, 20)]
    for index, (engine, speaker) in enumerate(voices):
        yield PlannedUtterance(f"dev-{index:05}", "dev", next(texts), engine, speaker)


def _plan_training(
    minutes: Minutes, texts: Iterator[tuple[str, str]], company: list[str], rng: random.Random
) -> Iterator[PlannedUtterance]:
    index = 0
    for engine in ("espeak", "pico", "piper", "kokoro"):
        seconds = getattr(minutes, engine) * 60
        # The voice of the product says each of the company's sentences at least once.
        queue = list(company) if engine == "piper" else []
        while seconds > 0:
            source, text = ("company", queue.pop()) if queue else next(texts)
            yield PlannedUtterance(f"train-{index:06}", "train", text, engine, _speaker(engine, rng), True, source)
            seconds -= _SECONDS_PER_WORD * len(text.split())
            index += 1


def _speaker(engine: str, rng: random.Random) -> str:
    if engine == "espeak":
        return f"{rng.choice(_ESPEAK_ACCENTS)}+{rng.choice(_ESPEAK_VARIANTS)}"
    if engine == "pico":
        return rng.choice(("en-US", "en-US", "en-GB"))
    if engine == "kokoro":
        if rng.random() < 0.1:
            return rng.choice(KOKORO_ACCENTS)
        return "+".join(rng.sample(KOKORO_SEEN, 2)) if rng.random() < 0.4 else rng.choice(KOKORO_SEEN)
    return "joe"


_LETTERS = re.compile(r"(?<!['\w])(?:[a-z](?: [a-z])+|[b-hj-z])(?!['\w])")
_QUICK_LETTERS = 4


def as_read(text: str) -> str:
    """Return the text for a voice, with single letters capitalised and joined, so that "a" is read as a letter."""

    def read(found: re.Match[str]) -> str:
        named = found[0].upper().split()
        return ("-" if len(named) <= _QUICK_LETTERS else ", ").join(named)

    return _LETTERS.sub(read, text)
