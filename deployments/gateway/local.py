"""One gateway process without Ray, for load tests. All its engines are scripted except for voice activity detection.

    python -m deployments.gateway.local --vad-model DIR [--core N]

It prints its port on the first line of standard output, and ends on SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop

from cluster.config.engines import EngineSettings, default_settings, spec_of
from cluster.config.parts import GatewayPart
from cluster.config.paths import SAMPLE_AGENTS
from cluster.config.pools import DEFAULT_POOL, STAGES
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.recognizer import ScriptedRecognizer
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.gateway.access import Access
from deployments.gateway.asgi import create_app
from deployments.gateway.opening import service_opener
from deployments.gateway.service import GatewayService, LiveSettings
from deployments.pools.hearing import RemoteRecognition, WindowedPool
from deployments.pools.offer import PoolEntry, PoolOffer
from pipelines.errors import Component
from pipelines.ports import LanguageModel, Passage, Retriever, Synthesizer

QUESTION = "How many days do I have to return an item?"
ANSWER = "You can return unused items within 30 days of delivery."
MAX_CALLS = 2_000


@dataclass(frozen=True, slots=True)
class EnginesHere:
    """Uses engines in this process in place of pools; a `deployments.pools.pools.ConnectPool`."""

    part: GatewayPart
    recognizer: RemoteRecognition
    retriever: Retriever
    language_model: LanguageModel
    synthesizer: Synthesizer

    def __call__(self, component: Component, name: str, entry: PoolEntry) -> Any:  # noqa: ARG002 - part of the port
        if component is Component.TRANSCRIBER:
            return WindowedPool(self.recognizer, self.part.hearing)
        return {
            Component.RETRIEVER: self.retriever,
            Component.LANGUAGE_MODEL: self.language_model,
            Component.SYNTHESIZER: self.synthesizer,
        }[component]


def offer_of_one() -> PoolOffer:
    """Return one pool for each stage."""
    entry = PoolEntry(application="here", deployment="here", model="scripted")
    return PoolOffer(
        pools={stage: {DEFAULT_POOL: entry} for stage in STAGES}, routes=dict.fromkeys(STAGES, (DEFAULT_POOL,))
    )


@asynccontextmanager
async def service_with_engines(connect: EnginesHere, access: Access) -> AsyncIterator[GatewayService]:
    """Serve with engines in this process."""
    async with service_opener(connect.part, connect, access) as service:
        await service.tell(LiveSettings(accepts_calls=True, offer=offer_of_one()))
        yield service


def scripted(component: Component) -> EngineSettings:
    """Return the settings of a component's scripted engine."""
    return spec_of(component, "scripted").settings(engine="scripted")


def local_part(vad_model: str) -> GatewayPart:
    """Return a part with Silero, as in production.

    The turn model is scripted, since it runs once per turn, not per frame.
    """
    detector = default_settings(Component.SPEECH_DETECTOR)
    base = GatewayPart(longest_call_s=3600, agents_folder=str(SAMPLE_AGENTS))
    changes = {
        "speech_detector": detector,
        "turn_detector": scripted(Component.TURN_DETECTOR),
        "max_calls": MAX_CALLS,
        "speculate_up_to_calls": MAX_CALLS,
    }
    models = {use.name: vad_model for use in spec_of(Component.SPEECH_DETECTOR, detector.engine).models(detector)}
    return base.model_copy(update={"gateway": base.gateway.model_copy(update=changes), "models": models})


async def serve(vad_model: str) -> None:
    """Serve until told to stop."""
    connect = EnginesHere(
        local_part(vad_model),
        ScriptedRecognizer(QUESTION),
        ScriptedRetriever([Passage(ANSWER, "faq.md", "Returns", 1.0, 0.9, 1.0)]),
        ScriptedLanguageModel(fallback=lambda _messages: ANSWER),
        ScriptedSynthesizer(),
    )
    app = create_app(lambda: service_with_engines(connect, Access("")))
    listener = socket.create_server(("127.0.0.1", 0), backlog=MAX_CALLS)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m deployments.gateway.local", description=__doc__)
    parser.add_argument("--vad-model", required=True, help="directory of the Silero model")
    parser.add_argument("--core", type=int, default=None, help="CPU core to stay on")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    try:
        uvloop.run(serve(arguments.vad_model))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
