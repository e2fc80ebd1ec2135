"""Last, as files run in their order: both environments are destroyed, and nothing of them is left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.terraform.stand import Stack

pytestmark = [pytest.mark.terraform_apply, pytest.mark.timeout(900)]


def left(stack: Stack) -> list[str]:
    """Return what of the environment is still there, by tags and by name."""
    tagged = stack.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "voxray:environment", "Values": [stack.name]}]
    )["ResourceTagMappingList"]
    own = [{"Name": "tag:voxray:environment", "Values": [stack.name]}]
    ec2 = stack.client("ec2")
    machines = [i for r in ec2.describe_instances(Filters=own)["Reservations"] for i in r["Instances"]]
    arns = [each["ResourceARN"] for each in tagged]
    return [
        *(arn for arn in arns if ":kms:" not in arn and ":instance/" not in arn),  # keys wait for their deletion
        *(m["InstanceId"] for m in machines if m["State"]["Name"] != "terminated"),
        *(v["VpcId"] for v in ec2.describe_vpcs(Filters=own)["Vpcs"]),
        *(b["Name"] for b in stack.client("s3").list_buckets()["Buckets"]),
        *(r["RoleName"] for r in stack.client("iam").list_roles(MaxItems=1000)["Roles"] if stack.name in r["RoleName"]),
        *(t["LaunchTemplateName"] for t in ec2.describe_launch_templates()["LaunchTemplates"]),
        *(
            g["ReplicationGroupId"]
            for g in stack.client("elasticache").describe_replication_groups()["ReplicationGroups"]
        ),
        *(d["DBInstanceIdentifier"] for d in stack.client("rds").describe_db_instances()["DBInstances"]),
        *stack.client("eks").list_clusters()["clusters"],
    ]


def test_destroy_leaves_nothing(applied: dict[str, Stack]) -> None:
    stacks = list(applied.values())
    assert all(left(stack) for stack in stacks)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda stack: stack.run("destroy", "-auto-approve"), stacks))
    assert all("Destroy complete!" in each.stdout for each in done)
    assert {stack.name: left(stack) for stack in stacks} == {stack.name: [] for stack in stacks}
    assert all(stack.run("state", "list").stdout == "" for stack in stacks)
