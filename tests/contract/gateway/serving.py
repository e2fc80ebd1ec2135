"""A gateway on a real socket, under uvicorn, with scripted engines, in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from cluster.config.parts import GatewayPart
from cluster.config.paths import SAMPLE_AGENTS
from cluster.config.schema import GatewaySettings
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.recognizer import ScriptedRecognizer
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.gateway.access import Access
from deployments.gateway.asgi import create_app
from deployments.gateway.local import EnginesHere, scripted, service_with_engines
from pipelines.errors import Component
from pipelines.ports import LanguageModel, Passage

RETURN_SENTENCE = "You can return unused items within 30 days of delivery."
PASSAGE = Passage(RETURN_SENTENCE, "faq/returns.md", "Returns", 1.0, 0.9, 1.0)
QUESTION = "How many days do I have to return an item?"


@dataclass(slots=True)
class Scripted:
    """The scripted engines behind a gateway; tests may change their scripts while it runs."""

    recognizer: ScriptedRecognizer
    retriever: ScriptedRetriever
    language_model: ScriptedLanguageModel
    synthesizer: ScriptedSynthesizer


@dataclass(slots=True)
class ServedGateway:
    http_url: str
    engines: Scripted

    @property
    def ws_url(self) -> str:
        return self.http_url.replace("http", "ws", 1) + "/v1/realtime"


def scripted_engines() -> Scripted:
    return Scripted(
        ScriptedRecognizer(QUESTION),
        ScriptedRetriever([PASSAGE]),
        ScriptedLanguageModel(fallback=lambda _messages: RETURN_SENTENCE),
        ScriptedSynthesizer(),
    )


@contextmanager
def serve_gateway(
    adjust: Callable[[GatewayPart], GatewayPart] = lambda part: part,
    api_key: str = "",
    language_model: LanguageModel | None = None,
) -> Iterator[ServedGateway]:
    """Serve until the context is left.

    Args:
        adjust: may change what the gateway reads of the configuration.
        api_key: the key that clients must show; "" for none.
        language_model: serves in place of the scripted one.
    """
    engines = scripted_engines()
    connect = EnginesHere(
        adjust(scripted_part()),
        engines.recognizer,
        engines.retriever,
        language_model or engines.language_model,
        engines.synthesizer,
    )
    app = create_app(lambda: service_with_engines(connect, Access(api_key)))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws_max_size=2**25))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the gateway did not start")
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield ServedGateway(f"http://127.0.0.1:{port}", engines)
    finally:
        server.should_exit = True
        thread.join(10)


def scripted_part() -> GatewayPart:
    """A gateway with the energy VAD and the fixed turn model, and the sample company's agent."""
    gateway = GatewaySettings(
        speech_detector=scripted(Component.SPEECH_DETECTOR), turn_detector=scripted(Component.TURN_DETECTOR)
    )
    return GatewayPart(gateway=gateway, longest_call_s=3600, agents_folder=str(SAMPLE_AGENTS))
