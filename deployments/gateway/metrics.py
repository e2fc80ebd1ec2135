"""Every metric of the gateway, in one place."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pipelines.call.trace import TurnTrace
from pipelines.hearing.linked import LinkedTranscriber

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0, 10.0)


class GatewayMetrics:
    """One replica's metrics, in a separate registry because two gateways may share a process in tests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Gauge("voxray_calls", "Open calls.", registry=self.registry)
        self.refused_calls = Counter("voxray_refused_calls", "Calls refused by admission.", registry=self.registry)
        self.slow_clients = Counter(
            "voxray_slow_clients", "Calls closed because the client did not read.", registry=self.registry
        )
        self.failed_calls = Counter(
            "voxray_failed_calls", "Calls ended by an internal error of the server.", registry=self.registry
        )
        self.observer_failures = Counter(
            "voxray_observer_failures",
            "Exceptions raised by observers of calls, which continue.",
            ["observer"],
            registry=self.registry,
        )
        self.turns = Counter(
            "voxray_turns", "Answered turns by status and grounding.", ["status", "grounding"], registry=self.registry
        )
        self.wasted_drafts = Counter(
            "voxray_wasted_drafts", "Answers that were started on speculation and dropped.", registry=self.registry
        )
        self.stage_seconds = Histogram(
            "voxray_stage_seconds",
            "Time from the caller's last voiced audio to the end of a stage.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def watch_links(self, links: Callable[[], Sequence[LinkedTranscriber]]) -> None:
        """Export the counts of links to streaming recognisers, which are read at each scrape."""
        self.registry.register(_LinkCollector(links))

    def count_observer_failure(self, observer: str) -> None:
        self.observer_failures.labels(observer).inc()

    def record_turn(self, trace: TurnTrace) -> None:
        self.turns.labels(trace.status, trace.grounding or "none").inc()
        self.wasted_drafts.inc(trace.wasted_drafts)
        for stage, elapsed_ms in trace.marks_ms.items():
            self.stage_seconds.labels(stage).observe(max(elapsed_ms, 0) / 1000)


class _LinkCollector(Collector):
    """Reads the counts of the links at each scrape."""

    def __init__(self, links: Callable[[], Sequence[LinkedTranscriber]]) -> None:
        self._links = links

    def collect(self) -> Iterator[Metric]:
        links = self._links()
        if not links:
            return
        gauges: Counts[str] = Counts()
        for each in links:
            gauges.update(each.gauges())
        yield GaugeMetricFamily("voxray_recognizers", "Recognisers that accept streams.", gauges["replicas"])
        streams = GaugeMetricFamily(
            "voxray_recognizer_streams", "Utterances by whether they have a recogniser.", labels=["state"]
        )
        for state in ("pinned", "waiting"):
            streams.add_metric([state], gauges[state])
        yield streams
        moves = CounterMetricFamily(
            "voxray_recognizer_stream_events",
            "Utterances that did not stay with their first recogniser.",
            labels=["event"],
        )
        for event in ("moved", "refused", "failed"):
            moves.add_metric([event], sum(getattr(each.counts, event) for each in links))
        yield moves
        lost = sum(each.counts.lost_replicas for each in links)
        yield CounterMetricFamily("voxray_recognizer_links_lost", "Links that broke.", lost)
