"""Who watches a call: any number of observers, of which none can disturb it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from pipelines.errors import traceback_without_values
from pipelines.ports import Happening, SessionObserver
from pipelines.session.effects import Effect

logger = logging.getLogger(__name__)


class ObserverChain:
    """Shows a session to its observers, in order. Itself a `SessionObserver`, and one that never raises.

    An observer that raises goes on seeing what happens, as do the ones behind it. Each failure is counted; the first
    one of each observer is logged, without values, since those may be speech.

    Args:
        observers: whom to show it to.
        on_failure: called with an observer's name for each exception it raises.
    """

    def __init__(
        self, observers: Sequence[SessionObserver], on_failure: Callable[[str], None] = lambda _name: None
    ) -> None:
        self._observers = tuple(observers)
        self._on_failure = on_failure
        self._logged: set[int] = set()

    def observe(self, happening: Happening | None, effects: Sequence[Effect], now_ms: int) -> None:
        for position, observer in enumerate(self._observers):
            try:
                observer.observe(happening, effects, now_ms)
            except Exception as error:
                self._contain(position, type(observer).__name__, error)

    def _contain(self, position: int, name: str, error: Exception) -> None:
        if position not in self._logged:
            self._logged.add(position)
            logger.error("! observer %s failed; the call goes on\n%s", name, traceback_without_values(error))
        self._on_failure(name)
