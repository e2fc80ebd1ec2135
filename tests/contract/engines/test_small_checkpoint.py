"""The checkpoint of this repository hears the product's voice say sentences that its training never held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest_jobs.speech_evaluation.engines import EngineChoice, open_engine
from ingest_jobs.speech_evaluation.normalizing import scored_words
from ingest_jobs.speech_evaluation.scoring import error_rate, score
from ingest_jobs.speech_evaluation.streaming import hear_all

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore")]

MOST_BYTES = 30_000_000
# 29% on these sentences when it was exported (goal: 8% on the whole test split); what hears nothing has 100%.
MOST_WORDS_WRONG = 0.4
# From the test split of the corpus.
SENTENCES = (
    "how soon after dispatch does the tracking start working",
    "do you still make the cloudrest sleeping mat",
    "can you deliver to hawaii and how long would it take",
    "what does it cost to send things to canada",
    "could you look up my order seventeen forty eight",
    "what time do you close on tuesday",
    "how long do repairs take in spring",
    "is damage by my cat covered by the warranty",
    "can i swap my jacket for another size without paying",
    "how much is a trail club membership",
    "which tent would you recommend in the desert",
    "does the highmoor storm tent have a clip",
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
    engine = open_engine(EngineChoice("nemo", checkpoint, 160))
    try:
        heard, _ = await hear_all(engine, recordings, 12, lambda: None)
    finally:
        engine.close()
    scores = [
        score(scored_words(text), scored_words(each.text), {}) for text, each in zip(SENTENCES, heard, strict=True)
    ]
    wrong = [(text, each.text) for text, each, s in zip(SENTENCES, heard, scores, strict=True) if s.wrong]
    assert error_rate(scores).value <= MOST_WORDS_WRONG, wrong
