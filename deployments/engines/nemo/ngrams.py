"""Scores the pieces that may follow with NeMo's n-gram models and boosting trees (`prefix_beam.LanguageScores`).

Both are suffix trees in tensors (`NGramGPULanguageModel`): a state has arcs to the pieces that were seen after it, and
backs off to a shorter history for all others. NeMo evaluates them for a batch on a GPU. For a single state on a CPU,
the few slices used here take a fraction of the time.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.engines.nemo.model import quiet
from pipelines.errors import Component, EngineError

LANGUAGE_MODEL_ENDING = ".lm"
_CACHED_STATES = 16_384
_ARPA_FIRST = b"\\data\\"


def language_model_of(setting: str, model: Path) -> Path | None:
    """Return the language model that a setting names for a recogniser's file.

    Args:
        setting: "auto" for the file with the model's name and the suffix .lm, if it exists; "none"; or a path.
    """
    if setting == "auto":
        own = model.with_suffix(LANGUAGE_MODEL_ENDING)
        return own if own.is_file() else None
    return None if setting == "none" else Path(setting)


def load_ngrams(path: Path, pieces: int) -> Any:
    """Return NeMo's n-gram model of a recogniser's word pieces, from its own format or from an ARPA file.

    Args:
        pieces: number of the recogniser's pieces, without the blank.

    Raises:
        EngineError: the file is missing or does not belong to this recogniser.
    """
    from nemo.collections.asr.parts.submodules.ngram_lm import NGramGPULanguageModel

    if not path.is_file():
        raise EngineError(Component.TRANSCRIBER, f"there is no language model at {path}", retryable=False)
    with path.open("rb") as file:
        is_arpa = file.read(len(_ARPA_FIRST)) == _ARPA_FIRST
    try:
        with quiet():
            if is_arpa:
                return NGramGPULanguageModel.from_arpa(path, vocab_size=pieces)
            return NGramGPULanguageModel.from_nemo(path, vocab_size=pieces)
    except (AssertionError, KeyError, ValueError, tarfile.TarError) as error:
        raise EngineError(
            "transcriber", f"{path.name} is not a language model for {pieces} word pieces", retryable=False
        ) from error


class NGramScores:
    """Scores of one tree, whose states it uses.

    Args:
        tree: NeMo's n-gram model or boosting tree.
        weight: factor applied to its scores.
    """

    def __init__(self, tree: Any, weight: float = 1.0) -> None:
        arcs = int(tree.num_arcs)
        self._scores = tree.arcs_weights.detach().cpu().numpy()[:arcs] * np.float32(weight)
        self._backoffs = (tree.backoff_weights.detach().cpu().numpy() * np.float32(weight)).tolist()
        self._pieces = tree.ilabels.cpu().numpy()[:arcs]
        self._targets = tree.to_states.cpu().numpy()[:arcs]
        self._shorter = tree.backoff_to_states.cpu().tolist()
        self._spans = tree.start_end_arcs.cpu().tolist()
        self._count = int(tree.vocab_size)
        self._root = int(tree.START_STATE)
        self._first = int(tree.get_init_states(1)[0])
        self.after = lru_cache(_CACHED_STATES)(self._after)

    def begin(self) -> int:
        return self._first

    def _after(self, state: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        scores = np.zeros(self._count, np.float32)
        targets = np.full(self._count, self._root, np.int32)
        # The longest history takes precedence.
        for each, backoff in reversed(self._histories(state)):
            span = slice(*self._spans[each])
            pieces = self._pieces[span]
            scores[pieces] = self._scores[span] + np.float32(backoff)
            targets[pieces] = self._targets[span]
        return scores, targets

    def _histories(self, state: int) -> list[tuple[int, float]]:
        """Return a state and its shorter histories, with the cost of backing off to each."""
        found, backoff = [(state, 0.0)], 0.0
        while state != self._root:
            backoff += self._backoffs[state]
            state = self._shorter[state]
            found.append((state, backoff))
        return found


class _Together:
    """The states that each piece leads to in several trees, combined only for the few pieces that are requested."""

    def __init__(self, targets: Sequence[NDArray[np.int32]]) -> None:
        self._targets = targets

    def __getitem__(self, piece: int) -> tuple[int, ...]:
        return tuple(int(each[piece]) for each in self._targets)


class Blend:
    """The sum of several scores. Its state is the tuple of theirs; it remembers nothing itself."""

    def __init__(self, parts: Sequence[NGramScores]) -> None:
        self._parts = tuple(parts)

    def begin(self) -> tuple[int, ...]:
        return tuple(part.begin() for part in self._parts)

    def after(self, state: tuple[int, ...]) -> tuple[NDArray[np.float32], _Together]:
        found = [part.after(each) for part, each in zip(self._parts, state, strict=True)]
        total = np.zeros_like(found[0][0])
        for scores, _ in found:
            total += scores
        return total, _Together([targets for _, targets in found])
