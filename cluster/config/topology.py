"""The topology: the machines of a cluster, and how long its parts wait for calls to end.

It is one description for everything that is rendered (`cluster.render`): Kubernetes manifests, Ray's own autoscaler on
EC2, and the local head. There are four pools with one image each, and a pool with `max_nodes: 0` is left out. A time of
0 is derived from `ingress.longest_call_s` and `ingress.drain_s` (`cluster.render.times`), which suits nearly everybody.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cluster.config.section import Section

Accelerator = Literal["none", "nvidia", "neuron"]

# These descriptions are shared by the kinds of machines, which differ only in their defaults.
_ACCELERATOR = "Kind of accelerator that each machine has."
_INSTANCE_TYPE = "AWS instance type of the machines."
_CPUS = "CPUs of a machine that are offered to Ray. Leave some to the system."
_MEMORY = "Memory of the pod or the container, in GiB."
_GPUS = "GPUs of a machine that are offered to Ray."
_GPU_MEMORY = "Memory of one GPU, in GiB."
_NEURON_CORES = "NeuronCores of a machine that are offered to Ray."
_IS_SPOT = "Whether the machines are spot instances, which AWS may reclaim."
_IDLE_TIMEOUT = "Time without use after which a machine is removed."


class NodePoolConfig(Section):
    """Machines of one kind. A node offers `cpus`, `gpus` and `neuron_cores` to Ray; the rest is for the system."""

    accelerator: Accelerator = Field(default="none", description=_ACCELERATOR)
    image: str = Field(
        default="",
        description="Full reference of the container image. If empty, topology.image_repository/KIND:image_tag.",
    )
    instance_type: str = Field(default="", description=_INSTANCE_TYPE)
    min_nodes: int = Field(default=0, ge=0, description="Smallest number of machines.")
    max_nodes: int = Field(
        default=0, ge=0, description="Largest number of machines; 0 means that the cluster has no such pool."
    )
    cpus: int = Field(default=1, ge=1, description=_CPUS)
    memory_gib: int = Field(default=1, ge=1, description=_MEMORY)
    gpus: int = Field(default=0, ge=0, description=_GPUS)
    gpu_memory_gib: float = Field(default=0.0, ge=0, description=_GPU_MEMORY)
    neuron_cores: int = Field(default=0, ge=0, description=_NEURON_CORES)
    is_spot: bool = Field(default=False, description=_IS_SPOT)
    idle_timeout_s: int = Field(default=600, ge=10, description=_IDLE_TIMEOUT)


class GatewayPoolConfig(NodePoolConfig):
    """Machines for gateways and for engines without an accelerator."""

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
    """Spot machines for jobs on business data, which can resume after an interruption, unlike calls."""

    instance_type: str = Field(default="m7i.xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=3, ge=1, description=_CPUS)
    memory_gib: int = Field(default=12, ge=1, description=_MEMORY)
    is_spot: bool = Field(default=True, description=_IS_SPOT)
    idle_timeout_s: int = Field(default=60, ge=10, description=_IDLE_TIMEOUT)


class HeadConfig(Section):
    """The head's machine. It runs Serve's controller but no replicas, so that its death cannot end a call."""

    instance_type: str = Field(default="m7i.xlarge", description=_INSTANCE_TYPE)
    cpus: int = Field(default=3, ge=1, description=_CPUS)
    memory_gib: int = Field(default=12, ge=2, description=_MEMORY)


class BalancerConfig(Section):
    """The network load balancer in front of the cluster. AWS fixes the idle timeout of a TLS listener at 350 s."""

    listener: Literal["tls", "tcp"] = Field(default="tls", description="Protocol that the balancer uses with clients.")
    port: int = Field(default=443, ge=1, le=65535, description="Port that clients connect to.")
    idle_timeout_s: int = Field(
        default=350, ge=60, le=6000, description="Time of silence after which the balancer drops a connection."
    )
    node_port: int = Field(
        default=30800,
        ge=0,
        le=32767,
        description="Port of Kubernetes nodes for calls from Terraform's balancer; 0 if it has its own balancer.",
    )
    deregistration_s: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="How long a machine that is removed keeps its calls, at most 3600 s; 0 for the longest call.",
    )
    certificate_arn: str = Field(default="", description="ARN of the certificate that the TLS listener presents.")
    client_ping_s: int = Field(
        default=20,
        ge=1,
        description="Time between two pings on an idle call, which uvicorn sends. Serve leaves it at 20 s.",
    )


class PodTimesConfig(Section):
    """How long Kubernetes waits for pods to end."""

    termination_grace_s: int = Field(
        default=0,
        ge=0,
        description="Time that a pod has to end; 0 for the time that the slowest replica may take to drain.",
    )
    cluster_deletion_delay_s: int = Field(
        default=0, ge=0, description="How long the old cluster is kept after an upgrade; 0 for the longest call."
    )


class NetworkConfig(Section):
    """Which networks may connect to the cluster, and to which it may connect. Everything else is closed."""

    client_cidrs: tuple[str, ...] = Field(default=(), description="Networks from which clients may call.")
    service_cidrs: tuple[str, ...] = Field(
        default=(), description="Networks of Redis, Milvus, PostgreSQL and the VPC's endpoints."
    )
    operator_namespace: str = Field(default="kuberay-system", description="Namespace in which KubeRay runs.")
    monitoring_namespace: str = Field(
        default="monitoring", description="Namespace of the programs that may read metrics."
    )


class SecretsConfig(Section):
    """Names of Kubernetes secrets.

    The secret `environment` holds the variables named in the configuration (`..._env`).
    """

    ray_token: str = Field(default="voxray-ray-token", description="Secret whose key auth_token holds Ray's token.")
    environment: str = Field(
        default="voxray-environment", description="Secret with the variables named in the configuration (..._env)."
    )


class TopologyConfig(Section):
    """The machines of a cluster, and how long its parts wait for calls to end."""

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
        description="Folder of the weights on every node, which is filled before Ray starts.",
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
