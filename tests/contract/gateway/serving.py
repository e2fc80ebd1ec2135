"""A gateway on a real socket, under uvicorn, with scripted engines, in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from cluster.config.schema import VoxrayConfig
from deployments.engine_choice import EngineChoice
from deployments.engines.scripted.engines import ScriptedLanguageModel, ScriptedRetriever, ScriptedSynthesizer
from deployments.engines.scripted.recognizer import ScriptedRecognizer
from deployments.gateway.asgi import create_app
from deployments.gateway.opening import RemoteEngines, service_opener
from pipelines.ports import Passage

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
    adjust: Callable[[VoxrayConfig], VoxrayConfig] = lambda config: config, api_key: str = ""
) -> Iterator[ServedGateway]:
    """Serve until the context is left; `adjust` may change the configuration of the scripted profile."""
    config = adjust(scripted_config())
    engines = scripted_engines()
    remote = RemoteEngines(engines.recognizer.recognize, engines.retriever, engines.language_model, engines.synthesizer)
    app = create_app(lambda: service_opener(EngineChoice(config, {}), remote, api_key))
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


def scripted_config() -> VoxrayConfig:
    """The scripted profile: energy VAD, fixed turn model."""
    base = VoxrayConfig()
    gateway = base.gateway.model_copy(update={"vad_engine": "scripted", "turn_engine": "scripted"})
    return base.model_copy(update={"profile": "scripted", "gateway": gateway})
