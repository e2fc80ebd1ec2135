"""Streaming speech recognition as a deployment. Gateways ask it for its address and connect by themselves."""

from __future__ import annotations

from collections.abc import Callable

import ray
from ray import serve

from deployments.stage_link.frames import LinkAddress
from deployments.stage_link.listener import LinkListener
from pipelines.hearing.link import StreamingRecognizer

# This is within the time that Serve gives an engine to end (`cluster.render.times`), and utterances are seldom longer.
DRAIN_S = 8.0


class StreamingTranscriber:
    """Serves one streaming recogniser. Gateways keep the audio, so another replica can continue a stream."""

    def __init__(self, make_engine: Callable[[], StreamingRecognizer]) -> None:
        self._engine: StreamingRecognizer | None = None
        self._listener: LinkListener | None = None
        self._engine = make_engine()
        self._engine.warm_up()
        name = serve.get_replica_context().replica_id.unique_id
        self._listener = LinkListener(self._engine, name=name, host=ray.util.get_node_ip_address())
        self._address = self._listener.start()

    async def link_address(self) -> LinkAddress:
        """Return the address and key that gateways need to connect."""
        return self._address

    def check_health(self) -> None:
        """Raise if the engine's thread is dead or its ticks are late, so that Serve replaces this replica."""
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
        """Refuse new streams and let the open ones finish. Serve calls this before it stops a replica."""
        if self._listener is not None:
            self._listener.drain(DRAIN_S)
            self._listener.close()
        if self._engine is not None:
            self._engine.close()
        self._listener = self._engine = None
