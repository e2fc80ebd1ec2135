"""Both environments, applied to moto: all is made, a second plan changes nothing, and what is there is as promised.

moto is not AWS: it checks no quotas, rights or reachability. This proves wiring and repeatability, not that a machine
boots.
"""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import yaml

from tests.terraform.stand import ACCOUNT, REGION, Stack

pytestmark = [pytest.mark.terraform_apply, pytest.mark.timeout(900)]


def own_vpc(stack: Stack) -> str:
    found = stack.client("ec2").describe_vpcs(Filters=[{"Name": "tag:voxray:environment", "Values": [stack.name]}])[
        "Vpcs"
    ]
    assert len(found) == 1
    return str(found[0]["VpcId"])


def of_vpc(stack: Stack) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": [own_vpc(stack)]}]


def ask_cloudwatch(stack: Stack, action: str, **parameters: str) -> ElementTree.Element:
    """Ask by CloudWatch's query protocol: of the others, which boto3 prefers, moto knows none."""
    credential = f"testing/20260101/{REGION}/monitoring/aws4_request"
    scope = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    query = {"Action": action, "Version": "2010-08-01"} | parameters
    answer = httpx.post(stack.endpoint, data=query, headers={"Authorization": scope}, trust_env=False)
    return ElementTree.fromstring(answer.raise_for_status().text)


def test_a_second_plan_changes_nothing(stack: Stack) -> None:
    second = stack.second_plan
    assert second.returncode == 0, second.stdout[-4000:] + second.stderr[-2000:]
    assert "No changes" in second.stdout


def test_the_vpc_has_no_way_to_the_internet(stack: Stack) -> None:
    ec2 = stack.client("ec2")
    vpc = own_vpc(stack)
    gateways = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])
    assert gateways["InternetGateways"] == []
    assert ec2.describe_nat_gateways(Filter=of_vpc(stack))["NatGateways"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    routes = [r for table in ec2.describe_route_tables(Filters=of_vpc(stack))["RouteTables"] for r in table["Routes"]]
    ways = {r.get("GatewayId", "other") for r in routes}
    assert {way for way in ways if way != "local" and not way.startswith("vpce-")} == set()
    assert not [r for r in routes if r.get("DestinationCidrBlock") == "0.0.0.0/0"]
    assert not [s for s in ec2.describe_subnets(Filters=of_vpc(stack))["Subnets"] if s["MapPublicIpOnLaunch"]]


def test_the_endpoints_are_there_and_answer_by_their_own_names(stack: Stack) -> None:
    endpoints = stack.client("ec2").describe_vpc_endpoints(Filters=of_vpc(stack))["VpcEndpoints"]
    services = {e["ServiceName"].removeprefix(f"com.amazonaws.{REGION}.") for e in endpoints}
    assert {
        "s3",
        "dynamodb",
        "ec2",
        "ecr.api",
        "ecr.dkr",
        "sts",
        "kms",
        "secretsmanager",
        "logs",
        "monitoring",
    } <= services
    interfaces = [e for e in endpoints if e["VpcEndpointType"] == "Interface"]
    assert all(e["PrivateDnsEnabled"] for e in interfaces)
    zones = len(stack.client("ec2").describe_subnets(Filters=of_vpc(stack))["Subnets"]) // 2
    assert {len(e["SubnetIds"]) for e in interfaces} == {zones}


def test_no_role_may_do_everything_somewhere_everywhere(stack: Stack) -> None:
    iam = stack.client("iam")
    roles = [r["RoleName"] for r in iam.list_roles(MaxItems=1000)["Roles"] if r["RoleName"].startswith(stack.name)]
    assert len(roles) >= 7
    for role in roles:
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for statement in policy["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                assert not [a for a in actions if a == "*" or a.endswith(":*")], (role, name)


def test_the_head_may_start_from_its_templates_only(stack: Stack) -> None:
    templates = stack.client("ec2").describe_launch_templates()["LaunchTemplates"]
    own = {t["LaunchTemplateId"] for t in templates if "-eks-" not in t["LaunchTemplateName"]}
    policy = stack.client("iam").get_role_policy(RoleName=f"{stack.name}-head", PolicyName="start-machines")
    by_id = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    named = by_id["StartFromTemplates"]["Condition"]["ArnEquals"]["ec2:LaunchTemplate"]
    assert {arn.rsplit("/", 1)[1] for arn in named} == own
    passed = by_id["GiveWorkersTheirRoles"]["Resource"]
    assert f"arn:aws:iam::{ACCOUNT}:role/{stack.name}-head" not in passed
    assert len(passed) == 4
    assert by_id["TagAndEndItsOwn"]["Condition"]["StringEquals"]["aws:ResourceTag/ray-cluster-name"] == stack.name


def test_buckets_are_encrypted_by_the_key_of_their_class(stack: Stack) -> None:
    s3, kms = stack.client("s3"), stack.client("kms")
    keys = {a["AliasName"]: a.get("TargetKeyId") for a in kms.list_aliases(Limit=1000)["Aliases"]}
    buckets = yaml.safe_load(stack.output("services"))["buckets"]
    assert set(buckets) == {"models", "artifacts", "ingest", "milvus", "recordings", "logs"}
    for use, bucket in buckets.items():
        answer = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        encryption = answer["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        if use == "logs":
            assert encryption["SSEAlgorithm"] == "AES256"
            continue
        of_class = keys[f"alias/{stack.name}-{'recordings' if use == 'recordings' else 'storage'}"]
        assert encryption["KMSMasterKeyID"].rsplit("/", 1)[1] == of_class
        assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]["TargetBucket"] == buckets["logs"]
    lock = s3.get_object_lock_configuration(Bucket=buckets["recordings"])["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"]["Days"] == {"voxray-small": 30, "voxray-production": 180}[stack.name]


def test_databases_are_private_and_speak_tls(stack: Stack) -> None:
    (group,) = stack.client("elasticache").describe_replication_groups()["ReplicationGroups"]
    assert (group["TransitEncryptionEnabled"], group["AtRestEncryptionEnabled"], group["AuthTokenEnabled"]) == (
        True,
    ) * 3
    assert len(group["MemberClusters"]) == {"voxray-small": 1, "voxray-production": 3}[stack.name]
    (database,) = stack.client("rds").describe_db_instances()["DBInstances"]
    assert (database["PubliclyAccessible"], database["StorageEncrypted"]) == (False, True)
    assert database["MultiAZ"] is (stack.name == "voxray-production")
    assert (
        database["MasterUserSecret"]["SecretArn"] == yaml.safe_load(stack.output("services"))["postgres"]["secret_arn"]
    )


def test_tokens_are_random_and_only_where_they_belong(stack: Stack) -> None:
    secrets = stack.client("secretsmanager")
    ray, redis = (
        secrets.get_secret_value(SecretId=f"{stack.name}/{name}")["SecretString"] for name in ("ray-token", "redis")
    )
    assert len(ray) == len(redis) == 64
    assert ray != redis
    state = (stack.root / "terraform.tfstate").read_text("utf-8")
    assert ray not in state, "the token of Ray is write-only"
    assert redis in state, "documented: ElastiCache has no write-only argument; rotate it after the first apply"


def test_the_load_balancer_of_calls_is_internal_and_keeps_calls(stack: Stack) -> None:
    elb = stack.client("elbv2")
    balancers = {b["LoadBalancerName"]: b for b in elb.describe_load_balancers()["LoadBalancers"]}
    assert set(balancers) == {f"{stack.name}-calls", f"{stack.name}-head"}
    assert {b["Scheme"] for b in balancers.values()} == {"internal"}
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancers[f"{stack.name}-calls"]["LoadBalancerArn"])[
        "Listeners"
    ]
    assert (listener["Protocol"], listener["Port"]) == ("TLS", 443)
    (group,) = elb.describe_target_groups(Names=[f"{stack.name}-ec2"])["TargetGroups"]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    assert {a["Key"]: a["Value"] for a in attributes}["deregistration_delay.timeout_seconds"] == "3600"


def test_the_head_runs_alone_behind_its_lasting_address(stack: Stack) -> None:
    (group,) = stack.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[f"{stack.name}-head"])[
        "AutoScalingGroups"
    ]
    assert len(group["Instances"]) == 1
    assert len(group["TargetGroupARNs"]) == 2  # GCS and dashboard
    instance = group["Instances"][0]["InstanceId"]
    (reservation,) = stack.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
    (head,) = reservation["Instances"]
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    assert (tags["ray-cluster-name"], tags["ray-node-type"], tags["voxray:environment"]) == (
        stack.name,
        "head",
        stack.name,
    )
    assert "PublicIpAddress" not in head


def test_start_scripts_of_machines_are_shell_fit_and_hold_no_secret(stack: Stack) -> None:
    ec2, secrets = stack.client("ec2"), stack.client("secretsmanager")
    names = [t["LaunchTemplateName"] for t in ec2.describe_launch_templates()["LaunchTemplates"]]
    own = [name for name in names if "-eks-" not in name]
    assert len(own) == 5
    held = [secrets.get_secret_value(SecretId=s["ARN"])["SecretString"] for s in secrets.list_secrets()["SecretList"]]
    for name in own:
        (version,) = ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
        script = base64.b64decode(version["LaunchTemplateData"]["UserData"])
        assert len(script) < 16_384, "the most that EC2 takes"
        checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, b"")
        assert not [secret for secret in held if secret.encode() in script]
        assert (b"--head" in script) is name.endswith("-head")


def test_kubernetes_is_private_and_has_every_pool(applied: dict[str, Stack]) -> None:
    stack = applied["production"]
    eks = stack.client("eks")
    cluster = eks.describe_cluster(name=stack.name)["cluster"]
    access = cluster["resourcesVpcConfig"]
    assert (access["endpointPublicAccess"], access["endpointPrivateAccess"]) == (False, True)
    pools = set(eks.list_nodegroups(clusterName=stack.name)["nodegroups"])
    assert pools == {"system", "gateway", "nvidia", "neuron", "ingest"}
    neuron = eks.describe_nodegroup(clusterName=stack.name, nodegroupName="neuron")["nodegroup"]
    assert (neuron["amiType"], neuron["instanceTypes"]) == ("AL2023_x86_64_NEURON", ["inf2.8xlarge"])
    assert eks.describe_nodegroup(clusterName=stack.name, nodegroupName="ingest")["nodegroup"]["capacityType"] == "SPOT"
    kubernetes = yaml.safe_load(stack.output("services"))["kubernetes"]
    assert kubernetes["node_groups"]["nvidia"]["taints"] == {"nvidia.com/gpu": "true"}


def test_alarms_tell_somebody_and_have_a_dashboard(stack: Stack) -> None:
    (topic,) = stack.client("sns").list_topics()["Topics"]
    alarms = ask_cloudwatch(stack, "DescribeAlarms").findall(".//{*}MetricAlarms/{*}member")
    assert len(alarms) == 7
    assert {action.text for alarm in alarms for action in alarm.findall("{*}AlarmActions/{*}member")} == {
        topic["TopicArn"]
    }
    assert len(stack.client("sns").list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]) == 1
    body = ask_cloudwatch(stack, "GetDashboard", DashboardName=stack.name).findtext(".//{*}DashboardBody")
    assert len(json.loads(body or "{}")["widgets"]) == 7
