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


class PoolConfig(Section):
    """Machines of one kind. What a node offers to Ray is `cpus`, `gpus`, `neuron_cores`; the rest is for the system."""

    accelerator: Accelerator = "none"
    image: str = Field(default="", description='whole reference; "": topology.image_repository/KIND:image_tag')
    instance_type: str = ""
    min_nodes: int = Field(default=0, ge=0)
    max_nodes: int = Field(default=0, ge=0, description="0: the cluster has no such pool")
    cpus: int = Field(default=1, ge=1, description="offered to Ray; leave some of the machine to the system")
    memory_gib: int = Field(default=1, ge=1, description="of the pod or the container")
    gpus: int = Field(default=0, ge=0)
    gpu_memory_gib: float = Field(default=0.0, ge=0, description="of one GPU")
    neuron_cores: int = Field(default=0, ge=0)
    is_spot: bool = False
    idle_timeout_s: int = Field(default=600, ge=10)


class GatewayPoolConfig(PoolConfig):
    """Gateways, and engines without an accelerator."""

    instance_type: str = "m7i.2xlarge"
    cpus: int = Field(default=7, ge=1)
    memory_gib: int = Field(default=28, ge=1)


class NvidiaPoolConfig(PoolConfig):
    """One L4 each."""

    accelerator: Accelerator = "nvidia"
    instance_type: str = "g6.2xlarge"
    cpus: int = Field(default=7, ge=1)
    memory_gib: int = Field(default=28, ge=1)
    gpus: int = Field(default=1, ge=0)
    gpu_memory_gib: float = Field(default=24.0, ge=0)


class NeuronPoolConfig(PoolConfig):
    """One Inferentia 2 chip each: two NeuronCores, 32 GiB between them."""

    accelerator: Accelerator = "neuron"
    instance_type: str = "inf2.8xlarge"
    cpus: int = Field(default=30, ge=1)
    memory_gib: int = Field(default=120, ge=1)
    neuron_cores: int = Field(default=2, ge=0)


class IngestPoolConfig(PoolConfig):
    """Jobs on business data, on spot machines: they restart where they were, calls would not."""

    instance_type: str = "m7i.xlarge"
    cpus: int = Field(default=3, ge=1)
    memory_gib: int = Field(default=12, ge=1)
    is_spot: bool = True
    idle_timeout_s: int = Field(default=60, ge=10)


class HeadConfig(Section):
    """The head's machine. It runs no replica but Serve's controller: its death must not end a call."""

    instance_type: str = "m7i.xlarge"
    cpus: int = Field(default=3, ge=1)
    memory_gib: int = Field(default=12, ge=2)


class BalancerConfig(Section):
    """The network load balancer before the cluster. A TLS listener's idle time-out is fixed by AWS at 350 s."""

    listener: Literal["tls", "tcp"] = "tls"
    port: int = Field(default=443, ge=1, le=65535)
    idle_timeout_s: int = Field(default=350, ge=60, le=6000)
    node_port: int = Field(
        default=30800,
        ge=0,
        le=32767,
        description="where Kubernetes nodes take calls from Terraform's balancer; 0: a balancer of Kubernetes' own",
    )
    deregistration_s: int = Field(default=0, ge=0, le=3600, description="0: the longest call; AWS allows 3600 s")
    certificate_arn: str = Field(default="", description="of the TLS listener")
    client_ping_s: int = Field(
        default=20,
        ge=1,
        description="how often something crosses an idle call: uvicorn's ping, which Serve leaves at 20 s",
    )


class PodTimesConfig(Section):
    """Kubernetes' patience. 0: derived."""

    termination_grace_s: int = Field(default=0, ge=0, description="0: what the slowest replica may take to drain")
    cluster_deletion_delay_s: int = Field(
        default=0, ge=0, description="how long the old cluster lives after an upgrade; 0: the longest call"
    )


class NetworkConfig(Section):
    """Who may talk to the cluster, and to whom it may talk. Everything else is closed."""

    client_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = Field(default=(), description="Redis, Milvus, PostgreSQL, the VPC's endpoints")
    operator_namespace: str = Field(default="kuberay-system", description="where KubeRay runs")
    monitoring_namespace: str = "monitoring"


class SecretsConfig(Section):
    """Names of Kubernetes secrets. The secret `environment` holds the variables that the tree names (`..._env`)."""

    ray_token: str = Field(default="voxray-ray-token", description="its key auth_token holds Ray's token")
    environment: str = "voxray-environment"


class TopologyConfig(Section):
    """The whole of it."""

    name: str = Field(default="voxray", pattern=r"^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$")
    namespace: str = Field(default="voxray", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    image_repository: str = ""
    image_tag: str = ""
    models_folder: str = Field(default="/var/lib/voxray/models", description="on every node, filled before Ray starts")
    head: HeadConfig = HeadConfig()
    gateway: GatewayPoolConfig = GatewayPoolConfig()
    nvidia: NvidiaPoolConfig = NvidiaPoolConfig()
    neuron: NeuronPoolConfig = NeuronPoolConfig()
    ingest: IngestPoolConfig = IngestPoolConfig()
    balancer: BalancerConfig = BalancerConfig()
    pods: PodTimesConfig = PodTimesConfig()
    network: NetworkConfig = NetworkConfig()
    secrets: SecretsConfig = SecretsConfig()

    def pools(self) -> dict[str, PoolConfig]:
        """Return the pools that exist, by name."""
        known = {name: getattr(self, name) for name in POOLS}
        return {name: pool for name, pool in known.items() if pool.max_nodes}


POOLS = ("gateway", "nvidia", "neuron", "ingest")
