"""Pieces out of encoder outputs, for many streams at once: greedy CTC and greedy RNN-T.

A decoder keeps nothing itself. It takes the state of each stream and returns the next one, so that a step that fails,
or a finish that must leave no trace, has nothing to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from deployments.engines.token_text import Token
from pipelines.errors import EngineError


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one stream said in a step: its pieces, at frames of the step, and the state to go on from."""

    tokens: list[Token]
    state: Any


class FrameDecoder(Protocol):
    """Decodes a step of several streams. Used by one thread, in inference mode.

    Attributes:
        vocabulary: text of each piece.
    """

    vocabulary: Sequence[str]

    def begin(self, phrases: int) -> Any:
        """Return the state of a stream that has heard nothing; `phrases`: number of its boosted phrases, or -1."""

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[Any]) -> list[Decoded]:
        """Decode the first `outputs[i]` frames of each stream of `encoded`, [streams, width, frames]."""


class CtcDecoder:
    """Takes the likeliest piece of each frame; a repeated one counts once, also across steps."""

    def __init__(self, network: Any) -> None:
        self._head = network.ctc_decoder if hasattr(network, "ctc_decoder") else network.decoder
        self.vocabulary: Sequence[str] = list(self._head.vocabulary)
        self._blank = len(self.vocabulary)

    def begin(self, phrases: int) -> int:  # noqa: ARG002 (see FrameDecoder)
        return self._blank

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[int]) -> list[Decoded]:
        log_probs = self._head(encoder_output=encoded)
        best, labels = log_probs.max(dim=-1)
        # One transfer for both: a GPU waits once a step, not once a stream.
        rows = torch.stack([labels.float(), best.float().exp()]).tolist()
        return [
            _collapse(labels[:count], confidences, state, self._blank)
            for labels, confidences, count, state in zip(rows[0], rows[1], outputs, states, strict=True)
        ]


def _collapse(labels: Sequence[float], confidences: Sequence[float], last: int, blank: int) -> Decoded:
    tokens = []
    for frame, value in enumerate(labels):
        label = int(value)
        if label not in (blank, last):
            tokens.append(Token(label, frame, confidences[frame]))
        last = label
    return Decoded(tokens, last)


class RnntDecoder:
    """NeMo's label-looping greedy search, stepped with its own batched state.

    Confidence is that of the emitted piece against all others, blank included, as NeMo computes it when
    `preserve_frame_confidence` is set.
    """

    def __init__(self, network: Any) -> None:
        self.vocabulary: Sequence[str] = list(network.joint.vocabulary)
        self._set_strategy(network)
        self._search = network.decoding.decoding.decoding_computer
        if self._search is None:
            raise EngineError("transcriber", "the model's prediction network cannot be batched", retryable=False)

    def begin(self, phrases: int) -> tuple[Any, int]:
        return None, phrases

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[tuple[Any, int]]) -> list[Decoded]:
        lengths = torch.tensor(outputs, device=encoded.device)
        before = [state for state, _ in states]
        begun = None if all(state is None for state in before) else self._search.merge_to_batched_state(before)
        found, after = self._search(x=encoded.transpose(1, 2), out_len=lengths, prev_batched_state=begun)
        counts = found.current_lengths.tolist()
        pieces, frames = found.transcript.tolist(), found.timestamps.tolist()
        confidences = found.step_confidence.tolist()
        decoded = []
        for row, (state, (_, phrases)) in enumerate(zip(self._search.split_batched_state(after), states, strict=True)):
            tokens = [Token(pieces[row][at], frames[row][at], confidences[row][at]) for at in range(counts[row])]
            decoded.append(Decoded(tokens, (state, phrases)))
        return decoded

    @staticmethod
    def _set_strategy(network: Any) -> None:
        from omegaconf import OmegaConf, open_dict

        decoding = OmegaConf.create(OmegaConf.to_container(network.cfg.decoding))
        confidence = {"preserve_frame_confidence": True, "method_cfg": {"name": "max_prob"}}
        with open_dict(decoding):
            decoding.strategy = "greedy_batch"
            decoding.confidence_cfg = confidence
            greedy = decoding.setdefault("greedy", {})
            # Captured graphs belong to the thread that captured them, and have crashed in others.
            greedy.use_cuda_graph_decoder = False
            greedy.loop_labels = True
            greedy.preserve_frame_confidence = True
        network.change_decoding_strategy(decoding)
