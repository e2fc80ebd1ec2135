"""Pools: the engines that serve each stage of a call, by name. Each pool is one Serve deployment.

    pools:
      language_model:
        default: {engine: vllm, model: smollm2-135m-instruct}
        neuron:  {engine: neuron, model: llama-3-8b-instruct, replicas: {neuron_cores: 2}}

A pool's keys are those of its engine (`EngineSettings` and its subclasses) and those for Serve. Every stage has a pool
`default`, which may be changed, or removed with `default: null` if other pools serve the stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, StringConstraints, create_model

from cluster.config.engines import DEFAULT_ENGINES, EngineSettings, EngineSpec, checked_spec, parsed_strictly, spec_of
from cluster.config.section import Section
from pipelines.errors import Component

STAGES = (Component.TRANSCRIBER, Component.RETRIEVER, Component.LANGUAGE_MODEL, Component.SYNTHESIZER)
DEFAULT_POOL = "default"
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$")]


class ReplicaConfig(Section):
    """How the replicas of one deployment are placed on the cluster. It is read by Serve and not by replicas."""

    min_replicas: int = Field(default=1, ge=0, description="Smallest number of replicas.")
    max_replicas: int = Field(default=1, ge=1, description="Largest number of replicas.")
    num_cpus: float = Field(default=1.0, ge=0, description="Logical CPUs that Ray reserves for one replica.")
    num_gpus: float = Field(
        default=0.0, ge=0, description="GPUs that Ray reserves for one replica. A value below 1 is a share of one GPU."
    )
    neuron_cores: int = Field(
        default=0, ge=0, description="NeuronCores of one replica, as a whole number because a core cannot be shared."
    )
    max_ongoing_requests: int = Field(
        default=100, ge=1, description="Most requests that one replica handles at a time."
    )
    surge_percent: int = Field(
        default=100,
        ge=0,
        le=100,
        description="Percentage of replicas that a roll-out may start before old ones stop; 0 where there is no room.",
    )
    calls: float = Field(
        default=0,
        ge=0,
        description="Calls that one replica can hold within the latency target, as computed by `voxray plan`.",
    )
    price_per_hour: float = Field(
        default=0, ge=0, description="Price of one replica, counted against scaling.ceiling_per_hour."
    )
    gpu_memory_bytes: int = Field(
        default=0, ge=0, description="GPU memory that one replica may take; with 0 no limit is set."
    )


class PoolConfig(EngineSettings):
    """The keys of every pool. The pool of an engine has the keys of that engine as well."""

    machine: str = Field(
        default="",
        pattern="^(gateway|nvidia|neuron)?$",
        description="Kind of machines that the pool runs on. If empty, those that have what its replicas reserve.",
    )
    replicas: ReplicaConfig = ReplicaConfig()


@cache
def pool_type(settings: type[EngineSettings]) -> Any:
    """Return the type of a pool whose engine has these settings, which is a subclass of both."""
    name = f"{settings.__name__.removesuffix('Settings')}Pool"
    bases: Any = (settings, PoolConfig)
    return create_model(name, __base__=bases, __doc__=settings.__doc__)


def engine_settings_of(pool: PoolConfig, spec: EngineSpec) -> EngineSettings:
    """Return the settings in a pool that its replicas read."""
    return spec.settings.model_validate(pool.model_dump(include=set(spec.settings.model_fields)))


def _pool(component: Component, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    spec = checked_spec(component, value.get("engine", DEFAULT_ENGINES[component]))
    return parsed_strictly(pool_type(spec.settings), {"engine": spec.name, **value})


def _with_default(value: Any) -> Any:
    """Add the pool `default` unless it is mentioned, and remove the pools that are null."""
    if not isinstance(value, Mapping):
        return value
    return {name: pool for name, pool in {DEFAULT_POOL: {}, **value}.items() if pool is not None}


def _default_pools(component: Component) -> dict[str, PoolConfig]:
    return {DEFAULT_POOL: _pool(component, {})}


_Named = (BeforeValidator(_with_default), Field(min_length=1))
TranscriberPool = Annotated[SerializeAsAny[PoolConfig], BeforeValidator(partial(_pool, Component.TRANSCRIBER))]
RetrieverPool = Annotated[SerializeAsAny[PoolConfig], BeforeValidator(partial(_pool, Component.RETRIEVER))]
LanguageModelPool = Annotated[SerializeAsAny[PoolConfig], BeforeValidator(partial(_pool, Component.LANGUAGE_MODEL))]
SynthesizerPool = Annotated[SerializeAsAny[PoolConfig], BeforeValidator(partial(_pool, Component.SYNTHESIZER))]


class PoolsConfig(Section):
    """The pools of each stage, by name."""

    transcriber: Annotated[dict[PoolName, TranscriberPool], *_Named] = Field(
        default_factory=partial(_default_pools, Component.TRANSCRIBER),
        description="Pools that recognise speech, by name.",
    )
    retriever: Annotated[dict[PoolName, RetrieverPool], *_Named] = Field(
        default_factory=partial(_default_pools, Component.RETRIEVER),
        description="Pools that search the business data, by name.",
    )
    language_model: Annotated[dict[PoolName, LanguageModelPool], *_Named] = Field(
        default_factory=partial(_default_pools, Component.LANGUAGE_MODEL),
        description="Pools that write answers, by name.",
    )
    synthesizer: Annotated[dict[PoolName, SynthesizerPool], *_Named] = Field(
        default_factory=partial(_default_pools, Component.SYNTHESIZER),
        description="Pools that speak, by name.",
    )

    def of(self, component: Component) -> Mapping[str, PoolConfig]:
        """Return the pools of a stage."""
        found: Mapping[str, PoolConfig] = getattr(self, component.value)
        return found

    def each(self) -> Iterator[tuple[Component, str, PoolConfig]]:
        """Yield every pool, in the order in which a call passes through the stages."""
        for component in STAGES:
            for name, pool in self.of(component).items():
                yield component, name, pool


def spec_of_pool(component: Component, pool: PoolConfig) -> EngineSpec:
    """Return the engine of a pool."""
    return spec_of(component, pool.engine)


Route = Annotated[tuple[PoolName, ...], Field(min_length=1)]


class RoutesConfig(Section):
    """The order in which each stage's pools are tried for calls whose agent names none.

    The first pool that is healthy and has recently answered in time gets the request. If it fails before any output,
    the next one gets it.
    """

    transcriber: Route = Field(default=(DEFAULT_POOL,), description="Order of the pools that recognise speech.")
    retriever: Route = Field(default=(DEFAULT_POOL,), description="Order of the pools that search the business data.")
    language_model: Route = Field(default=(DEFAULT_POOL,), description="Order of the pools that write answers.")
    synthesizer: Route = Field(default=(DEFAULT_POOL,), description="Order of the pools that speak.")

    def of(self, component: Component) -> tuple[str, ...]:
        """Return the route of a stage."""
        found: tuple[str, ...] = getattr(self, component.value)
        return found


class FailoverConfig(Section):
    """How long a failed pool is left alone before it is used again."""

    first_retry_s: float = Field(
        default=1.0, gt=0, description="Rest of a pool after a failure; it doubles with each failure in a row."
    )
    longest_retry_s: float = Field(default=30.0, gt=0, description="Longest rest of a pool that keeps failing.")
