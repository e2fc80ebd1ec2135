"""Refuses new calls early when they would harm the calls in progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import CapacityError


class Admission:
    """Counts the calls of one gateway replica. Not thread-safe; used on the event loop.

    Attributes:
        calls: number of calls in progress.
        arrivals: number of calls that ever asked, including refused ones, as a forecast needs. Calls that a draining
            gateway turns away are counted at the gateway where they arrive.
        refused: number of arrivals that were refused.
        is_draining: whether all new calls are refused because the gateway is being drained.
    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self.calls = self.arrivals = self.refused = 0
        self.is_draining = False

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for the duration of a call.

        Raises:
            CapacityError: this replica is full or draining.
        """
        if self.is_draining:
            raise CapacityError("This gateway is being drained and takes no new calls; try again later.")
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
