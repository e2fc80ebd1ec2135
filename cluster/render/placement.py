"""Which deployment runs on which pool of nodes, with which section of the tree."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.config.schema import ReplicaConfig, VoxrayConfig

# Of nodes, in Ray and in Kubernetes; Terraform gives it to its machines too.
POOL_LABEL = "voxray-pool"


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
