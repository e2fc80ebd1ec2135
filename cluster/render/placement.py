"""Lists the deployments of a configuration, with the Serve application and the machines of each."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.config.engines import EngineSpec
from cluster.config.pools import DEFAULT_POOL, PoolConfig, ReplicaConfig, spec_of_pool
from cluster.config.schema import VoxrayConfig
from cluster.config.topology import NodePoolConfig
from pipelines.errors import Component

# Label of nodes in Ray and in Kubernetes, which Terraform also gives to its machines.
POOL_LABEL = "voxray-pool"
# Resource that jobs on business data request, so that they run where no calls are.
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
        application: its Serve application, of which each pool has its own.
        component: the component that it implements.
        replicas: the number of replicas, and what each reserves.
        pool_name, pool: the engine pool; "" and None for the gateway.
    """

    name: str
    application: str
    component: Component
    replicas: ReplicaConfig
    pool_name: str = ""
    pool: PoolConfig | None = None

    @property
    def spec(self) -> EngineSpec | None:
        """The pool's engine, or None for the gateway."""
        return spec_of_pool(self.component, self.pool) if self.pool is not None else None

    @property
    def machine(self) -> str:
        """The kind of machines it runs on: the pool's choice, or those that have what its replicas reserve."""
        if self.pool is not None and self.pool.machine:
            return self.pool.machine
        if self.replicas.neuron_cores:
            return "neuron"
        return "nvidia" if self.replicas.num_gpus else "gateway"

    @property
    def path(self) -> tuple[str, ...]:
        """Path of the deployment in the configuration."""
        return ("pools", self.component.value, self.pool_name) if self.pool is not None else ("gateway",)

    @property
    def key(self) -> str:
        """Path of the deployment in the configuration, as people write it."""
        return ".".join(self.path)


def deployment_name(component: Component, pool: str) -> str:
    """Return the name of a pool's deployment, as it appears in metrics and logs."""
    return SHELL_NAMES[component] if pool == DEFAULT_POOL else f"{SHELL_NAMES[component]}-{pool}"


def placed_pool(component: Component, name: str, pool: PoolConfig) -> Placed:
    """Return the deployment of a pool.

    A streaming recogniser has a different application than a non-streaming one, because gateways reach them in
    different ways. A change from one to the other is therefore a new pool in place of the old one, which calls in
    progress keep.
    """
    kind = "-streams" if spec_of_pool(component, pool).is_streaming else ""
    application = f"{component.value.replace('_', '-')}-{name}{kind}"
    return Placed(deployment_name(component, name), application, component, pool.replicas, name, pool)


def deployments_of(config: VoxrayConfig) -> tuple[Placed, ...]:
    """Return the deployments of a configuration, in the order in which a call passes through them."""
    return (
        Placed(GATEWAY, APPLICATION, Component.GATEWAY, config.gateway.replicas),
        *(placed_pool(component, name, pool) for component, name, pool in config.pools.each()),
    )


def offered(name: str, pool: NodePoolConfig) -> dict[str, int]:
    """Return the resources that a node of a pool offers to Ray, by Ray's names, with memory in bytes."""
    amounts = {
        "CPU": pool.cpus,
        "GPU": pool.gpus,
        "neuron_cores": pool.neuron_cores,
        INGEST_RESOURCE: int(name == "ingest"),
        "memory": pool.memory_gib * 2**30,
    }
    return {resource: amount for resource, amount in amounts.items() if amount}
