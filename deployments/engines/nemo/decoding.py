"""Decodes encoder outputs of many streams at once into word pieces, with greedy CTC or greedy RNN-T.

`nemo/beam.py` decodes with a language model.

A decoder stores nothing itself. It takes the state of each stream and returns the next one, so that a step that fails,
or a finish that must leave no trace, has nothing to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from deployments.engines.nemo.boosting import NO_PHRASES, boosted_labels
from deployments.engines.nemo.token_text import Token
from pipelines.errors import Component, EngineError


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was decoded from one stream in a step.

    Attributes:
        tokens: final pieces, with frames relative to the step; negative for frames of earlier steps.
        state: the state to continue from.
        open: the best guess of the pieces that follow, which may change with every step.
    """

    tokens: list[Token]
    state: Any
    open: list[Token] = field(default_factory=list)


class FrameDecoder(Protocol):
    """Decodes a step of several streams. Used by one thread, in inference mode.

    Attributes:
        vocabulary: text of each piece.
    """

    vocabulary: Sequence[str]

    def begin(self, phrases: int) -> Any:
        """Return the state of a new stream. `phrases` is the number of its boosted phrases, or -1."""

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[Any]) -> list[Decoded]:
        """Decode the first `outputs[i]` frames of each stream of `encoded`, [streams, width, frames]."""


@dataclass(frozen=True, slots=True)
class _CtcState:
    """Label of the previous frame, and number and state of the stream's boosting tree."""

    last: int
    phrases: int = NO_PHRASES
    tree_state: int = 0


class CtcDecoder:
    """Takes the most likely piece of each frame. A repeated piece counts once, even across steps.

    Args:
        trees: boosting trees (`nemo/boosting.py`), or None.
    """

    def __init__(self, network: Any, trees: Any = None) -> None:
        self._head = ctc_head(network)
        self.vocabulary: Sequence[str] = list(self._head.vocabulary)
        self._blank = len(self.vocabulary)
        self._trees = trees

    def begin(self, phrases: int) -> _CtcState:
        start = 0 if phrases == NO_PHRASES else int(self._trees.get_init_states(1)[0])
        return _CtcState(self._blank, phrases, start)

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[_CtcState]) -> list[Decoded]:
        log_probs = self._head(encoder_output=encoded)
        if all(state.phrases == NO_PHRASES for state in states):
            labels, tree_states = log_probs.argmax(dim=-1), [state.tree_state for state in states]
        else:
            labels, tree_states = self._boosted(log_probs, states)
        chosen = log_probs.gather(2, labels[..., None]).squeeze(2).float().exp()
        # Both are transferred together, so that the GPU is waited for once per step and not once per stream.
        rows = torch.stack([labels.float(), chosen]).tolist()
        decoded = []
        for labels_of, confidences, count, state, tree in zip(*rows, outputs, states, tree_states, strict=True):
            tokens, last = _collapse(labels_of[:count], confidences, state.last, self._blank)
            decoded.append(Decoded(tokens, _CtcState(last, state.phrases, tree)))
        return decoded

    def _boosted(self, log_probs: Any, states: Sequence[_CtcState]) -> tuple[Any, list[int]]:
        device = log_probs.device
        last, numbers, trees = (
            torch.tensor(values, device=device)
            for values in zip(*((state.last, state.phrases, state.tree_state) for state in states), strict=True)
        )
        labels, after = boosted_labels(log_probs, last, trees, numbers, self._trees)
        return labels, after.tolist()


def ctc_head(network: Any) -> Any:
    """Return the CTC output layer of a model, including a hybrid one."""
    return network.ctc_decoder if hasattr(network, "ctc_decoder") else network.decoder


def _collapse(labels: Sequence[float], confidences: Sequence[float], last: int, blank: int) -> tuple[list[Token], int]:
    tokens = []
    for frame, value in enumerate(labels):
        label = int(value)
        if label not in (blank, last):
            tokens.append(Token(label, frame, confidences[frame]))
        last = label
    return tokens, last


@dataclass(frozen=True, slots=True)
class _RnntState:
    """NeMo's search state, the number of frames it has seen, and the number of the stream's boosting tree."""

    search: Any
    frames: int
    phrases: int


class RnntDecoder:
    """NeMo's label-looping greedy search, stepped with its own batched state.

    Confidence compares the emitted piece with all others, blank included, as NeMo computes it when
    `preserve_frame_confidence` is set.
    """

    def __init__(self, network: Any, *, has_phrases: bool = False) -> None:
        self.vocabulary: Sequence[str] = list(network.joint.vocabulary)
        _set_search(network, has_phrases=has_phrases)
        self._search = network.decoding.decoding.decoding_computer
        if self._search is None:
            raise EngineError(
                Component.TRANSCRIBER, "the model's prediction network cannot be batched", retryable=False
            )

    @property
    def trees(self) -> Any:
        """The boosting trees of the search itself, or None unless `has_phrases`."""
        return self._search.biasing_multi_model

    def begin(self, phrases: int) -> _RnntState:
        return _RnntState(None, 0, phrases)

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[_RnntState]) -> list[Decoded]:
        device = encoded.device
        before = [state.search for state in states]
        begun = None if all(search is None for search in before) else self._search.merge_to_batched_state(before)
        numbers = torch.tensor([state.phrases for state in states], device=device) if self.trees is not None else None
        found, after = self._search(
            x=encoded.transpose(1, 2),
            out_len=torch.tensor(outputs, device=device),
            prev_batched_state=begun,
            multi_biasing_ids=numbers,
        )
        counts, pieces, frames = found.current_lengths.tolist(), found.transcript.tolist(), found.timestamps.tolist()
        confidences = found.step_confidence.tolist()
        decoded = []
        for row, (search, state) in enumerate(zip(self._search.split_batched_state(after), states, strict=True)):
            # The search counts frames from the beginning of the stream.
            tokens = [
                Token(pieces[row][at], frames[row][at] - state.frames, confidences[row][at])
                for at in range(counts[row])
            ]
            decoded.append(Decoded(tokens, _RnntState(search, state.frames + outputs[row], state.phrases)))
        return decoded


def _set_search(network: Any, *, has_phrases: bool) -> None:
    from omegaconf import OmegaConf, open_dict

    decoding = OmegaConf.create(OmegaConf.to_container(network.cfg.decoding))
    with open_dict(decoding):
        decoding.strategy = "greedy_batch"
        decoding.confidence_cfg = {"preserve_frame_confidence": True, "method_cfg": {"name": "max_prob"}}
        greedy = decoding.setdefault("greedy", {})
        # Captured CUDA graphs belong to the thread that captured them and have crashed in other threads.
        greedy.use_cuda_graph_decoder = False
        greedy.loop_labels = True
        greedy.preserve_frame_confidence = True
        greedy.enable_per_stream_biasing = has_phrases
    network.change_decoding_strategy(decoding)
