"""Boosts names and words that a tenant's callers are likely to say while decoding.

Each tenant has one of NeMo's boosting trees. NeMo's multi-model combines them, so that one step can decode the streams
of many tenants. Like a decoder, a tree has a state, which advances with each emitted piece; its score is added to the
pieces that would continue a phrase. Whether a frame contains any piece at all is left to the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

NO_PHRASES = -1


class PhraseBook:
    """The boosting trees of all tenants.

    Args:
        phrases: the phrases by tenant. Those of "" apply to tenants without their own.
        weight: bonus added to a likely piece, in natural log.
        trees: NeMo's multi-model, either that of an RNN-T search or a new one.
    """

    def __init__(self, phrases: Mapping[str, Sequence[str]], weight: float, *, tokenizer: Any, trees: Any) -> None:
        self.trees = trees
        self._numbers = {
            tenant: int(trees.add_model(phrase_tree(words, tokenizer), alpha=weight))
            for tenant, words in phrases.items()
            if words
        }

    def number_of(self, tenant: str) -> int:
        """Return the number of the tenant's tree, or `NO_PHRASES` when nothing is expected of its callers."""
        return number_of(tenant, self._numbers)


def phrase_tree(phrases: Sequence[str], tokenizer: Any) -> Any:
    """Return NeMo's boosting tree for the given phrases."""
    from nemo.collections.asr.parts.context_biasing.boosting_graph_batched import (
        BoostingTreeModelConfig,
        GPUBoostingTreeModel,
    )

    config = BoostingTreeModelConfig(key_phrases_list=list(phrases))
    return GPUBoostingTreeModel.from_config(config, tokenizer=tokenizer)


def number_of(tenant: str, numbers: Mapping[str, int]) -> int:
    """Return the tenant's number, else the number shared by tenants without phrases, else `NO_PHRASES`."""
    return numbers.get(tenant, numbers.get("", NO_PHRASES))


def new_trees(vocabulary_size: int, device: Any) -> Any:
    """Return an empty multi-model."""
    from nemo.collections.asr.parts.context_biasing.biasing_multi_model import GPUBiasingMultiModel

    return GPUBiasingMultiModel(vocab_size=vocabulary_size).to(device)


def boosted_labels(log_probs: Any, last: Any, states: Any, numbers: Any, trees: Any) -> tuple[Any, Any]:
    """Choose the label of each frame under the trees' bonuses, as NeMo's batched CTC search does.

    Args:
        log_probs: [streams, frames, pieces + blank].
        last: label of the previous frame, [streams].
        states: states of the trees, [streams].
        numbers: numbers of the trees, [streams]; negative for streams without one.

    Returns:
        Labels [streams, frames], and the trees' states after the last frame.
    """
    blank = log_probs.shape[2] - 1
    has_tree = numbers >= 0
    rows = torch.arange(log_probs.shape[0], device=log_probs.device)
    labels = []
    for frame in log_probs.unbind(dim=1):
        plain = frame.argmax(dim=-1)
        scores, following = trees.advance(states=states, model_ids=numbers)
        preferred = frame[:, :-1].float() + torch.where(has_tree[:, None], scores, 0.0)
        preferred = torch.cat([preferred, preferred.new_full((len(rows), 1), -torch.inf)], dim=1)
        preferred.scatter_(1, last[:, None], -torch.inf)
        is_new = (plain != blank) & (plain != last) & has_tree
        chosen = torch.where(is_new, preferred.argmax(dim=-1), plain)
        states = torch.where(is_new, following[rows, chosen.clamp(max=blank - 1)], states)
        last = chosen
        labels.append(chosen)
    return torch.stack(labels, dim=1), states
