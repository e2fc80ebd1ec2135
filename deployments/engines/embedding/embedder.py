"""Sentence embeddings with BERT (all-MiniLM-L6-v2 in the embedded profile), or any encoder that `transformers` runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from deployments.engines.embedding.bert import Bert

# This is sentence-transformers' limit for the model (sentence_bert_config.json). It was never trained on longer text.
_MAX_TOKENS = 256
_BATCH = 32

Hidden = tuple["Tensor", "Tensor"]
"""Last hidden state (texts, tokens, hidden) and attention mask (texts, tokens)."""


class SentenceEncoder:
    """Encodes sentences into unit vectors as sentence-transformers does: mean over tokens, then L2 norm.

    Not thread-safe: one caller at a time.

    Args:
        model_dir: directory with config, tokenizer and safetensors.
        threads: CPU threads of one call (a setting of the whole process).
    """

    def __init__(self, model_dir: Path, threads: int) -> None:
        import torch

        from deployments.engines.embedding.bert import load_bert

        torch.set_num_threads(threads)
        self._torch = torch
        bert = load_bert(model_dir)
        self._run, self._dimension = _on_library(model_dir) if bert is None else _on_torch(bert, model_dir)

    def warm_up(self) -> None:
        """Encode once, so that the first query does not pay for allocation."""
        self.encode(["warm up", "a text of some more words than the other one"])

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one L2-normalised float32 vector per text, in order. Text past 256 tokens is cut.

        Texts are batched by similar length, so that a short text never pays for a long neighbour's padding.
        """
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(texts), _BATCH):
            rows = by_length[start : start + _BATCH]
            vectors[rows] = self._encode_batch([texts[row] for row in rows])
        return vectors

    def close(self) -> None:
        """Do nothing, since the weights are freed with the object."""

    def _encode_batch(self, texts: list[str]) -> NDArray[np.float32]:
        with self._torch.inference_mode():
            hidden, mask = self._run(texts)
            mask = mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            vectors = self._torch.nn.functional.normalize(mean, dim=1)
        out: NDArray[np.float32] = vectors.numpy().astype(np.float32)
        return out


def _on_torch(bert: Bert, model_dir: Path) -> tuple[Callable[[list[str]], Hidden], int]:
    """Return a function that runs a plain BERT, and its vector length, without importing `transformers`."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    tokenizer.enable_truncation(_MAX_TOKENS)
    padding = tokenizer.padding or {}
    tokenizer.enable_padding(pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"))

    def run(texts: list[str]) -> Hidden:
        encoded = tokenizer.encode_batch(texts)
        ids = torch.tensor([each.ids for each in encoded])
        mask = torch.tensor([each.attention_mask for each in encoded])
        return bert(ids, mask), mask

    return run, bert.hidden_size


def _on_library(model_dir: Path) -> tuple[Callable[[list[str]], Hidden], int]:
    """Return a function that runs any other encoder, and its vector length."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model_dir), local_files_only=True)
    model = AutoModel.from_pretrained(str(model_dir), local_files_only=True, use_safetensors=True).eval()

    def run(texts: list[str]) -> Hidden:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        return model(**batch).last_hidden_state, batch["attention_mask"]

    return run, int(model.config.hidden_size)
