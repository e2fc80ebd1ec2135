"""The observers of a call. There may be any number, and none can disturb the call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from pipelines.errors import traceback_without_values
from pipelines.ports import Happening, SessionObserver
from pipelines.session.effects import Effect

logger = logging.getLogger(__name__)


class ObserverChain:
    """Passes what a session does to its observers, in order. It is itself a `SessionObserver`, and it never raises.

    An observer that raises is still called for later events, and so are the observers behind it. Every failure is
    counted. Each observer's first failure is logged, without values, since those may be speech.

    Args:
        observers: the observers to call.
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
