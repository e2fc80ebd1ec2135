"""BERT's encoder in plain torch, for a sentence encoder that starts at once.

`transformers` runs the same model, but importing it also imports PyTorch's compiler and distributed tensors, SciPy and
Accelerate, which takes several seconds in every process that embeds. This module performs the same operations in the
same order, so the vectors are identical; tests/contract/engines/test_bert.py compares them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_PARTS = (
    *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    *("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
)
_EMBEDDINGS = tuple(f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type"))


@dataclass(frozen=True, slots=True)
class BertShape:
    """The parts of a checkpoint's configuration that its encoder depends on."""

    layers: int
    heads: int
    epsilon: float

    def weight_names(self) -> list[str]:
        """Return the names of the tensors that the encoder reads."""
        places = [f"encoder.layer.{number}.{part}" for number in range(self.layers) for part in _PARTS]
        norms = [f"{place}.{kind}" for place in ("embeddings.LayerNorm", *places) for kind in ("weight", "bias")]
        return [*_EMBEDDINGS, *norms]


def bert_shape(model_dir: Path) -> BertShape | None:
    """Return the shape of the checkpoint in a directory, or None if this file cannot run that kind of model."""
    config: dict[str, Any] = json.loads((model_dir / "config.json").read_text("utf-8"))
    is_plain = config.get("hidden_act", "gelu") == "gelu" and not config.get("is_decoder", False)
    is_absolute = config.get("position_embedding_type", "absolute") == "absolute"
    if config.get("model_type") != "bert" or not is_plain or not is_absolute:
        return None
    return BertShape(
        int(config["num_hidden_layers"]), int(config["num_attention_heads"]), float(config.get("layer_norm_eps", 1e-12))
    )


def load_bert(model_dir: Path) -> Bert | None:
    """Load the encoder of a checkpoint, or return None if `transformers` has to run it."""
    weights_file, shape = model_dir / "model.safetensors", bert_shape(model_dir)
    if shape is None or not weights_file.exists() or not (model_dir / "tokenizer.json").exists():
        return None
    from safetensors import safe_open

    names = shape.weight_names()
    with safe_open(weights_file, framework="pt") as file:
        # Names with another prefix, or from older releases (LayerNorm.gamma), are left to the library.
        if not set(names) <= set(file.keys()):
            return None
        weights = {name: file.get_tensor(name) for name in names}
    if any(tensor.dtype != torch.float32 for tensor in weights.values()):
        return None
    return Bert(shape, weights)


class Bert:
    """The encoder: token ids to hidden states. Call it in inference mode."""

    def __init__(self, shape: BertShape, weights: dict[str, Tensor]) -> None:
        self._shape = shape
        self._weights = weights
        self.hidden_size = weights[_EMBEDDINGS[0]].shape[1]

    def __call__(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the last hidden state (texts, tokens, hidden) of padded token ids and their mask of ones and zeros."""
        words, positions, types = (self._weights[name] for name in _EMBEDDINGS)
        hidden = functional.embedding(ids, words) + types[0] + positions[: ids.shape[1]]
        hidden = self._norm("embeddings.LayerNorm", hidden)
        # Without padding no mask is passed, because the kernel that needs none is faster.
        mask = None if bool(attention_mask.all()) else attention_mask[:, None, None, :].bool()
        for number in range(self._shape.layers):
            hidden = self._layer(f"encoder.layer.{number}.", hidden, mask)
        return hidden

    def _layer(self, at: str, hidden: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            self._heads(self._linear(f"{at}attention.self.{part}", hidden)) for part in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = self._linear(f"{at}attention.output.dense", seen.transpose(1, 2).reshape(hidden.shape))
        hidden = self._norm(f"{at}attention.output.LayerNorm", seen + hidden)
        wide = functional.gelu(self._linear(f"{at}intermediate.dense", hidden))
        return self._norm(f"{at}output.LayerNorm", self._linear(f"{at}output.dense", wide) + hidden)

    def _heads(self, flat: Tensor) -> Tensor:
        return flat.view(*flat.shape[:2], self._shape.heads, -1).transpose(1, 2)

    def _linear(self, at: str, value: Tensor) -> Tensor:
        return functional.linear(value, self._weights[f"{at}.weight"], self._weights[f"{at}.bias"])

    def _norm(self, at: str, value: Tensor) -> Tensor:
        weight, bias = self._weights[f"{at}.weight"], self._weights[f"{at}.bias"]
        return functional.layer_norm(value, weight.shape, weight, bias, self._shape.epsilon)
