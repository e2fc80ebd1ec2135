"""The sentence encoder against the semantics of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deployments.engines.embedding.embedder import SentenceEncoder

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def encoder(model_dir: Callable[[str], Path]) -> SentenceEncoder:
    encoder = SentenceEncoder(model_dir("all-minilm-l6-v2"), threads=1)
    encoder.warm_up()
    return encoder


def test_batch_equals_one_by_one_in_order(encoder: SentenceEncoder) -> None:
    texts = ["a long text about tents and their poles " * 9, "boots", "", "How do I return my order?"] * 12
    vectors = encoder.encode(texts)
    assert vectors.shape == (48, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    for row in (0, 1, 2, 3, 47):
        assert np.allclose(vectors[row], encoder.encode([texts[row]])[0], atol=1e-5)


def test_like_meanings_are_nearer_than_unlike_ones(encoder: SentenceEncoder) -> None:
    question, answer, other = encoder.encode(
        ["How long does delivery take?", "Shipping takes three to five days.", "Our tents are waterproof."]
    )
    assert question @ answer > question @ other + 0.2


def test_text_past_256_tokens_does_not_count(encoder: SentenceEncoder) -> None:
    long = "tent " * 254
    assert np.allclose(encoder.encode([long + "boots " * 50])[0], encoder.encode([long + "coffee " * 50])[0], atol=1e-5)


def test_no_text_is_no_vector(encoder: SentenceEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)
