"""Every metric of the gateway, in one place."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipelines.turn_trace import TurnTrace

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0, 10.0)


class GatewayMetrics:
    """One replica's metrics, in a registry of its own (two gateways may share a process in tests)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Gauge("voxray_calls", "Open calls.", registry=self.registry)
        self.refused_calls = Counter("voxray_refused_calls", "Calls refused by admission.", registry=self.registry)
        self.slow_clients = Counter(
            "voxray_slow_clients", "Calls closed since the client did not read.", registry=self.registry
        )
        self.turns = Counter(
            "voxray_turns", "Answered turns by status and grounding.", ["status", "grounding"], registry=self.registry
        )
        self.wasted_drafts = Counter(
            "voxray_wasted_drafts", "Answers begun on speculation and dropped.", registry=self.registry
        )
        self.stage_seconds = Histogram(
            "voxray_stage_seconds",
            "From the caller's last voiced audio to the end of a stage.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def record_turn(self, trace: TurnTrace) -> None:
        self.turns.labels(trace.status, trace.grounding or "none").inc()
        self.wasted_drafts.inc(trace.wasted_drafts)
        for stage, elapsed_ms in trace.marks_ms.items():
            self.stage_seconds.labels(stage).observe(max(elapsed_ms, 0) / 1000)
