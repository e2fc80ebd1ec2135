"""Which deployments a configuration has, in which Serve application each is, and on which machines it runs."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.config.engines import EngineSpec
from cluster.config.pools import DEFAULT_POOL, PoolConfig, ReplicaConfig, spec_of_pool
from cluster.config.schema import VoxrayConfig
from cluster.config.topology import NodePoolConfig
from pipelines.errors import Component

# Of nodes, in Ray and in Kubernetes; Terraform gives it to its machines too.
POOL_LABEL = "voxray-pool"
# What jobs on business data ask for, so that they run where no calls are.
INGEST_RESOURCE = "ingest"
# The application of the gateways, which is what callers reach.
APPLICATION = "voxray"
GATEWAY = "Gateway"
SHELL_NAMES = {
    Component.TRANSCRIBER: "Transcriber",
    Component.RETRIEVER: "Retriever",
    Component.LANGUAGE_MODEL: "LanguageModel",
    Component.SYNTHESIZER: "Synthesizer",
}


@dataclass(frozen=True, slots=True)
class Placed:
    """One deployment.

    Attributes:
        name: its name in Serve, in logs and in `voxray status`; "LanguageModel-neuron" of the pool neuron.
        application: the Serve application that it is in; each pool has one of its own.
        component: what it does.
        replicas: how many there are, and what each reserves.
        pool_name, pool: the engine pool; "" and None of the gateway.
    """

    name: str
    application: str
    component: Component
    replicas: ReplicaConfig
    pool_name: str = ""
    pool: PoolConfig | None = None

    @property
    def spec(self) -> EngineSpec | None:
        """The engine; None of the gateway."""
        return spec_of_pool(self.component, self.pool) if self.pool is not None else None

    @property
    def machine(self) -> str:
        """The kind of machines that it runs on: the pool's own word, or those that have what its replicas reserve."""
        if self.pool is not None and self.pool.machine:
            return self.pool.machine
        if self.replicas.neuron_cores:
            return "neuron"
        return "nvidia" if self.replicas.num_gpus else "gateway"

    @property
    def path(self) -> tuple[str, ...]:
        """Where it stands in the configuration."""
        return ("pools", self.component.value, self.pool_name) if self.pool is not None else ("gateway",)

    @property
    def key(self) -> str:
        """Where it stands in the configuration, as people write it."""
        return ".".join(self.path)


def deployment_name(component: Component, pool: str) -> str:
    """Return the name of a pool's deployment, which people read in metrics and logs."""
    return SHELL_NAMES[component] if pool == DEFAULT_POOL else f"{SHELL_NAMES[component]}-{pool}"


def placed_pool(component: Component, name: str, pool: PoolConfig) -> Placed:
    """Return the deployment of a pool.

    A recogniser that streams has another application than one that does not: gateways reach them in different ways, so
    a change from one to the other is a new pool in place of the old one, which the calls in progress keep.
    """
    kind = "-streams" if spec_of_pool(component, pool).is_streaming else ""
    application = f"{component.value.replace('_', '-')}-{name}{kind}"
    return Placed(deployment_name(component, name), application, component, pool.replicas, name, pool)


def deployments_of(config: VoxrayConfig) -> tuple[Placed, ...]:
    """Return the deployments of a configuration, in the order of a call's way through them."""
    return (
        Placed(GATEWAY, APPLICATION, Component.GATEWAY, config.gateway.replicas),
        *(placed_pool(component, name, pool) for component, name, pool in config.pools.each()),
    )


def offered(name: str, pool: NodePoolConfig) -> dict[str, int]:
    """Return what a node of a pool offers to Ray, by Ray's names; memory in bytes."""
    amounts = {
        "CPU": pool.cpus,
        "GPU": pool.gpus,
        "neuron_cores": pool.neuron_cores,
        INGEST_RESOURCE: int(name == "ingest"),
        "memory": pool.memory_gib * 2**30,
    }
    return {resource: amount for resource, amount in amounts.items() if amount}
