"""The parts of the configuration as types. A process can read only what is in its part.

The parts travel as plain data in the arguments of Serve's applications (`cluster.render.serve_config`), so a change of
a part replaces the processes that read it and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SerializeAsAny, model_validator

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec, parsed_strictly, spec_of
from cluster.config.pools import FailoverConfig, PoolConfig, engine_settings_of, spec_of_pool
from cluster.config.schema import (
    AnsweringConfig,
    GatewaySettings,
    HearingConfig,
    TurnConfig,
    VoxrayConfig,
)
from cluster.config.section import Section
from cluster.config.uses import gateway_engines
from pipelines.errors import Component


class Addresses(Section):
    """Addresses of a cluster's services, as URLs without passwords."""

    redis_url: str = ""
    milvus_uri: str = ""
    sql_url: str = ""
    objects_url: str = ""


class GatewayPart(Section):
    """Everything that a gateway's process reads."""

    gateway: GatewaySettings = GatewaySettings()
    turn: TurnConfig = TurnConfig()
    hearing: HearingConfig = HearingConfig()
    answering: AnsweringConfig = AnsweringConfig()
    failover: FailoverConfig = FailoverConfig()
    longest_call_s: int
    agents_folder: str
    redis_url: str = ""
    redis_password_env: str = ""
    milvus_alias: str = ""
    models: Mapping[str, str] = {}

    @classmethod
    def of(
        cls, config: VoxrayConfig, agents_folder: str, addresses: Addresses, models: Mapping[str, str]
    ) -> GatewayPart:
        """Take the part out of the tree.

        Args:
            config: the configuration.
            agents_folder: absolute path of the agents' files on the gateways' machines.
            addresses: addresses of the services.
            models: path of each model by name, of which only those that a gateway loads itself are kept.
        """
        told = GatewaySettings.model_validate(config.gateway.model_dump(include=set(GatewaySettings.model_fields)))
        used = {model.name for use in gateway_engines(told) for model in use.models}
        return cls(
            gateway=told,
            turn=config.turn,
            hearing=config.hearing,
            answering=config.answering,
            failover=config.failover,
            longest_call_s=config.ingress.longest_call_s,
            agents_folder=agents_folder,
            redis_url=addresses.redis_url,
            redis_password_env=config.services.redis.password_env,
            milvus_alias=config.services.milvus.alias,
            models={name: path for name, path in sorted(models.items()) if name in used},
        )

    @property
    def site(self) -> EngineSite:
        """The surroundings in which the gateway's own engines are opened."""
        return EngineSite(models=self.models)


class PoolPart(Section):
    """Everything that a replica of a pool reads."""

    component: Component
    pool: str
    settings: SerializeAsAny[EngineSettings]
    num_gpus: float = 0.0
    neuron_cores: int = 0
    milvus_alias: str = ""
    milvus_token_env: str = ""
    addresses: Addresses = Addresses()
    models: Mapping[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _settings_of_the_engine(cls, values: Any) -> Any:
        """Parse the settings with the type of the engine that they name."""
        if isinstance(values, Mapping) and isinstance(values.get("settings"), Mapping):
            settings = values["settings"]
            spec = spec_of(Component(values["component"]), settings["engine"])
            return {**values, "settings": parsed_strictly(spec.settings, settings)}
        return values

    @classmethod
    def of(
        cls, config: VoxrayConfig, component: Component, name: str, addresses: Addresses, models: Mapping[str, str]
    ) -> PoolPart:
        """Take the part of one pool out of the tree."""
        pool: PoolConfig = config.pools.of(component)[name]
        spec = spec_of_pool(component, pool)
        settings = engine_settings_of(pool, spec)
        used = {use.name for use in spec.models(settings)}
        milvus = config.services.milvus
        is_retriever = component is Component.RETRIEVER
        # Only the addresses it uses are included, since a changed address must not replace replicas that never use it.
        reached = Addresses(
            milvus_uri=addresses.milvus_uri if is_retriever else "",
            objects_url=addresses.objects_url if spec.needs_neuron else "",
        )
        return cls(
            component=component,
            pool=name,
            settings=settings,
            num_gpus=pool.replicas.num_gpus,
            neuron_cores=pool.replicas.neuron_cores,
            milvus_alias=milvus.alias if is_retriever else "",
            milvus_token_env=milvus.token_env if is_retriever else "",
            addresses=reached,
            models={model: path for model, path in sorted(models.items()) if model in used},
        )

    @property
    def spec(self) -> EngineSpec:
        """The engine of the pool."""
        return spec_of(self.component, self.settings.engine)

    def site(self, milvus_token: str, **more: Any) -> EngineSite:
        """Return the surroundings in which the engine is opened.

        Args:
            milvus_token: the secret that `milvus_token_env` names.
            more: fields that only the process knows.
        """
        return EngineSite(
            models=self.models,
            num_gpus=self.num_gpus,
            neuron_cores=self.neuron_cores,
            milvus_uri=self.addresses.milvus_uri,
            milvus_token=milvus_token,
            milvus_alias=self.milvus_alias,
            objects_url=self.addresses.objects_url,
            **more,
        )
