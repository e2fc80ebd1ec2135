"""Refusing early what would harm the calls in progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import CapacityError


class Admission:
    """Counts the calls of one gateway replica. Not thread-safe; used on the event loop.

    Attributes:
        calls: in progress.
        arrivals: that ever asked, refused ones included: what a forecast needs. Those that a draining gateway sends on
            are counted where they arrive.
        refused: of these.
        is_draining: while True nobody is admitted.
    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self.calls = self.arrivals = self.refused = 0
        self.is_draining = False

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for the duration of a call.

        Raises:
            CapacityError: this replica is full, or drains.
        """
        if self.is_draining:
            raise CapacityError("This gateway takes no new calls: it is being drained; try again later.")
        self.arrivals += 1
        if self.calls >= self._max_calls:
            self.refused += 1
            raise CapacityError(f"This gateway holds {self._max_calls} calls already; try again later.")
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    def stats(self) -> dict[str, float]:
        """Return the counts for the scaling policy."""
        return {"calls": float(self.calls), "arrivals": float(self.arrivals), "refused": float(self.refused)}
