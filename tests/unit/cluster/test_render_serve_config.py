"""The rendered Serve configuration: golden files per profile, and what operators rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.config.loading import load_config
from cluster.config.schema import ReplicaConfig, TranscriberConfig, VoxrayConfig
from cluster.render.serve_config import configured_addresses, fingerprint, render_serve_config, render_yaml

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "golden"
# Production profiles must be told where their services are. To renew a golden file after a wanted change, set these
# variables, run `voxray render serve --profile P > tests/unit/cluster/golden/serve_P.yaml`, and read the diff.
ADDRESSES = {
    "VOXRAY__SERVICES__REDIS__URL": "rediss://redis.internal:6379/0",
    "VOXRAY__SERVICES__MILVUS__URI": "https://milvus.internal:19530",
    "VOXRAY__SERVICES__SQL__URL": "postgresql://sql.internal/voxray",
    "VOXRAY__SERVICES__OBJECTS__URL": "s3://voxray/objects",
}


@pytest.mark.parametrize("profile", ["embedded", "nvidia", "inferentia", "scripted"])
def test_profile_renders_as_recorded(profile: str) -> None:
    config = load_config(profile, None, ADDRESSES if profile in ("nvidia", "inferentia") else {})
    assert render_yaml(config, configured_addresses(config)) == (GOLDEN / f"serve_{profile}.yaml").read_text()


def test_configuration_travels_whole() -> None:
    config = VoxrayConfig()
    args = render_serve_config(config, configured_addresses(config))["applications"][0]["args"]
    assert VoxrayConfig.model_validate(args["config"]) == config


def test_range_of_replicas_becomes_autoscaling() -> None:
    replicas = ReplicaConfig(min_replicas=1, max_replicas=4, max_ongoing_requests=10, threads=3)
    config = VoxrayConfig(transcriber=TranscriberConfig(replicas=replicas))
    deployments = render_serve_config(config, configured_addresses(config))["applications"][0]["deployments"]
    transcriber = next(item for item in deployments if item["name"] == "Transcriber")
    assert transcriber["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 7}
    assert "num_replicas" not in transcriber
    assert transcriber["ray_actor_options"]["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "3"


def test_fingerprint_changes_with_the_code_and_the_configuration() -> None:
    config = VoxrayConfig()
    addresses = configured_addresses(config)
    first = fingerprint(render_serve_config(config, addresses, build="1"))
    assert fingerprint(render_serve_config(config, addresses, build="1")) == first
    assert fingerprint(render_serve_config(config, addresses, build="2")) != first
    changed = config.model_copy(update={"transcriber": TranscriberConfig(replicas=ReplicaConfig(num_cpus=2))})
    assert fingerprint(render_serve_config(changed, addresses, build="1")) != first
