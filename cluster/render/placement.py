"""Which deployment runs on which pool of nodes, with which section of the tree."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.config.schema import ReplicaConfig, VoxrayConfig
from cluster.config.topology import PoolConfig

# Of nodes, in Ray and in Kubernetes; Terraform gives it to its machines too.
POOL_LABEL = "voxray-pool"
# What jobs on business data ask for, so that they run where no calls are.
INGEST_RESOURCE = "ingest"


@dataclass(frozen=True, slots=True)
class Placed:
    """One deployment. `section` is its key in the tree; "" for the gateway, which reads all of it."""

    name: str
    section: str
    replicas: ReplicaConfig
    is_vllm: bool = False
    is_second_pool: bool = False

    @property
    def pool(self) -> str:
        """The pool whose nodes have what its replicas need."""
        if self.replicas.neuron_cores:
            return "neuron"
        return "nvidia" if self.replicas.num_gpus else "gateway"


def offered(name: str, pool: PoolConfig) -> dict[str, int]:
    """Return what a node of a pool offers to Ray, by Ray's names; memory in bytes."""
    amounts = {
        "CPU": pool.cpus,
        "GPU": pool.gpus,
        "neuron_cores": pool.neuron_cores,
        INGEST_RESOURCE: int(name == "ingest"),
        "memory": pool.memory_gib * 2**30,
    }
    return {resource: amount for resource, amount in amounts.items() if amount}


def deployments_of(config: VoxrayConfig) -> tuple[Placed, ...]:
    """Return the deployments of a configuration, in the order of a call's way through them."""
    model = config.language_model
    second = (
        Placed("LanguageModelNeuron", "language_model", model.neuron.replicas, is_vllm=True, is_second_pool=True),
    )
    return (
        Placed("Gateway", "", config.gateway.replicas),
        Placed("Transcriber", "transcriber", config.transcriber.replicas),
        Placed("Retriever", "retriever", config.retriever.replicas),
        Placed("LanguageModel", "language_model", model.replicas, is_vllm=True),
        *(second if model.neuron.is_second_pool else ()),
        Placed("Synthesizer", "synthesizer", config.synthesizer.replicas),
    )
