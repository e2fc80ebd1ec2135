"""The checkpoint of this repository hears the product's voice say sentences that its training never held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.nemo.ngrams import language_model_of
from ingest_jobs.speech.evaluation.engines import EngineChoice, open_engine
from ingest_jobs.speech.evaluation.normalizing import scored_words
from ingest_jobs.speech.evaluation.scoring import error_rate, score
from ingest_jobs.speech.evaluation.streaming import hear_all

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore")]

MOST_BYTES = 30_000_000
MOST_WORDS_WRONG = 0.2
# Of the test split of the corpus: sentences drawn from its grammar, none of them in the training.
SENTENCES = (
    "do you still make the cloudrest sleeping mat",
    "could you look up my order seventeen forty eight",
    "what time do you close on tuesday",
    "which tent would you recommend in the desert",
    "does the highmoor storm tent have a clip",
    "how cold can it get with the featherline",
    "my zip code is three four six eight five that would be great",
    "what's going on with my order number seventeen seventy two",
    "is the sand bear canister still on sale",
    "good afternoon what day is it",
    "there are three harnesses on the bridge",
    "i was born on the twenty fifth of september nineteen forty three",
)


@pytest.fixture
def checkpoint(model_dir: Callable[[str], Path]) -> Path:
    return model_dir("voxray-asr-small-en") / "voxray-asr-small-en.nemo"


def test_checkpoint_is_small_enough_to_lie_in_the_repository(checkpoint: Path) -> None:
    assert checkpoint.stat().st_size <= MOST_BYTES


async def test_checkpoint_hears_unseen_sentences_of_the_product_voice(
    checkpoint: Path, speak: Callable[[str], bytes]
) -> None:
    recordings = [np.frombuffer(speak(f"{text}."), np.int16) for text in SENTENCES]
    engine = open_engine(EngineChoice("nemo", checkpoint, 160, language_model=language_model_of("auto", checkpoint)))
    try:
        heard, _ = await hear_all(engine, recordings, 12, lambda: None)
    finally:
        engine.close()
    scores = [
        score(scored_words(text), scored_words(each.text), {}) for text, each in zip(SENTENCES, heard, strict=True)
    ]
    wrong = [(text, each.text) for text, each, s in zip(SENTENCES, heard, scores, strict=True) if s.wrong]
    assert error_rate(scores).value <= MOST_WORDS_WRONG, wrong
