"""Streaming speech recognition as a deployment: gateways are told where it listens, and link up by themselves."""

from __future__ import annotations

from collections.abc import Callable

import ray
from ray import serve

from deployments.stage_link.frames import LinkAddress
from deployments.stage_link.listener import LinkListener
from pipelines.hearing.link import StreamingRecognizer

# Within the time that Serve gives an engine to end (`cluster.render.times`); an utterance is seldom longer.
DRAIN_S = 8.0


class StreamingTranscriber:
    """Serves one streaming recogniser. The gateways keep what was said, so another replica can go on with a stream."""

    def __init__(self, make_engine: Callable[[], StreamingRecognizer]) -> None:
        self._engine: StreamingRecognizer | None = None
        self._listener: LinkListener | None = None
        self._engine = make_engine()
        self._engine.warm_up()
        name = serve.get_replica_context().replica_id.unique_id
        self._listener = LinkListener(self._engine, name=name, host=ray.util.get_node_ip_address())
        self._address = self._listener.start()

    async def link_address(self) -> LinkAddress:
        """Return where gateways dial, and with which key."""
        return self._address

    def check_health(self) -> None:
        """Raise when the engine's thread is dead or its ticks are late: Serve then replaces this replica."""
        assert self._engine is not None
        self._engine.check_health()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return how full the slots are, and how late the ticks."""
        assert self._engine is not None
        stats = self._engine.stats()
        streams, slots = stats.get("streams", 0.0), stats.get("slots", 0.0)
        occupancy = streams / slots if slots else 0.0
        return {"in_flight": streams, "occupancy": occupancy, "lag_ms": stats.get("tick_lag_p95_ms", 0.0)}

    def __del__(self) -> None:
        """End (Serve calls this before it stops a replica): refuse new streams, let those that are open finish."""
        if self._listener is not None:
            self._listener.drain(DRAIN_S)
            self._listener.close()
        if self._engine is not None:
            self._engine.close()
        self._listener = self._engine = None
