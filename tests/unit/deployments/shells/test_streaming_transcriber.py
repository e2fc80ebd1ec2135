"""The shell of a recogniser that streams: where gateways are sent, what Serve hears of it, and how it ends."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.stage_link.frames import LinkAddress
from pipelines.errors import Component, EngineError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's own modules, when they are imported
    from deployments.shells import streaming_transcriber
    from deployments.shells.streaming_transcriber import DRAIN_S, StreamingTranscriber

pytestmark = pytest.mark.unit
ADDRESS = LinkAddress("replica-7", "10.0.0.9", 4711, b"k" * 32)


class Engine:
    """A streaming recogniser; keeps what is done to it, its listener's part too, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.load: dict[str, float] = {}
        self.failure: EngineError | None = None

    def warm_up(self) -> None:
        self.done.append("warmed")

    def check_health(self) -> None:
        if self.failure is not None:
            raise self.failure

    def stats(self) -> dict[str, float]:
        return self.load

    def close(self) -> None:
        self.done.append("closed")


class Listener:
    """A link listener without a socket."""

    refuses_to_start = False

    def __init__(self, engine: Any, *, name: str, host: str) -> None:
        self._engine = engine
        engine.done.append(f"listens as {name} on {host}")

    def start(self) -> LinkAddress:
        if self.refuses_to_start:
            raise OSError("the address is not this machine's")
        return ADDRESS

    def drain(self, timeout_s: float) -> None:
        self._engine.done.append(f"drained in {timeout_s:g} s")

    def close(self) -> None:
        self._engine.done.append("hung up")


@pytest.fixture(autouse=True)
def replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the replica 7 on a node, with a listener without a socket."""
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="replica-7"))
    monkeypatch.setattr(streaming_transcriber.serve, "get_replica_context", lambda: context)
    monkeypatch.setattr(streaming_transcriber.ray.util, "get_node_ip_address", lambda: "10.0.0.9")
    monkeypatch.setattr(streaming_transcriber, "LinkListener", Listener)


async def test_engine_is_warm_before_gateways_are_told_where_it_listens() -> None:
    engine = Engine()
    shell = StreamingTranscriber(lambda: engine)
    assert await shell.link_address() == ADDRESS
    assert engine.done == ["warmed", "listens as replica-7 on 10.0.0.9"]


def test_replica_with_a_late_engine_is_unhealthy() -> None:
    engine = Engine()
    shell = StreamingTranscriber(lambda: engine)
    shell.check_health()
    engine.failure = EngineError(Component.TRANSCRIBER, "ticks are late", retryable=True)
    with pytest.raises(EngineError, match="ticks are late"):
        shell.check_health()


@pytest.mark.parametrize(
    ("load", "told"),
    [
        ({}, {"in_flight": 0.0, "occupancy": 0.0, "lag_ms": 0.0}),
        (
            {"streams": 12.0, "slots": 16.0, "tick_lag_p95_ms": 31.0},
            {"in_flight": 12.0, "occupancy": 0.75, "lag_ms": 31.0},
        ),
    ],
)
def test_load_is_how_full_the_slots_are_and_how_late_the_ticks(load: dict[str, float], told: dict[str, float]) -> None:
    engine = Engine()
    shell = StreamingTranscriber(lambda: engine)
    engine.load = load
    assert shell.record_autoscaling_stats() == told


def test_end_lets_open_streams_finish_before_the_engine_goes_and_happens_once() -> None:
    engine = Engine()
    shell = StreamingTranscriber(lambda: engine)
    engine.done.clear()
    shell.__del__()
    shell.__del__()  # Serve calls it, and Python does again
    assert engine.done == [f"drained in {DRAIN_S:g} s", "hung up", "closed"]


def test_engine_that_could_not_be_opened_leaves_nothing_to_end() -> None:
    def fail() -> Any:
        raise EngineError(Component.TRANSCRIBER, "there is no model", retryable=False)

    shell = StreamingTranscriber.__new__(StreamingTranscriber)
    with pytest.raises(EngineError, match="there is no model"):
        shell.__init__(fail)  # type: ignore[misc]
    shell.__del__()


def test_engine_is_closed_when_its_replica_cannot_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listener, "refuses_to_start", True)
    engine = Engine()
    shell = StreamingTranscriber.__new__(StreamingTranscriber)
    with pytest.raises(OSError, match="not this machine's"):
        shell.__init__(lambda: engine)  # type: ignore[misc]
    shell.__del__()
    assert engine.done[-2:] == ["hung up", "closed"]
