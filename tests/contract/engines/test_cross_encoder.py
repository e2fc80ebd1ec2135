"""The cross-encoder's code path on real `transformers`, with small checkpoints made here: random, so no quality."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from deployments.engines.embedding.cross_encoder import CrossEncoder
from pipelines.errors import ConfigError

pytestmark = pytest.mark.contract

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] how much is shipping it costs six dollars tents are warm .".split()


def checkpoint(folder: Path, outputs: int) -> Path:
    """Save a BERT of two small layers with seeded weights, as a catalog entry's folder looks."""
    torch.manual_seed(7)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS), "utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=outputs,
    )
    BertForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.mark.parametrize("outputs", [1, 2])
def test_each_text_gets_a_probability_that_its_neighbours_do_not_change(tmp_path: Path, outputs: int) -> None:
    encoder = CrossEncoder(checkpoint(tmp_path / "model", outputs), threads=1)
    encoder.warm_up()
    texts = ["it costs six dollars .", "tents are warm .", "tents " * 400]
    scores = encoder.score("how much is shipping", texts)
    assert len(scores) == 3
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert len({round(score, 6) for score in scores}) == 3
    alone = [encoder.score("how much is shipping", [text])[0] for text in texts]
    assert alone == pytest.approx(scores, abs=1e-5)
    assert encoder.score("how much is shipping", []) == []


def test_score_is_the_models_own(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", 1)
    encoder = CrossEncoder(folder, threads=1)
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logit = model(**tokenizer("how much", "six dollars", return_tensors="pt")).logits[0, 0]
    assert encoder.score("how much", ["six dollars"]) == pytest.approx([float(torch.sigmoid(logit))], abs=1e-6)


def test_classifier_of_more_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="more than two outputs"):
        CrossEncoder(checkpoint(tmp_path / "model", 3), threads=1)
