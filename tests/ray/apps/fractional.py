"""A small application that scales as the product does: the product's policy and meters, stages that only wait.

Gateway (the head) ── counts calls; each is a stream of numbers until it is told to end
Transcriber 0.5 GPU, two Synthesizers 0.25 GPU each ── fit on one GPU together
LanguageModel 1 GPU ── needs a node of its own
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.gateway.admission import Admission
from deployments.shells.load import LoadMeter

BEAT_S = 0.1


class Gateway:
    """Holds calls."""

    def __init__(self, stages: list[DeploymentHandle]) -> None:
        self._stages = stages
        self._admission = Admission(1000)
        self._ended: set[str] = set()

    async def hold(self, call: str) -> AsyncIterator[int]:
        """Yield 0, 1, 2, ... until the call is ended: a gap, or an early end, is a call that was touched."""
        number = 0
        with self._admission.admit():
            while call not in self._ended:
                yield number
                number += 1
                await asyncio.sleep(BEAT_S)

    async def end(self, calls: list[str]) -> None:
        self._ended.update(calls)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._admission.stats()


class Stage:
    """Takes a part of a GPU."""

    def __init__(self) -> None:
        self._load = LoadMeter()

    async def where(self) -> tuple[str, str]:
        """Return the node that this replica is on, and the GPU that it sees."""
        with self._load.request():
            return ray.get_runtime_context().get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._load.stats()


STAGES = ("Transcriber", "Synthesizer", "LanguageModel")


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application; resources and replicas are in the Serve configuration."""
    stages = [serve.deployment(Stage).options(name=name).bind() for name in STAGES]
    return serve.deployment(Gateway).bind(stages)  # type: ignore[no-any-return]
