"""The application at a glance:

    client ── WebSocket ── Gateway ──┬── Transcriber          whole utterances, growing while the caller speaks; or, as
                                     │                        StreamingTranscriber, all calls' audio a tick (stage link)
                                     ├── Retriever            one question, a few passages
                                     ├── LanguageModel        a prompt in, clauses out
                                     ├── LanguageModelNeuron  the same on other machines, if there are both kinds
                                     └── Synthesizer          a clause in, audio out

Audio frames stay in the gateway's process (voice activity, turn ends, the session core). What crosses a hop is an
utterance, a question, a clause. `build` gives the structure; the numbers (replicas, resources, threads) are in the
rendered Serve configuration, where an operator can change them in place.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster.config.environment import process_environment, secret
from cluster.config.schema import VoxrayConfig
from deployments.engine_choice import EngineChoice
from deployments.gateway.admission import Admission
from deployments.gateway.asgi import create_app
from deployments.gateway.knowledge import change_feed
from deployments.gateway.opening import RemoteEngines, service_opener
from deployments.gateway.service import ToldToGateway
from deployments.pools.handles import (
    LinkDirectory,
    RemoteLanguageModel,
    RemoteRecognizer,
    RemoteRetriever,
    RemoteSynthesizer,
)
from deployments.pools.routing import RoutedLanguageModel
from deployments.shells.language_model import LanguageModel
from deployments.shells.retriever import Retriever
from deployments.shells.streaming_transcriber import StreamingTranscriber
from deployments.shells.synthesizer import Synthesizer
from deployments.shells.transcriber import Transcriber
from pipelines import ports


class Gateway:
    """Holds the sockets; its application is made in the replica, since it holds the remote engines' handles."""

    def __init__(
        self,
        choice: EngineChoice,
        transcriber: DeploymentHandle,
        retriever: DeploymentHandle,
        language_model: DeploymentHandle,
        synthesizer: DeploymentHandle,
        *,
        neuron_language_model: DeploymentHandle | None = None,
        redis_url: str = "",
    ) -> None:
        self._choice = choice
        self._redis_url = redis_url
        self._admission = Admission(choice.config.gateway.max_calls)
        self._app: FastAPI | None = None
        self._remote = RemoteEngines(
            recognize=RemoteRecognizer(transcriber).recognize,
            find_recognizers=LinkDirectory(transcriber).find if choice.config.transcriber.is_streaming else None,
            retriever=RemoteRetriever(retriever),
            language_model=language_model_over(choice.config, language_model, neuron_language_model),
            synthesizer=RemoteSynthesizer(synthesizer),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make the application that Serve's ingress runs (the hook of `serve.ingress(None)`)."""
        name = self._choice.config.gateway.api_key_env
        api_key = secret(process_environment(), name, needed_by="gateway.api_key_env")
        feed = change_feed(self._choice.config, self._redis_url) if self._redis_url else None
        self._app = create_app(lambda: service_opener(self._choice, self._remote, api_key, self._admission), feed)
        return self._app

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take what may change under calls in progress (`serve_config.told_to_gateway`); calls that are open go on.

        Serve calls it once after the application has started, and again at every change.
        """
        assert self._app is not None
        self._app.state.service.tell(ToldToGateway(**user_config))

    async def open_calls(self) -> int:
        """Return how many calls this replica holds."""
        assert self._app is not None
        calls: int = self._app.state.service.admission.calls
        return calls

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._admission.stats()


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application from the arguments of a rendered Serve configuration (`cluster.render.serve_config`).

    Args:
        args: `config` (the typed configuration as plain data), `addresses` (of the services), `models` (paths).
    """
    config = VoxrayConfig.model_validate(args["config"])
    addresses = args["addresses"]
    choice = EngineChoice(config, args["models"], addresses["milvus_uri"], addresses["objects_url"])
    second_pool: dict[str, Any] = {}
    if config.language_model.neuron.is_second_pool:
        second_pool["neuron_language_model"] = deployed(LanguageModel, "LanguageModelNeuron").bind(
            choice.neuron_language_model
        )
    return deployed(serve.ingress(None)(Gateway), "Gateway").bind(
        choice,
        bound_transcriber(choice),
        deployed(Retriever).bind(choice.retriever),
        deployed(LanguageModel).bind(choice.language_model),
        deployed(Synthesizer).bind(choice.synthesizer),
        **second_pool,
        redis_url=args["addresses"].get("redis_url", ""),
    )


def bound_transcriber(choice: EngineChoice) -> serve.Application:
    """Return the recogniser's deployment; both kinds bear one name, so that a change of engine is one line."""
    if choice.config.transcriber.is_streaming:
        return deployed(StreamingTranscriber, "Transcriber").bind(choice.streaming_recognizer)
    return deployed(Transcriber).bind(choice.recognizer)


def language_model_over(
    config: VoxrayConfig, main: DeploymentHandle, second: DeploymentHandle | None
) -> ports.LanguageModel:
    """Return the language model as the gateway uses it: one pool, or two behind one port."""
    if second is None:
        return RemoteLanguageModel(main)
    return RoutedLanguageModel({"main": RemoteLanguageModel(main), "neuron": RemoteLanguageModel(second)}, config)


def deployed(cls: type, name: str = "") -> serve.Deployment:
    """Make a deployment of a plain class, named after it."""
    return serve.deployment(name=name or cls.__name__)(cls)
