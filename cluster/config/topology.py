"""The topology: which machines a cluster has, and the times that its parts give a call to end.

One description for all that is rendered (`cluster.render`): Kubernetes manifests, Ray's own autoscaler on EC2, the
local head. Four pools are known, one image each; a pool with `max_nodes: 0` is left out. A time of 0 means: derived
from `ingress.longest_call_s` and `ingress.drain_s` (`cluster.render.times`), which is what nearly everybody wants.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cluster.config.section import Section

Accelerator = Literal["none", "nvidia", "neuron"]

# A field that a kind of machine lays differently keeps its meaning.
_ACCELERATOR = "Kind of accelerator that each machine has."
_INSTANCE_TYPE = "AWS instance type of the machines."
_CPUS = "CPUs of a machine that are offered to Ray; leave some of it to the system."
_MEMORY = "Memory of the pod or the container, in GiB."
_GPUS = "GPUs of a machine that are offered to Ray."
_GPU_MEMORY = "Memory of one GPU, in GiB."
_NEURON_CORES = "NeuronCores of a machine that are offered to Ray."
_IS_SPOT = "Whether the machines are spot instances, which AWS may take back."
_IDLE_TIMEOUT = "A machine that nothing uses goes after this long."


class NodePoolConfig(Section):
    """Machines of one kind. What a node offers to Ray is `cpus`, `gpus`, `neuron_cores`; the rest is for the system."""

    accelerator: Accelerator = Field(default="none", description=_ACCELERATOR)
    image: str = Field(
        default="",
        description="Whole reference of the container image; empty: topology.image_repository/KIND:image_tag.",
    )
    instance_type: str = Field(default="", description=_INSTANCE_TYPE)
    min_nodes: int = Field(default=0, ge=0, description="Smallest number of machines.")
    max_nodes: int = Field(default=0, ge=0, description="Largest number of machines; 0: the cluster has no such pool.")
    cpus: int = Field(default=1, ge=1, description=_CPUS)
    memory_gib: int = Field(default=1, ge=1, description=_MEMORY)
    gpus: int = Field(default=0, ge=0, description=_GPUS)
    gpu_memory_gib: float = Field(default=0.0, ge=0, description=_GPU_MEMORY)
    neuron_cores: int = Field(default=0, ge=0, description=_NEURON_CORES)
    is_spot: bool = Field(default=False, description=_IS_SPOT)
    idle_timeout_s: int = Field(default=600, ge=10, description=_IDLE_TIMEOUT)


class GatewayPoolConfig(NodePoolConfig):
    """Gateways, and engines without an accelerator."""

    instance_type: str = Field(default="m7i.2xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=7, ge=1, description=_CPUS)
    memory_gib: int = Field(default=28, ge=1, description=_MEMORY)


class NvidiaPoolConfig(NodePoolConfig):
    """Machines with one NVIDIA L4 each."""

    accelerator: Accelerator = Field(default="nvidia", description=_ACCELERATOR)
    instance_type: str = Field(default="g6.2xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=7, ge=1, description=_CPUS)
    memory_gib: int = Field(default=28, ge=1, description=_MEMORY)
    gpus: int = Field(default=1, ge=0, description=_GPUS)
    gpu_memory_gib: float = Field(default=24.0, ge=0, description=_GPU_MEMORY)


class NeuronPoolConfig(NodePoolConfig):
    """Machines with one Inferentia 2 chip each: two NeuronCores, 32 GiB between them."""

    accelerator: Accelerator = Field(default="neuron", description=_ACCELERATOR)
    instance_type: str = Field(default="inf2.8xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=30, ge=1, description=_CPUS)
    memory_gib: int = Field(default=120, ge=1, description=_MEMORY)
    neuron_cores: int = Field(default=2, ge=0, description=_NEURON_CORES)


class IngestPoolConfig(NodePoolConfig):
    """Jobs on business data, on spot machines: they go on where they were, as calls could not."""

    instance_type: str = Field(default="m7i.xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=3, ge=1, description=_CPUS)
    memory_gib: int = Field(default=12, ge=1, description=_MEMORY)
    is_spot: bool = Field(default=True, description=_IS_SPOT)
    idle_timeout_s: int = Field(default=60, ge=10, description=_IDLE_TIMEOUT)


class HeadConfig(Section):
    """The head's machine. It runs no replica but Serve's controller: its death must not end a call."""

    instance_type: str = Field(default="m7i.xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=3, ge=1, description=_CPUS)
    memory_gib: int = Field(default=12, ge=2, description=_MEMORY)


class BalancerConfig(Section):
    """The network load balancer before the cluster. A TLS listener's idle time-out is fixed by AWS at 350 s."""

    listener: Literal["tls", "tcp"] = Field(default="tls", description="What the balancer itself speaks to clients.")
    port: int = Field(default=443, ge=1, le=65535, description="Port that clients connect to.")
    idle_timeout_s: int = Field(
        default=350, ge=60, le=6000, description="The balancer drops a connection that is silent for this long."
    )
    node_port: int = Field(
        default=30800,
        ge=0,
        le=32767,
        description="Port of Kubernetes nodes for calls from Terraform's balancer; 0: Kubernetes has its own balancer.",
    )
    deregistration_s: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="Time that a machine which goes keeps its calls, at most 3600 s; 0: the longest call.",
    )
    certificate_arn: str = Field(default="", description="ARN of the certificate that the TLS listener shows.")
    client_ping_s: int = Field(
        default=20,
        ge=1,
        description="Time between two pings on an idle call; they are uvicorn's, which Serve leaves at 20 s.",
    )


class PodTimesConfig(Section):
    """How long Kubernetes waits for pods that end."""

    termination_grace_s: int = Field(
        default=0, ge=0, description="Time that a pod has to end; 0: what the slowest replica may take to drain."
    )
    cluster_deletion_delay_s: int = Field(
        default=0, ge=0, description="Time that the old cluster stays after an upgrade; 0: the longest call."
    )


class NetworkConfig(Section):
    """Who may talk to the cluster, and to whom it may talk. Everything else is closed."""

    client_cidrs: tuple[str, ...] = Field(default=(), description="Networks from which clients may call.")
    service_cidrs: tuple[str, ...] = Field(
        default=(), description="Networks of Redis, Milvus, PostgreSQL and the VPC's endpoints."
    )
    operator_namespace: str = Field(default="kuberay-system", description="Namespace in which KubeRay runs.")
    monitoring_namespace: str = Field(
        default="monitoring", description="Namespace of the programs that may read metrics."
    )


class SecretsConfig(Section):
    """Names of Kubernetes secrets. The secret `environment` holds the variables that the tree names (`..._env`)."""

    ray_token: str = Field(default="voxray-ray-token", description="Secret whose key auth_token holds Ray's token.")
    environment: str = Field(
        default="voxray-environment", description="Secret that holds the variables which the tree names (..._env)."
    )


class TopologyConfig(Section):
    """The machines of a cluster, and the times that its parts give a call to end."""

    name: str = Field(
        default="voxray", pattern=r"^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$", description="Name of the cluster."
    )
    namespace: str = Field(
        default="voxray",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Kubernetes namespace of the cluster.",
    )
    image_repository: str = Field(default="", description="Repository of the images, without kind and tag.")
    image_tag: str = Field(default="", description="Tag of the images.")
    models_folder: str = Field(
        default="/var/lib/voxray/models",
        description="Folder of the weights on every node; it is filled before Ray starts.",
    )
    head: HeadConfig = HeadConfig()
    gateway: GatewayPoolConfig = GatewayPoolConfig()
    nvidia: NvidiaPoolConfig = NvidiaPoolConfig()
    neuron: NeuronPoolConfig = NeuronPoolConfig()
    ingest: IngestPoolConfig = IngestPoolConfig()
    balancer: BalancerConfig = BalancerConfig()
    pods: PodTimesConfig = PodTimesConfig()
    network: NetworkConfig = NetworkConfig()
    secrets: SecretsConfig = SecretsConfig()

    def pools(self) -> dict[str, NodePoolConfig]:
        """Return the pools that exist, by name."""
        known = {name: getattr(self, name) for name in POOLS}
        return {name: pool for name, pool in known.items() if pool.max_nodes}


POOLS = ("gateway", "nvidia", "neuron", "ingest")
