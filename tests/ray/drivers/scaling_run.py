"""Drives the fractional application through a load that comes and goes; prints one JSON line for each look.

python -m tests.ray.drivers.scaling_run        (in the environment of `fake_gpu_cluster`)
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

APPLICATION = "voxray"
MOST_CALLS = 16
KEPT_CALLS = 3
PHASE_S = 90.0


# What a replica holds in calls, how few and how many there may be, and its part of a GPU. The first node is full with
# one recogniser and two voices, so it is not the one that Serve empties.
LAYOUT: dict[str, tuple[float, int, int, float]] = {
    "Gateway": (8.0, 1, 2, 0.0),
    "Transcriber": (6.0, 1, 3, 0.5),
    "Synthesizer": (16.0, 2, 2, 0.25),
    "LanguageModel": (16.0, 0, 1, 1.0),
}


def serve_configuration() -> dict[str, Any]:
    """Return the configuration in the form that `cluster.render.serve_config` renders."""
    policy = {
        "stages": {name: {"calls_per_replica": holds} for name, (holds, _, _, _) in LAYOUT.items()},
        "limits": {"lead_s": 5, "headroom": 0, "deviations": 0, "hold_s": 6, "period_s": 1},
        "variant_idle_s": 600,
    }
    application = {
        "name": APPLICATION,
        "route_prefix": None,
        "import_path": "tests.ray.apps.fractional:build",
        "deployments": [_deployment(name, least, most, gpus) for name, (_, least, most, gpus) in LAYOUT.items()],
        "autoscaling_policy": {"policy_function": "autoscaling.ray_adapter:CallsPolicy", "policy_kwargs": policy},
    }
    return {"proxy_location": "Disabled", "applications": [application]}


def _deployment(name: str, least: int, most: int, gpus: float) -> dict[str, Any]:
    is_gateway = name == "Gateway"
    return {
        "name": name,
        "max_ongoing_requests": 1000,
        # A gateway that goes lets its calls end.
        "graceful_shutdown_timeout_s": 120 if is_gateway else 2,
        "graceful_shutdown_wait_loop_s": 0.2,
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "upscale_delay_s": 0,
            "downscale_delay_s": 0,
            "look_back_period_s": 12,
        },
        "ray_actor_options": {
            "num_cpus": 0,
            "num_gpus": gpus,
            **({"resources": {"head": 1}} if is_gateway else {}),
        },
    }


class Calls:
    """Calls held from threads of this driver; counts beats and everything that should not happen to a call."""

    def __init__(self) -> None:
        self._gateway = serve.get_deployment_handle("Gateway", APPLICATION)
        self._threads: dict[str, threading.Thread] = {}
        self.beats: Counter[str] = Counter()
        self.broken: dict[str, str] = {}
        self._ended: set[str] = set()

    def open(self, count: int) -> None:
        for _ in range(count):
            name = f"call{len(self._threads)}"
            thread = threading.Thread(target=self._hold, args=(name,), daemon=True)
            self._threads[name] = thread
            thread.start()

    def close(self, keep: int) -> None:
        going = list(self._threads)[keep:]
        self._ended.update(going)
        self._gateway.broadcast("end", going).results(timeout_s=20)

    def in_progress(self) -> int:
        return sum(thread.is_alive() for thread in self._threads.values())

    def _hold(self, name: str) -> None:
        try:
            expected = 0
            for number in self._gateway.options(stream=True).hold.remote(name):
                if number != expected:
                    self.broken[name] = f"beat {number} after {expected - 1}"
                expected = number + 1
                self.beats[name] = expected
            if name not in self._ended:
                self.broken[name] = "ended by itself"
        except Exception as error:
            self.broken[name] = type(error).__name__


def look(began_s: float, phase: str, calls: Calls | None) -> dict[str, Any]:
    """Return what there is now, and print it."""
    deployments = serve.status().applications[APPLICATION].deployments
    nodes = [node for node in ray.nodes() if node["Alive"]]
    row = {
        "at_s": round(time.monotonic() - began_s, 1),
        "phase": phase,
        "calls": calls.in_progress() if calls else 0,
        "running": {name: int(d.replica_states.get("RUNNING", 0)) for name, d in deployments.items()},
        "waiting": {name: int(d.replica_states.get("STARTING", 0)) for name, d in deployments.items()},
        "gpu_nodes": sum(1 for node in nodes if node["Resources"].get("GPU")),
        "broken": dict(calls.broken) if calls else {},
    }
    print(json.dumps(row), flush=True)  # noqa: T201 - the protocol of this driver
    return row


def until(is_done: Callable[[dict[str, Any]], bool], began_s: float, phase: str, calls: Calls | None) -> None:
    """Look twice a second until it is so, or for the longest that a phase may take."""
    end_s = time.monotonic() + PHASE_S
    while not is_done(look(began_s, phase, calls)) and time.monotonic() < end_s:
        time.sleep(0.5)


def is_up(row: dict[str, Any]) -> bool:
    """Whether every stage has what 16 calls need."""
    return bool(row["running"] == {"Gateway": 2, "Transcriber": 3, "Synthesizer": 2, "LanguageModel": 1})


def places() -> dict[str, list[list[str]]]:
    """Return (node, GPU) of each replica of the stages that share."""
    found: dict[str, list[list[str]]] = {}
    for name in ("Transcriber", "Synthesizer"):
        handle = serve.get_deployment_handle(name, APPLICATION)
        answers = handle.broadcast("where").results(timeout_s=20)
        found[name] = [list(answer) for answer in answers]
    return found


def main() -> None:
    """Deploy, load, unload."""
    ray.init(log_to_driver=False, namespace="serve")
    serve.start(proxy_location="Disabled")
    began_s = time.monotonic()
    _get_global_client().deploy_apps(ServeDeploySchema(**serve_configuration()))
    until(lambda row: sum(row["running"].values()) >= 4, began_s, "start", None)
    print(json.dumps({"places": places()}), flush=True)  # noqa: T201
    calls = Calls()
    calls.open(MOST_CALLS)
    until(is_up, began_s, "up", calls)
    calls.close(KEPT_CALLS)
    until(lambda row: row["running"]["Transcriber"] == 1 and row["gpu_nodes"] <= 2, began_s, "down", calls)
    before = dict(calls.beats)
    time.sleep(1)
    kept = {name: calls.beats[name] - before[name] for name in (f"call{number}" for number in range(KEPT_CALLS))}
    calls.close(0)
    until(lambda row: row["calls"] == 0 and row["gpu_nodes"] == 1, began_s, "end", calls)
    print(json.dumps({"kept_beats_in_a_second": kept}), flush=True)  # noqa: T201
    sys.stdout.flush()


if __name__ == "__main__":
    main()
