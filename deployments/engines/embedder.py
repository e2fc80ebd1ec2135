"""Sentence embeddings with a BERT encoder on `transformers` (all-MiniLM-L6-v2 in the embedded profile)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# sentence-transformers' own limit for this model (sentence_bert_config.json): later text was never trained on.
_MAX_TOKENS = 256
_BATCH = 32


class SentenceEncoder:
    """Encodes sentences into unit vectors as sentence-transformers does: mean over tokens, then L2 norm.

    Not thread-safe: one caller at a time.

    Args:
        model_dir: directory with config, tokenizer and safetensors.
        threads: CPU threads of one call (a setting of the whole process).
    """

    def __init__(self, model_dir: Path, threads: int = 1) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(str(model_dir), local_files_only=True)
        self._model = AutoModel.from_pretrained(str(model_dir), local_files_only=True, use_safetensors=True).eval()
        self._dimension = int(self._model.config.hidden_size)

    def warm_up(self) -> None:
        """Encode once, so that the first query does not pay for allocation."""
        self.encode(["warm up", "a text of some more words than the other one"])

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one L2-normalised float32 vector per text, in order. Text past 256 tokens is cut.

        Texts run in batches of like length: a short text never pays for a long neighbour's padding.
        """
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(texts), _BATCH):
            rows = by_length[start : start + _BATCH]
            vectors[rows] = self._encode_batch([texts[row] for row in rows])
        return vectors

    def close(self) -> None:
        """Nothing to free: the weights go with the object."""

    def _encode_batch(self, texts: list[str]) -> NDArray[np.float32]:
        with self._torch.inference_mode():
            batch = self._tokenizer(texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
            hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            vectors = self._torch.nn.functional.normalize(mean, dim=1)
        out: NDArray[np.float32] = vectors.numpy().astype(np.float32)
        return out
