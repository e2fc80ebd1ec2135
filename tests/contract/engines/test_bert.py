"""BERT on torch alone against the model of `transformers`: the same numbers, without its import."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from deployments.engines.embedding import embedder
from deployments.engines.embedding.bert import load_bert
from deployments.engines.embedding.embedder import SentenceEncoder

pytestmark = pytest.mark.contract

SMALL: dict[str, Any] = {
    "vocab_size": 80,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
}
TEXTS = [
    "How do I return my order?",
    "",
    "é ü ß 漢字 – “quotes” can't",
    "tent " * 400,
    "x" * 3000,
    "Article 7 about the stove: order. The stove of series 812 costs 31 dollars in every store.",
    "[MASK] [PAD] [CLS] are words of the model",
    "a\nb\tc  d",
]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    BertModel(BertConfig(**SMALL), add_pooling_layer=False).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def rewrite(checkpoint: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(checkpoint / "model.safetensors")), checkpoint / "model.safetensors")


def configure(checkpoint: Path, **changes: Any) -> None:
    config = checkpoint / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))


def test_hidden_states_equal_those_of_the_library(checkpoint: Path) -> None:
    library, ours = BertModel.from_pretrained(checkpoint, add_pooling_layer=False).eval(), load_bert(checkpoint)
    assert ours is not None
    assert ours.hidden_size == SMALL["hidden_size"]
    ids = torch.randint(0, SMALL["vocab_size"], (5, 17))
    padded = (torch.arange(17) < torch.tensor([17, 1, 9, 16, 4])[:, None]).long()
    with torch.inference_mode():
        for mask in (padded, torch.ones_like(padded)):
            wanted = library(input_ids=ids, attention_mask=mask).last_hidden_state
            found = ours(ids, mask)
            assert torch.allclose(found[mask.bool()], wanted[mask.bool()], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "roberta"},
        {"position_embedding_type": "relative_key"},
        {"hidden_act": "relu"},
        {"is_decoder": True},
    ],
)
def test_another_kind_of_model_is_left_to_the_library(checkpoint: Path, changes: dict[str, Any]) -> None:
    configure(checkpoint, **changes)
    assert load_bert(checkpoint) is None


def test_weights_in_another_form_are_left_to_the_library(checkpoint: Path) -> None:
    whole = load_file(checkpoint / "model.safetensors")
    rewrite(checkpoint, lambda weights: {name: tensor.half() for name, tensor in weights.items()})
    assert load_bert(checkpoint) is None
    rewrite(checkpoint, lambda _: {f"bert.{name}": tensor for name, tensor in whole.items()})
    assert load_bert(checkpoint) is None
    rewrite(checkpoint, lambda _: whole)
    assert load_bert(checkpoint) is not None
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00001.safetensors")
    assert load_bert(checkpoint) is None


def test_sentence_vectors_equal_those_of_the_library(
    model_dir: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_dir("all-minilm-l6-v2")
    ours = SentenceEncoder(folder, threads=1).encode(TEXTS)
    monkeypatch.setattr("deployments.engines.embedding.bert.load_bert", lambda _: None)
    taken: list[Path] = []
    library = embedder._on_library
    monkeypatch.setattr(embedder, "_on_library", lambda path: (taken.append(path), library(path))[1])
    assert np.allclose(ours, SentenceEncoder(folder, threads=1).encode(TEXTS), atol=1e-5, rtol=0)
    assert taken == [folder]


def test_encoder_of_the_embedded_profile_does_not_import_the_library(model_dir: Callable[[str], Path]) -> None:
    program = (
        "import sys; from pathlib import Path; from deployments.engines.embedding.embedder import SentenceEncoder;"
        "SentenceEncoder(Path(sys.argv[1]), threads=1).warm_up();"
        "print([name for name in ('transformers', 'torch._dynamo', 'scipy', 'accelerate') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(model_dir("all-minilm-l6-v2"))]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert said.stdout.strip() == "[]"
