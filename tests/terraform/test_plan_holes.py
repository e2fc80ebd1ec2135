"""The promises of test_plan.py notice when they are broken: each hole fails the test that it should."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.terraform import test_plan as promises
from tests.terraform.stand import Stack

pytestmark = [pytest.mark.terraform, pytest.mark.timeout(300)]

Plan = dict[str, Any]
Hole = Callable[[Plan], None]


def first(plan: Plan, kind: str, which: str | None = None) -> dict[str, Any]:
    """Return the change of the first planned resource of a type, or of the one with this index or name."""
    return next(
        change["change"]
        for change in plan["resource_changes"]
        if change["type"] == kind and which in (None, change.get("index"), change["name"]) and change["change"]["after"]
    )


def setting(kind: str, attribute: str, value: Any, which: str | None = None) -> Hole:
    """A hole in which an attribute has another value, known in advance."""

    def make(plan: Plan) -> None:
        change = first(plan, kind, which)
        change["after"][attribute] = value
        change["after_unknown"].pop(attribute, None)

    return make


def adding(kind: str) -> Hole:
    """A hole that is a resource of a type."""

    def make(plan: Plan) -> None:
        change = {"after": {"route": []}, "after_unknown": {}}
        plan["resource_changes"].append(
            {"address": f"{kind}.hole", "mode": "managed", "type": kind, "name": "hole", "change": change}
        )

    return make


def without(kind: str, index: str) -> Hole:
    """A hole in which a resource is missing."""

    def make(plan: Plan) -> None:
        plan["resource_changes"] = [
            change for change in plan["resource_changes"] if (change["type"], change.get("index")) != (kind, index)
        ]

    return make


def granting(actions: list[str], resources: list[str]) -> Hole:
    """A hole in which a role is granted something more."""

    def make(plan: Plan) -> None:
        statement = {"effect": "Allow", "actions": actions, "resources": resources}
        document = {"after": {"statement": [statement]}, "after_unknown": {}}
        plan["resource_changes"].append(
            {
                "address": "data.hole",
                "mode": "data",
                "type": "aws_iam_policy_document",
                "name": "hole",
                "change": document,
            }
        )

    return make


HOLES: list[tuple[str, Hole, Callable[..., None]]] = [
    ("internet gateway", adding("aws_internet_gateway"), promises.test_nothing_leads_to_the_internet),
    ("NAT", adding("aws_nat_gateway"), promises.test_nothing_leads_to_the_internet),
    (
        "default route",
        setting("aws_route_table", "route", [{"cidr_block": "0.0.0.0/0"}]),
        promises.test_nothing_leads_to_the_internet,
    ),
    (
        "public subnet",
        setting("aws_subnet", "map_public_ip_on_launch", True),
        promises.test_no_machine_gets_a_public_address,
    ),
    (
        "public database",
        setting("aws_db_instance", "publicly_accessible", True),
        promises.test_no_machine_gets_a_public_address,
    ),
    ("public load balancer", setting("aws_lb", "internal", False), promises.test_no_machine_gets_a_public_address),
    (
        "rule for everybody",
        setting("aws_vpc_security_group_ingress_rule", "cidr_ipv4", "0.0.0.0/0"),
        promises.test_no_rule_names_the_whole_internet,
    ),
    (
        "plain Redis",
        setting("aws_elasticache_replication_group", "transit_encryption_enabled", False),
        promises.test_stores_are_encrypted_at_rest_and_on_the_way,
    ),
    (
        "plain disk",
        setting("aws_ebs_volume", "encrypted", False),
        promises.test_stores_are_encrypted_at_rest_and_on_the_way,
    ),
    (
        "IMDSv1",
        setting(
            "aws_launch_template", "metadata_options", [{"http_tokens": "optional", "http_put_response_hop_limit": 1}]
        ),
        promises.test_all_disks_of_machines_are_encrypted_and_metadata_needs_a_token,
    ),
    (
        "open bucket",
        setting("aws_s3_bucket_public_access_block", "block_public_policy", False),
        promises.test_every_bucket_is_encrypted_versioned_private_and_speaks_tls_only,
    ),
    (
        "bucket without policy",
        without("aws_s3_bucket_policy", "models"),
        promises.test_every_bucket_is_encrypted_versioned_private_and_speaks_tls_only,
    ),
    (
        "key that never rotates",
        setting("aws_kms_key", "enable_key_rotation", False),
        promises.test_keys_rotate_and_images_cannot_be_replaced,
    ),
    (
        "everything everywhere",
        granting(["*"], ["*"]),
        promises.test_no_wildcard_action_is_allowed_on_a_wildcard_resource,
    ),
    (
        "all of S3",
        granting(["s3:*"], ["arn:aws:s3:::bucket"]),
        promises.test_no_wildcard_action_is_allowed_on_a_wildcard_resource,
    ),
    (
        "any machine ended",
        granting(["ec2:TerminateInstances"], ["*"]),
        promises.test_no_wildcard_action_is_allowed_on_a_wildcard_resource,
    ),
    (
        "service without endpoint",
        granting(["sqs:SendMessage"], ["arn:aws:sqs:eu-central-1:123456789012:queue"]),
        promises.test_every_service_that_a_role_may_call_has_an_endpoint,
    ),
    (
        "missing endpoint",
        without("aws_vpc_endpoint", "secretsmanager"),
        promises.test_every_service_that_a_role_may_call_has_an_endpoint,
    ),
    (
        "untagged bucket",
        setting("aws_s3_bucket", "tags", {}),
        promises.test_everything_that_can_bear_tags_bears_the_cost_tags,
    ),
    (
        "token in the state",
        setting("aws_secretsmanager_secret_version", "secret_string", "t" * 64, "ray_token"),
        promises.test_the_state_holds_no_token_of_ray,
    ),
    (
        "calls cut after five minutes",
        setting("aws_lb_target_group", "deregistration_delay", "300", "machines"),
        promises.test_calls_outlive_a_change_of_the_ingress,
    ),
]


@pytest.mark.parametrize(("hole", "promise"), [each[1:] for each in HOLES], ids=[each[0] for each in HOLES])
def test_a_hole_in_a_plan_is_found(planned: dict[str, Stack], hole: Hole, promise: Callable[..., None]) -> None:
    plan = copy.deepcopy(planned["small"].plan)
    promise(plan)
    hole(plan)
    with pytest.raises(AssertionError):
        promise(plan)


def test_an_unencrypted_log_is_found(planned: dict[str, Stack]) -> None:
    plan = copy.deepcopy(planned["small"].plan)
    setting("aws_cloudwatch_log_group", "kms_key_id", None)(plan)
    with pytest.raises(AssertionError):
        promises.test_all_of_a_kind_is_encrypted_by_our_keys(plan, "aws_cloudwatch_log_group", "kms_key_id")
