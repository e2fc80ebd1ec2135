"""The application at a glance:

    client ── WebSocket ── Gateway ──┬── Transcriber      whole utterances, growing while the caller speaks
                                     ├── Retriever        one question, a few passages
                                     ├── LanguageModel    a prompt in, clauses out
                                     └── Synthesizer      a clause in, audio out

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
from deployments.gateway.opening import RemoteEngines, service_opener
from deployments.handles import RemoteLanguageModel, RemoteRecognizer, RemoteRetriever, RemoteSynthesizer
from deployments.language_model import LanguageModel
from deployments.retriever import Retriever
from deployments.synthesizer import Synthesizer
from deployments.transcriber import Transcriber


class Gateway:
    """Holds the sockets; its application is made in the replica, since it holds the remote engines' handles."""

    def __init__(
        self,
        choice: EngineChoice,
        transcriber: DeploymentHandle,
        retriever: DeploymentHandle,
        language_model: DeploymentHandle,
        synthesizer: DeploymentHandle,
    ) -> None:
        self._choice = choice
        self._admission = Admission(choice.config.gateway.max_calls)
        self._remote = RemoteEngines(
            recognize=RemoteRecognizer(transcriber).recognize,
            retriever=RemoteRetriever(retriever),
            language_model=RemoteLanguageModel(language_model),
            synthesizer=RemoteSynthesizer(synthesizer),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make the application that Serve's ingress runs (the hook of `serve.ingress(None)`)."""
        name = self._choice.config.gateway.api_key_env
        api_key = secret(process_environment(), name, needed_by="gateway.api_key_env")
        return create_app(lambda: service_opener(self._choice, self._remote, api_key, self._admission))

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._admission.stats()


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application from the arguments of a rendered Serve configuration (`cluster.render.serve_config`).

    Args:
        args: `config` (the typed configuration as plain data), `addresses` (of the services), `models` (paths).
    """
    config = VoxrayConfig.model_validate(args["config"])
    choice = EngineChoice(config, args["models"], args["addresses"]["milvus_uri"])
    return deployed(serve.ingress(None)(Gateway), "Gateway").bind(
        choice,
        deployed(Transcriber).bind(choice.recognizer),
        deployed(Retriever).bind(choice.retriever),
        deployed(LanguageModel).bind(choice.language_model),
        deployed(Synthesizer).bind(choice.synthesizer),
    )


def deployed(cls: type, name: str = "") -> serve.Deployment:
    """Make a deployment of a plain class, named after it."""
    return serve.deployment(name=name or cls.__name__)(cls)
