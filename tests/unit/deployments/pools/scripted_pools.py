"""Pools of scripted engines that remember what is done to them."""

from __future__ import annotations

from typing import Any

from cluster.config.schema import HearingConfig
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.recognizer import ScriptedRecognizer
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.pools.hearing import WindowedPool
from deployments.pools.offer import PoolEntry, PoolOffer
from pipelines.errors import Component


class ClosingPool(WindowedPool):
    """A pool of recognisers that says when it is let go."""

    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


class ScriptedConnector:
    """A `deployments.pools.pools.ConnectPool`; `made` holds what it has connected, by application."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def __call__(self, component: Component, name: str, entry: PoolEntry) -> Any:
        made = {
            Component.TRANSCRIBER: lambda: ClosingPool(ScriptedRecognizer(), HearingConfig()),
            Component.RETRIEVER: ScriptedRetriever,
            Component.LANGUAGE_MODEL: ScriptedLanguageModel,
            Component.SYNTHESIZER: ScriptedSynthesizer,
        }[component]()
        self.made[entry.application] = made
        return made


def offer(**pools: list[str]) -> PoolOffer:
    """Return an offer of pools by stage, `default` for a stage that is not named; a route is all of them in order."""
    stages = (Component.TRANSCRIBER, Component.RETRIEVER, Component.LANGUAGE_MODEL, Component.SYNTHESIZER)
    names = {stage: pools.get(stage.value, ["default"]) for stage in stages}
    return PoolOffer(
        pools={
            stage: {
                name: PoolEntry(application=f"{stage.value}-{name}", deployment=f"{stage.value}-{name}", model=name)
                for name in known
            }
            for stage, known in names.items()
        },
        routes={stage: tuple(known) for stage, known in names.items()},
    )
