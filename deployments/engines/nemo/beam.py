"""CTC with a language model: wraps the search of `prefix_beam.py` as a decoder of many streams (`nemo/decoding.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deployments.engines.nemo.decoding import Decoded, ctc_head
from deployments.engines.nemo.prefix_beam import BeamState, PrefixBeam


@dataclass(frozen=True, slots=True)
class _BeamStreamState:
    """The number of the stream's boosted phrases, and the state of its search."""

    phrases: int
    search: BeamState


class BeamCtcDecoder:
    """Follows the most likely texts of each stream, one stream after the other.

    Args:
        beams: the beams by number of the boosted phrases. One for `NO_PHRASES` is required.
    """

    def __init__(self, network: Any, beams: dict[int, PrefixBeam]) -> None:
        self._head = ctc_head(network)
        self.vocabulary: Sequence[str] = list(self._head.vocabulary)
        self._beams = beams

    def begin(self, phrases: int) -> _BeamStreamState:
        return _BeamStreamState(phrases, self._beams[phrases].begin())

    def decode(self, encoded: Any, outputs: Sequence[int], states: Sequence[_BeamStreamState]) -> list[Decoded]:
        log_probs = self._head(encoder_output=encoded).float().cpu().numpy()
        decoded = []
        for rows, count, state in zip(log_probs, outputs, states, strict=True):
            followed = self._beams[state.phrases].follow(rows[:count], state.search)
            after = _BeamStreamState(state.phrases, followed.state)
            decoded.append(Decoded(followed.settled, after, followed.open))
        return decoded
