"""What is planned keeps the promises: no way to the internet, all encrypted, least rights, all endpoints."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.terraform.plan_reading import Statement, one, resources, statements
from tests.terraform.stand import GAPS, Stack

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(300)]

Plan = dict[str, Any]

WAYS_OUT = (
    "internet_gateway", "egress_only_internet_gateway", "nat_gateway", "eip", "eip_association", "vpn_gateway",
    "vpn_connection", "route", "default_route_table", "vpc_peering_connection", "ec2_transit_gateway_vpc_attachment",
    "customer_gateway", "dx_gateway", "lightsail_instance", "cloudfront_distribution", "globalaccelerator_accelerator",
)  # fmt: skip

# Actions that AWS defines without a resource: `*` is all that can be written there.
WITHOUT_RESOURCE = re.compile(
    r"(ec2:(Describe|Get)\w+|ecr:GetAuthorizationToken|autoscaling:Describe\w+|ssm:UpdateInstanceInformation|ssmmessages:\w+)"
)

# Services that a role may call, and whose endpoints are named otherwise.
ENDPOINT_OF = {
    "ecr": {"ecr.api", "ecr.dkr"},
    "cloudwatch": {"monitoring"},
    "iam": set(),  # PassRole is checked by EC2
    "sns": set(),  # only the topic's own policy names it
}


def is_key_policy(statement: Statement) -> bool:
    return "security" in statement.policy and ".key[" in statement.policy


def identity_statements(plan: Plan) -> list[Statement]:
    """Statements that grant something to a role: no principals in them."""
    return [each for each in statements(plan) if not each.principals and each.effect == "Allow"]


def test_nothing_leads_to_the_internet(plan: Plan) -> None:
    assert not resources(plan, *(f"aws_{name}" for name in WAYS_OUT))
    assert all(not table["route"] for table in resources(plan, "aws_route_table"))


def test_no_machine_gets_a_public_address(plan: Plan) -> None:
    subnets = resources(plan, "aws_subnet")
    assert len(subnets) >= 4
    assert not [each.address for each in subnets if each["map_public_ip_on_launch"] or each["ipv6_cidr_block"]]
    assert not [each.address for each in resources(plan, "aws_launch_template") if each["network_interfaces"]]
    assert not [each.address for each in resources(plan, "aws_db_instance") if each["publicly_accessible"]]
    assert all(each["internal"] for each in resources(plan, "aws_lb"))
    for cluster in resources(plan, "aws_eks_cluster"):
        assert (
            cluster["vpc_config"][0]["endpoint_public_access"],
            cluster["vpc_config"][0]["endpoint_private_access"],
        ) == (
            False,
            True,
        )


def test_no_rule_names_the_whole_internet(plan: Plan) -> None:
    rules = resources(plan, "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule")
    assert len(rules) > 10
    assert not [each.address for each in rules if each["cidr_ipv6"] or (each["cidr_ipv4"] or "").endswith("/0")]
    assert not resources(plan, "aws_security_group_rule")
    assert not [
        g.address
        for g in resources(plan, "aws_security_group", "aws_default_security_group")
        if g["ingress"] or g["egress"]
    ]


ENCRYPTED_BY = {
    "aws_ebs_volume": "kms_key_id",
    "aws_db_instance": "kms_key_id",
    "aws_elasticache_replication_group": "kms_key_id",
    "aws_secretsmanager_secret": "kms_key_id",
    "aws_cloudwatch_log_group": "kms_key_id",
    "aws_sns_topic": "kms_master_key_id",
}


@pytest.mark.parametrize(("kind", "attribute"), ENCRYPTED_BY.items())
def test_all_of_a_kind_is_encrypted_by_our_keys(plan: Plan, kind: str, attribute: str) -> None:
    found = resources(plan, kind)
    assert found
    assert not [each.address for each in found if not each.is_set(attribute)]


def test_stores_are_encrypted_at_rest_and_on_the_way(plan: Plan) -> None:
    postgres = one(plan, "module.data.aws_db_instance.postgres")
    assert postgres["storage_encrypted"]
    assert postgres["performance_insights_enabled"]
    assert postgres.is_set("performance_insights_kms_key_id")
    assert int(postgres["engine_version"].split(".")[0]) >= 15, "before 15, TLS is not forced"
    redis = one(plan, "module.data.aws_elasticache_replication_group.redis")
    assert redis["at_rest_encryption_enabled"] in (True, "true")
    assert redis["transit_encryption_enabled"]
    assert redis.is_set("auth_token")
    assert all(volume["encrypted"] for volume in resources(plan, "aws_ebs_volume"))


def test_all_disks_of_machines_are_encrypted_and_metadata_needs_a_token(plan: Plan) -> None:
    templates = resources(plan, "aws_launch_template")
    assert templates
    for template in templates:
        (disk,) = template["block_device_mappings"]
        assert disk["ebs"][0]["encrypted"] == "true"
        assert template.unknown["block_device_mappings"][0]["ebs"][0]["kms_key_id"] is True
        assert template["metadata_options"][0]["http_tokens"] == "required"
        assert template["metadata_options"][0]["http_put_response_hop_limit"] == 1


def test_every_bucket_is_encrypted_versioned_private_and_speaks_tls_only(plan: Plan) -> None:
    buckets = {each.key for each in resources(plan, "aws_s3_bucket")}
    assert buckets == {"models", "artifacts", "ingest", "milvus", "recordings", "logs"}
    encryption = {each.key: each for each in resources(plan, "aws_s3_bucket_server_side_encryption_configuration")}
    for bucket in buckets:
        rule = encryption[bucket]["rule"][0]["apply_server_side_encryption_by_default"][0]
        assert rule["sse_algorithm"] == ("AES256" if bucket == "logs" else "aws:kms")
    assert {
        e.key
        for e in resources(plan, "aws_s3_bucket_versioning")
        if e["versioning_configuration"][0]["status"] == "Enabled"
    } == buckets
    blocks = resources(plan, "aws_s3_bucket_public_access_block")
    assert {each.key for each in blocks} == buckets
    names = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[name] for block in blocks for name in names)
    assert {each.key for each in resources(plan, "aws_s3_bucket_policy")} == buckets
    denied = [each for each in statements(plan) if ".bucket[" in each.policy and each.effect == "Deny"]
    assert len([each for each in denied if each.actions == {"s3:*"}]) == len(buckets)  # without TLS
    assert len([each for each in denied if "s3:GetObject*" in each.actions]) == len(buckets) - 1  # outside of the VPC


def test_recordings_are_locked_and_then_deleted(plan: Plan) -> None:
    retention = one(plan, "module.data.aws_s3_bucket_object_lock_configuration.recordings")["rule"][0][
        "default_retention"
    ][0]
    lifecycle = one(plan, 'module.data.aws_s3_bucket_lifecycle_configuration.this["recordings"]')
    (age,) = [rule["expiration"][0]["days"] for rule in lifecycle["rule"] if rule["id"] == "age"]
    assert retention["mode"] in ("GOVERNANCE", "COMPLIANCE")
    assert age == retention["days"] + 1
    assert one(plan, 'module.data.aws_s3_bucket.this["recordings"]')["force_destroy"] is False


def test_keys_rotate_and_images_cannot_be_replaced(plan: Plan) -> None:
    keys = resources(plan, "aws_kms_key")
    assert {each.key for each in keys} == {"storage", "recordings", "databases", "secrets", "volumes", "logs"}
    assert all(each["enable_key_rotation"] for each in keys)
    repositories = resources(plan, "aws_ecr_repository")
    assert repositories
    assert all(each["image_tag_mutability"] == "IMMUTABLE" for each in repositories)
    assert all(each["encryption_configuration"][0]["encryption_type"] == "KMS" for each in repositories)


def test_no_wildcard_action_is_allowed_on_a_wildcard_resource(plan: Plan) -> None:
    granted = identity_statements(plan)
    assert len(granted) > 20
    assert not [each for each in granted if any(a == "*" or a.endswith(":*") for a in each.actions)]
    wide = [each for each in granted if "*" in each.resources]
    assert wide
    assert not [
        (each.policy, action)
        for each in wide
        if not each.has_condition
        for action in each.actions
        if not WITHOUT_RESOURCE.fullmatch(action)
    ]


def test_only_key_and_endpoint_policies_say_everything(plan: Plan) -> None:
    """A key's policy means the key itself by `*`; an endpoint's grants nothing, and holds for our account alone."""
    for each in statements(plan):
        if each.effect == "Allow" and any(action == "*" or action.endswith(":*") for action in each.actions):
            is_endpoint = each.policy.startswith("module.network.data.aws_iam_policy_document") and each.has_condition
            assert is_key_policy(each) or is_endpoint, each


def test_nobody_unnamed_is_trusted(plan: Plan) -> None:
    for each in statements(plan):
        if each.effect == "Allow" and "*" in each.principals:
            assert each.policy.startswith("module.network.data.aws_iam_policy_document."), each


def test_every_service_that_a_role_may_call_has_an_endpoint(plan: Plan) -> None:
    endpoints = {each.key for each in resources(plan, "aws_vpc_endpoint")}
    called = {action.split(":")[0] for each in identity_statements(plan) for action in each.actions}
    assert {"s3", "ec2", "secretsmanager", "kms", "ecr", "logs"} <= called
    needed = set().union(*(ENDPOINT_OF.get(service, {service}) for service in called)) | {"sts"}
    if resources(plan, "aws_eks_cluster"):
        needed |= {"eks", "eks-auth"}
    assert not needed - endpoints


def test_every_interface_endpoint_is_private_and_in_every_zone(plan: Plan) -> None:
    zones = {each["availability_zone"] for each in resources(plan, "aws_subnet")}
    assert len(zones) >= 2
    interfaces = [each for each in resources(plan, "aws_vpc_endpoint") if each["vpc_endpoint_type"] == "Interface"]
    assert len(interfaces) >= 12
    assert all(each["private_dns_enabled"] for each in interfaces)
    assert len([s for s in resources(plan, "aws_subnet") if s.key.startswith("services-")]) == len(zones)


def test_everything_that_can_bear_tags_bears_the_cost_tags(plan: Plan) -> None:
    """But launch templates: they cost nothing, what they start is tagged by them."""
    taggable = [e for e in resources(plan) if "tags_all" in e.after | e.unknown and e.type != "aws_launch_template"]
    assert len(taggable) > 80
    wanted = {"voxray:environment", "voxray:cost-centre", "voxray:managed-by"}
    untagged = [e.address for e in taggable if not wanted <= set(e["tags"] or ())]
    assert untagged == []
    for template in resources(plan, "aws_launch_template"):
        tagged = {each["resource_type"]: set(each["tags"]) for each in template["tag_specifications"]}
        assert set(tagged) == {"instance", "volume", "network-interface"}
        assert all(wanted <= tags for tags in tagged.values())


def test_the_state_holds_no_token_of_ray(plan: Plan) -> None:
    version = one(plan, "module.security.aws_secretsmanager_secret_version.ray_token")
    assert version["secret_string"] is None
    assert version["secret_string_wo"] is None
    assert version["secret_string_wo_version"] == 1


@pytest.mark.parametrize("name", ["small", "production"])
def test_the_head_is_a_group_of_one_that_recovers_in_any_zone(planned: dict[str, Stack], name: str) -> None:
    group = one(planned[name].plan, "module.cluster_ec2.aws_autoscaling_group.head")
    assert (group["min_size"], group["max_size"], group["desired_capacity"]) == (1, 1, 1)
    assert group["health_check_type"] == "ELB"
    tags = {tag["key"]: tag["value"] for tag in group["tag"]}
    assert (tags["ray-cluster-name"], tags["ray-node-type"]) == (planned[name].name, "head")


@pytest.mark.parametrize("name", ["small", "production"])
def test_spot_machines_serve_ingest_only(planned: dict[str, Stack], name: str) -> None:
    templates = {t.key: t for t in resources(planned[name].plan, "aws_launch_template") if "cluster_ec2" in t.address}
    assert {"head", "gateway", "nvidia", "neuron", "ingest"} <= set(templates)
    spot = {key for key, template in templates.items() if template["instance_market_options"]}
    assert spot == {"ingest"}
    assert templates["ingest"]["instance_market_options"][0]["market_type"] == "spot"


def test_calls_outlive_a_change_of_the_ingress(plan: Plan) -> None:
    groups = [each for each in resources(plan, "aws_lb_target_group") if each.module == "ingress"]
    assert groups
    assert all(int(each["deregistration_delay"]) == 3600 and each["connection_termination"] for each in groups)
    (listener,) = [each for each in resources(plan, "aws_lb_listener") if each.module == "ingress"]
    assert (listener["protocol"], listener["port"]) == ("TLS", 443)
    assert "TLS13" in listener["ssl_policy"]


def test_production_is_not_deletable_by_accident_and_has_standbys(planned: dict[str, Stack]) -> None:
    plan = planned["production"].plan
    postgres = one(plan, "module.data.aws_db_instance.postgres")
    assert (postgres["multi_az"], postgres["deletion_protection"], postgres["skip_final_snapshot"]) == (
        True,
        True,
        False,
    )
    redis = one(plan, "module.data.aws_elasticache_replication_group.redis")
    assert (redis["num_cache_clusters"], redis["multi_az_enabled"], redis["automatic_failover_enabled"]) == (
        3,
        True,
        True,
    )
    assert all(each["enable_deletion_protection"] for each in resources(plan, "aws_lb"))
    (service,) = resources(plan, "aws_vpc_endpoint_service")
    assert service["acceptance_required"]
    assert "*" not in service["allowed_principals"]
    assert not any(each["force_destroy"] for each in resources(plan, "aws_s3_bucket"))


# What moto does not have is not applied in these tests (folder moto_gaps), so the plan alone vouches for it.


def test_the_budget_warns_before_and_at_its_end(plan: Plan) -> None:
    budget = one(plan, "module.observability.aws_budgets_budget.monthly")
    assert {(n["notification_type"], n["threshold"]) for n in budget["notification"]} == {
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    }
    assert budget["time_unit"] == "MONTHLY"


def test_pods_have_the_roles_of_their_workloads(planned: dict[str, Stack]) -> None:
    plan = planned["production"].plan
    pods = {p.key: p for p in resources(plan, "aws_eks_pod_identity_association") if p.name == "workload"}
    assert set(pods) == {"head", "gateway", "nvidia", "neuron", "ingest", "milvus"}
    assert all(pod["service_account"] == f"voxray-{key}" and pod["namespace"] == "voxray" for key, pod in pods.items())
    assert all(pod.unknown["role_arn"] is True for pod in pods.values())
    (scaler,) = [p for p in resources(plan, "aws_eks_pod_identity_association") if p.name == "scaler"]
    assert (scaler["namespace"], scaler["service_account"]) == ("kube-system", "cluster-autoscaler")


def test_the_kubernetes_cluster_has_administrators_addons_and_its_place_behind_the_ingress(
    planned: dict[str, Stack],
) -> None:
    plan = planned["production"].plan
    assert {a.key for a in resources(plan, "aws_eks_addon")} == {
        "vpc-cni",
        "kube-proxy",
        "coredns",
        "eks-pod-identity-agent",
    }
    assert [a["principal_arn"] for a in resources(plan, "aws_eks_access_entry")] == planned["production"].values[
        "admin_role_arns"
    ]
    (administers,) = resources(plan, "aws_eks_access_policy_association")
    assert administers["policy_arn"].endswith("AmazonEKSClusterAdminPolicy")
    cluster = one(plan, "module.cluster_eks.aws_eks_cluster.this")
    assert cluster["access_config"][0] == {
        "authentication_mode": "API",
        "bootstrap_cluster_creator_admin_permissions": False,
    }
    assert cluster["encryption_config"][0]["resources"] == ["secrets"]
    assert [a.key for a in resources(plan, "aws_autoscaling_attachment")] == ["gateway"]


def test_every_gap_of_moto_names_a_resource_that_exists(planned: dict[str, Stack]) -> None:
    """A gap that names a resource which was renamed would add an empty one, and leave the real one to fail."""
    whole = {(r.module, r.type, r.name) for stack in planned.values() for r in resources(stack.plan)}
    for gap in GAPS:
        named = re.findall(r'^resource "(\w+)" "(\w+)"', gap.read_text("utf-8"), re.MULTILINE)
        assert named
        assert not {(gap.stem, kind, name) for kind, name in named} - whole
