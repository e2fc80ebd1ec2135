"""The RayService of a configuration, and the service of calls that stands beside it."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from cluster.render.kubernetes.ray_service import RAY_VERSION, VERSION_LABEL, node_port_service, ray_service
from cluster.render.times import call_times
from tests.unit.cluster.render.conftest import production

pytestmark = pytest.mark.unit


def cluster(**changes: str) -> dict[str, Any]:
    described: dict[str, Any] = ray_service(production(**changes))["spec"]["rayClusterConfig"]
    return described


def group(name: str, **changes: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in cluster(**changes)["workerGroupSpecs"] if each["groupName"] == name)
    return found


def version(**changes: str) -> str:
    return str(cluster(**changes)["headGroupSpec"]["template"]["metadata"]["labels"][VERSION_LABEL])


def test_kuberay_is_told_the_version_of_ray_that_the_image_holds() -> None:
    assert cluster()["rayVersion"] == RAY_VERSION == ray.__version__


def test_upgrade_makes_a_cluster_beside_the_old_one_which_lives_as_long_as_its_calls() -> None:
    config = production(ingress__longest_call_s="1800", ingress__drain_s="1800")
    spec = ray_service(config)["spec"]
    assert spec["upgradeStrategy"] == {"type": "NewCluster"}
    assert spec["rayClusterDeletionDelaySeconds"] == call_times(config).cluster_deletion_s > 1800


def test_head_holds_no_replica_and_no_calls() -> None:
    assert ray_service(production())["spec"]["excludeHeadPodFromServeSvc"]
    assert cluster()["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_group_of_nodes_grows_within_its_pool_and_its_idle_time_is_waited_for() -> None:
    changes = {
        "topology__nvidia__min_nodes": "2",
        "topology__nvidia__max_nodes": "5",
        "topology__nvidia__idle_timeout_s": "777",
    }
    nvidia = group("nvidia", **changes)
    assert (nvidia["replicas"], nvidia["minReplicas"], nvidia["maxReplicas"]) == (2, 2, 5)
    assert nvidia["idleTimeoutSeconds"] == 777
    idle_s = [each["idleTimeoutSeconds"] for each in cluster(**changes)["workerGroupSpecs"]]
    assert cluster(**changes)["autoscalerOptions"]["idleTimeoutSeconds"] == max(idle_s)


def test_resources_of_nodes_are_texts_as_kuberay_wants_them() -> None:
    for each in cluster()["workerGroupSpecs"]:
        assert each["resources"]
        assert all(isinstance(amount, str) and float(amount) > 0 for amount in each["resources"].values())
    assert float(group("nvidia")["resources"]["GPU"]) >= 1


def test_state_of_the_head_is_in_redis_and_its_password_only_referred_to() -> None:
    options = cluster()["gcsFaultToleranceOptions"]
    assert options["redisAddress"].endswith("redis.internal:6379")
    key = options["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert key == {"name": production().topology.secrets.environment, "key": "VOXRAY_REDIS_PASSWORD"}
    # An upgraded cluster must not find the state of the one before it.
    assert "externalStorageNamespace" not in options
    assert "redisPassword" not in cluster(services__redis__password_env="")["gcsFaultToleranceOptions"]


def test_peers_must_show_the_token_of_the_named_secret() -> None:
    options = cluster(topology__secrets__ray_token="our-token")["authOptions"]
    assert options == {"mode": "token", "secretName": "our-token"}


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        ({"topology__image_tag": "0.2.0"}, True),
        ({"services__redis__url": "rediss://other.internal:6379/0"}, True),
        ({"topology__nvidia__idle_timeout_s": "777"}, True),
        ({"topology__nvidia__min_nodes": "2"}, False),
        ({"topology__nvidia__max_nodes": "17"}, False),
        ({"gateway__max_calls": "11"}, False),
        ({"topology__balancer__node_port": "30900"}, False),
    ],
)
def test_version_changes_with_what_kuberay_makes_a_second_cluster_for(change: dict[str, str], is_another: bool) -> None:
    assert (version(**change) != version()) is is_another


def test_version_is_on_every_pod_and_in_the_selector_of_calls() -> None:
    described = cluster()
    pods = [described["headGroupSpec"], *described["workerGroupSpecs"]]
    assert {pod["template"]["metadata"]["labels"][VERSION_LABEL] for pod in pods} == {version()}
    assert node_port_service(production())["spec"]["selector"][VERSION_LABEL] == version()


def test_balancer_outside_reaches_gateways_by_a_fixed_port_of_their_nodes() -> None:
    config = production(topology__balancer__node_port="30900", ingress__port="8800")
    assert "serveService" not in ray_service(config)["spec"]
    service = node_port_service(config)
    assert service["metadata"]["name"] == f"{config.topology.name}-calls"
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"], port["nodePort"]) == (config.topology.balancer.port, 8800, 30900)
    # A node without a gateway takes no calls.
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["spec"]["selector"]["ray.io/node-type"] == "worker"


def notes(**changes: str) -> dict[str, str]:
    """Return the annotations of the balancer that Kubernetes makes, without what they all begin with."""
    service = ray_service(production(topology__balancer__node_port="0", **changes))["spec"]["serveService"]
    found: dict[str, str] = service["metadata"]["annotations"]
    return {name.removeprefix("service.beta.kubernetes.io/aws-load-balancer-"): text for name, text in found.items()}


def test_own_balancer_ends_tls_with_the_certificate_or_keeps_silent_calls_for_the_idle_time() -> None:
    with_tls = notes()
    assert with_tls["ssl-cert"] == "arn:aws:acm:eu-central-1:111122223333:certificate/calls"
    assert with_tls["ssl-ports"] == "serve"
    plain = notes(topology__balancer__listener="tcp", topology__balancer__idle_timeout_s="900")
    assert "ssl-cert" not in plain
    assert plain["listener-attributes.TCP-8000"] == "tcp.idle_timeout.seconds=900"


def test_own_balancer_asks_the_gateways_health_and_lets_go_of_a_node_after_its_calls() -> None:
    told = notes(ingress__longest_call_s="1200", ingress__drain_s="1200")
    config = production(ingress__longest_call_s="1200", ingress__drain_s="1200")
    assert told["healthcheck-path"] == "/-/healthz"
    waits_s = call_times(config).deregistration_s
    assert f"deregistration_delay.timeout_seconds={waits_s}," in told["target-group-attributes"]
