"""Lists the engines that a configuration names and the models they load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cluster.config.engines import EngineSettings, EngineSpec, ModelUse, default_settings, spec_of
from cluster.config.environment import KeyPath
from cluster.config.pools import DEFAULT_POOL
from cluster.config.schema import GatewaySettings, VoxrayConfig
from pipelines.errors import Component


@dataclass(frozen=True, slots=True)
class EngineUse:
    """An engine named by a configuration, and the key that names it."""

    path: KeyPath
    settings: EngineSettings
    spec: EngineSpec

    @property
    def models(self) -> tuple[ModelUse, ...]:
        """The models that the engine loads."""
        return self.spec.models(self.settings)


def gateway_engines(gateway: GatewaySettings) -> Iterator[EngineUse]:
    """Yield the engines that run in a gateway's own process."""
    for component in (Component.SPEECH_DETECTOR, Component.TURN_DETECTOR):
        settings: EngineSettings = getattr(gateway, component.value)
        yield EngineUse(("gateway", component.value), settings, spec_of(component, settings.engine))


def engine_uses(config: VoxrayConfig) -> Iterator[EngineUse]:
    """Yield every engine of a configuration."""
    yield from gateway_engines(config.gateway)
    for component, name, pool in config.pools.each():
        yield EngineUse(("pools", component.value, name), pool, spec_of(component, pool.engine))


def model_uses(config: VoxrayConfig) -> Iterator[tuple[KeyPath, ModelUse]]:
    """Yield every model that a configuration's engines load, with its key. Scripted engines load none."""
    for use in engine_uses(config):
        for model in use.models:
            yield (*use.path, model.key), model


def embedding_model(config: VoxrayConfig) -> str:
    """Return the encoder of the first retriever pool that has one, or "".

    The jobs embed business data with it, so it must be the encoder of the questions. The pool `default` comes first.
    """
    pools = config.pools.of(Component.RETRIEVER)
    ordered = [pools[name] for name in sorted(pools, key=lambda name: name != DEFAULT_POOL)]
    return next((name for pool in ordered if (name := _encoder_of(pool))), "")


def jobs_encoder(config: VoxrayConfig) -> str:
    """Return the encoder that jobs embed with: that of the questions, or the default one where nothing searches."""
    return embedding_model(config) or _encoder_of(default_settings(Component.RETRIEVER))


def _encoder_of(settings: EngineSettings) -> str:
    uses = spec_of(Component.RETRIEVER, settings.engine).models(settings)
    return next((use.name for use in uses if use.kind == "embedding"), "")
