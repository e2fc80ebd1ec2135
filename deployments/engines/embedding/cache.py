"""Caches the vectors of recent questions. Partial and final transcripts often agree, and callers often ask the same.

Each tenant has its own entries, so that the speed of an answer does not reveal to anybody else that a question was
asked before. A tenant that asks a lot evicts its own oldest entries rather than those of others.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

MAX_VECTORS = 2048


class EmbeddingCache:
    """Holds at most `max_vectors` vectors, the most recently used of each tenant. Not thread-safe.

    Attributes:
        hits, misses: lookups that did and did not find a vector.
    """

    def __init__(self, max_vectors: int = MAX_VECTORS) -> None:
        self._max_vectors = max_vectors
        self._tenants: dict[str, OrderedDict[str, NDArray[np.float32]]] = {}
        self._size = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return self._size

    def get(self, tenant: str, text: str) -> NDArray[np.float32] | None:
        """Return the vector stored for this tenant and exactly this text, else None."""
        own = self._tenants.get(tenant)
        if own is None or text not in own:
            self.misses += 1
            return None
        own.move_to_end(text)
        self.hits += 1
        return own[text]

    def put(self, tenant: str, text: str, vector: NDArray[np.float32]) -> None:
        """Store a vector. Beyond the limit, the tenant with the most entries loses its oldest."""
        own = self._tenants.setdefault(tenant, OrderedDict())
        self._size += text not in own
        own[text] = vector
        own.move_to_end(text)
        while self._size > self._max_vectors:
            self._drop_oldest_of_largest()

    def _drop_oldest_of_largest(self) -> None:
        largest = max(self._tenants, key=lambda tenant: len(self._tenants[tenant]))
        self._tenants[largest].popitem(last=False)
        self._size -= 1
        if not self._tenants[largest]:
            del self._tenants[largest]
