"""The health of one stage's pools as one gateway sees it, on which the choice between them is based."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from autoscaling.pool_choice import Candidate, PoolView, RestLimits, order_of_pools
from deployments.pools.budget import PoolBudget
from pipelines.errors import Component, EngineError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PoolRequest:
    """One request at a pool. `note_output` is called when it has produced any output."""

    note_output: Callable[[], None]
    has_output: bool = False


class PoolHealth:
    """Watches the requests of one stage. Used on one event loop.

    Args:
        component: the stage.
        limits: how long a failed pool rests.
        budget_ms: time within which a first output is expected.
        now_ms: a monotonic clock in ms.
    """

    def __init__(
        self, component: Component, limits: RestLimits, *, budget_ms: int, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._component = component
        self._limits = limits
        self._budget_ms = budget_ms
        self._now_ms = now_ms or (lambda: time.monotonic_ns() // 1_000_000)
        self._views: dict[str, PoolView] = {}
        # The start times of requests that wait for their first output.
        self._waiting: dict[str, dict[object, int]] = {}
        self._budgets: dict[str, PoolBudget] = {}

    def is_worth_waiting_for(self, route: Sequence[str]) -> bool:
        """Return whether any pool of a route has met its budget lately or is not known well enough."""
        now_ms = self._now_ms()
        return not all(self._budget(name).is_missed(now_ms) for name in route)

    def begin_trial(self, name: str) -> bool:
        """Return whether a pool that is passed over should be tried now, while nobody waits for it."""
        return self._budget(name).begin_trial(self._now_ms())

    def order(self, route: Sequence[str]) -> list[str]:
        """Return the pools of a route in the order in which a request should try them now."""
        if len(route) == 1:
            return list(route)
        now_ms = self._now_ms()
        candidates = [
            Candidate(self._view(name), now_ms - min(self._waiting.get(name, {}).values(), default=now_ms))
            for name in route
        ]
        return order_of_pools(candidates, now_ms, self._budget_ms)

    @contextmanager
    def request(self, name: str) -> Iterator[PoolRequest]:
        """Watch a request until the end of the block. After a retryable failure the pool rests."""
        ticket, began_ms = object(), self._now_ms()
        waiting = self._waiting.setdefault(name, {})
        waiting[ticket] = began_ms

        def note_output() -> None:
            request.has_output = True
            if waiting.pop(ticket, None) is not None:
                now_ms = self._now_ms()
                self._views[name] = self._view(name).after_first_output(now_ms - began_ms, now_ms)
                self._budget(name).note_output(now_ms - began_ms, now_ms)

        request = PoolRequest(note_output)
        try:
            yield request
        except EngineError as error:
            if error.retryable:
                self._rest(name, error)
            raise
        finally:
            if waiting.pop(ticket, None) is not None:
                now_ms = self._now_ms()
                self._budget(name).note_end(now_ms - began_ms, now_ms)

    def forget(self, name: str) -> None:
        """Forget a pool that no longer exists."""
        self._views.pop(name, None)
        self._waiting.pop(name, None)
        self._budgets.pop(name, None)

    def _view(self, name: str) -> PoolView:
        return self._views.get(name) or PoolView(name)

    def _budget(self, name: str) -> PoolBudget:
        return self._budgets.setdefault(name, PoolBudget(self._budget_ms))

    def _rest(self, name: str, error: EngineError) -> None:
        now_ms = self._now_ms()
        self._views[name] = view = self._view(name).after_failure(now_ms, self._limits)
        rest_ms = view.rests_until_ms - now_ms
        logger.warning("! %s pool %s rests for %d ms: %s", self._component.label, name, rest_ms, error)
