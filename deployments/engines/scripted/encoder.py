"""An encoder without a model, for tests of the jobs and for measuring them without the cost of embedding."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.language.en.terms import content_words


class ScriptedEncoder:
    """Assigns a direction to each content word; a text's vector is their normalised sum.

    Equal texts have equal vectors.
    """

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions
        self._direction = lru_cache(maxsize=20_000)(self._direction_of)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Return one unit vector per text."""
        vectors = np.stack([self._vector(text) for text in texts])
        unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def _vector(self, text: str) -> NDArray[np.float64]:
        total = np.full(self.dimensions, 1e-3)
        for word in content_words(text):
            total += self._direction(word)
        return total

    def _direction_of(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=self.dimensions)
