"""The language model on two kinds of machines, behind one port: the cheaper that is fast enough, else the other."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

from autoscaling.pool_choice import Candidate, PoolView, RestLimits, order_of_pools
from cluster.config.schema import VoxrayConfig
from pipelines.errors import Component, EngineError
from pipelines.ports import Clause, GenerationRequest, LanguageModel

logger = logging.getLogger(__name__)


class RoutedLanguageModel:
    """`pipelines.ports.LanguageModel` over several pools that serve the same model.

    A request that fails on one pool before its first clause, in a way that another try may mend, goes to the next.
    After the first clause it may not: the caller has heard it, and another pool would say it differently.

    Args:
        pools: the pools by name ("main", "neuron").
        config: prices, budget, and how long a pool that failed rests.
        now_ms: a monotonic clock.
    """

    def __init__(
        self, pools: Mapping[str, LanguageModel], config: VoxrayConfig, now_ms: Callable[[], int] | None = None
    ) -> None:
        routing = config.language_model.routing
        prices = {"main": routing.main_price, "neuron": routing.neuron_price}
        self._pools = pools
        self._budget_ms = config.language_model.first_clause_budget_ms
        self._limits = RestLimits(int(routing.first_retry_s * 1000), int(routing.longest_retry_s * 1000))
        self._now_ms = now_ms or (lambda: time.monotonic_ns() // 1_000_000)
        self._views = {name: PoolView(name, prices[name]) for name in pools}
        # When each request began that waits for its first clause.
        self._waiting: dict[str, dict[object, int]] = {name: {} for name in pools}

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        failure = EngineError(Component.LANGUAGE_MODEL, "no pool is configured", retryable=False)
        for name in self.order():
            has_begun = False
            try:
                async with aclosing(self._watched(name, request)) as clauses:  # type: ignore[type-var]
                    async for clause in clauses:
                        has_begun = True
                        yield clause
                return
            except EngineError as error:
                if has_begun or not error.retryable:
                    raise
                failure = error
        raise failure

    def order(self) -> list[str]:
        """Return the pools in the order in which a request would try them now."""
        now_ms = self._now_ms()
        candidates = [
            Candidate(view, now_ms - min(self._waiting[name].values(), default=now_ms))
            for name, view in self._views.items()
        ]
        return order_of_pools(candidates, now_ms, self._budget_ms)

    async def _watched(self, name: str, request: GenerationRequest) -> AsyncIterator[Clause]:
        ticket, began_ms = object(), self._now_ms()
        self._waiting[name][ticket] = began_ms
        try:
            async with aclosing(self._pools[name].generate(request)) as clauses:  # type: ignore[type-var]
                async for clause in clauses:
                    if self._waiting[name].pop(ticket, None) is not None:
                        now_ms = self._now_ms()
                        self._views[name] = self._views[name].after_first_clause(now_ms - began_ms, now_ms)
                    yield clause
        except EngineError as error:
            if error.retryable:
                self._rest(name, error)
            raise
        finally:
            self._waiting[name].pop(ticket, None)

    def _rest(self, name: str, error: EngineError) -> None:
        now_ms = self._now_ms()
        self._views[name] = self._views[name].after_failure(now_ms, self._limits)
        rest_ms = self._views[name].rests_until_ms - now_ms
        logger.warning("! language model pool %s rests for %d ms: %s", name, rest_ms, error)
