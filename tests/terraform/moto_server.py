"""Starts moto with what it gets wrong put right. Runs in the tools' environment, never in the product's.

Each patch says what Terraform reported without it (moto 5.2.5, provider 5.100.0). A patch makes moto read back what was
written, or do what the API's documentation says; none makes a wrong configuration pass. What moto does not have at all
is not imitated here: those resources are left out of the copy that is applied (folder `moto_gaps`), and tested on the
plan instead.
"""

from __future__ import annotations

import inspect
import ipaddress
import sys
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.eks import models as eks
from moto.eks.responses import EKSResponse
from moto.elasticache.models import CacheCluster, ElastiCacheBackend
from moto.elasticache.responses import ElastiCacheResponse
from moto.elbv2 import models as elbv2
from moto.elbv2.responses import ELBV2Response
from moto.rds.models import RDSBackend
from moto.server import main


def give_replication_groups_their_members() -> None:
    """CacheClusterNotFound: Cache cluster voxray-small-redis-001 not found."""
    create = ElastiCacheBackend.create_replication_group
    known = set(inspect.signature(CacheCluster).parameters)

    def create_with_members(self: ElastiCacheBackend, **settings: Any) -> Any:
        if not settings.get("replicas_per_node_group"):
            settings["replicas_per_node_group"] = int(settings.get("num_cache_clusters") or 1) - 1  # otherwise dropped
        group = create(self, **settings)
        given = {"account_id": self.account_id, "region_name": self.region_name} | settings
        for name in group.member_clusters:
            member = CacheCluster(
                **(dict.fromkeys(known) | {k: v for k, v in given.items() if k in known} | {"cache_cluster_id": name})
            )
            member.at_rest_encryption_enabled = group.at_rest_encryption_enabled
            member.security_groups = [
                {"SecurityGroupId": i, "Status": "active"} for i in settings["security_group_ids"]
            ]
            self.cache_clusters[name] = member
        return group

    ElastiCacheBackend.create_replication_group = create_with_members


def let_replication_groups_go() -> None:
    """Destroy waits for ever: a deleted group stays, in the state `deleting`."""
    delete = ElastiCacheBackend.delete_replication_group

    def delete_at_last(self: ElastiCacheBackend, replication_group_id: str, retain_primary_cluster: bool | None) -> Any:
        members = list(self.replication_groups[replication_group_id].member_clusters)
        group = delete(self, replication_group_id, retain_primary_cluster)
        for member in members:
            self.cache_clusters.pop(member, None)
        del self.replication_groups[replication_group_id]
        return group

    ElastiCacheBackend.delete_replication_group = delete_at_last


def let_cache_subnet_groups_go() -> None:
    """NotImplementedError: The delete_cache_subnet_group action has not been implemented."""

    def delete_cache_subnet_group(self: ElastiCacheResponse) -> ActionResult:
        name = self._get_param("CacheSubnetGroupName")
        self.elasticache_backend.describe_cache_subnet_groups(name)
        del self.elasticache_backend.cache_subnet_groups[name]
        return EmptyResult()

    ElastiCacheResponse.delete_cache_subnet_group = delete_cache_subnet_group


def read_back_descriptions_of_rules() -> None:
    """The second plan sets the description of every rule again that names a group or a prefix list, not a network."""

    make = SecurityGroupRule.__init__
    signature = inspect.signature(make)

    def make_with_description(self: SecurityGroupRule, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs).arguments
        peers = (given.get(name) or {} for name in ("source_group", "prefix_list_id"))
        self.peer_description = next((peer["Description"] for peer in peers if peer.get("Description")), None)

    def description(self: SecurityGroupRule) -> str | None:
        return self.ip_range.get("Description") or self.peer_description

    SecurityGroupRule.__init__ = make_with_description
    SecurityGroupRule.description = property(description)


def allow_an_hour_of_deregistration() -> None:
    """ValidationError: 'deregistration_delay.timeout_seconds' value '3600' must be between '0-3600' inclusive."""
    elbv2.range = lambda *ends: range(0, 3601) if ends == (0, 3600) else range(*ends)


def read_back_private_link_rules() -> None:
    """The second plan sets aws_lb.this.enforce_security_group_inbound_rules_on_private_link_traffic again."""
    set_groups = ELBV2Response.set_security_groups

    def set_with_rules(self: ELBV2Response) -> ActionResult:
        rules = self._get_param("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic")
        if rules:
            balancer = self.elbv2_backend.load_balancers[self._get_param("LoadBalancerArn")]
            balancer.enforce_security_group_inbound_rules_on_private_link_traffic = rules
        return set_groups(self)

    ELBV2Response.set_security_groups = set_with_rules


def read_back_performance_insights() -> None:
    """The second plan sets aws_db_instance.postgres.performance_insights_enabled again, and its key and days."""
    create = RDSBackend.create_db_instance

    def create_with_insights(self: RDSBackend, db_kwargs: dict[str, Any]) -> Any:
        database = create(self, db_kwargs)
        database.performance_insights_enabled = db_kwargs.get("enable_performance_insights", False)
        for name in ("performance_insights_kms_key_id", "performance_insights_retention_period"):
            setattr(database, name, db_kwargs.get(name))
        return database

    RDSBackend.create_db_instance = create_with_insights


def read_back_the_role_of_groups() -> None:
    """The second plan sets aws_autoscaling_group.head.service_linked_role_arn again."""
    create = AutoScalingResponse.create_auto_scaling_group

    def create_with_role(self: AutoScalingResponse) -> ActionResult:
        result = create(self)
        if role := self._get_param("ServiceLinkedRoleARN"):
            group = self.autoscaling_backend.autoscaling_groups[self._get_param("AutoScalingGroupName")]
            group.service_linked_role_arn = role
        return result

    AutoScalingResponse.create_auto_scaling_group = create_with_role


def read_back_access_of_eks() -> None:
    """The second plan replaces aws_eks_cluster.this: its access_config is read back empty."""
    create = EKSResponse.create_cluster

    def create_with_access(self: EKSResponse) -> ActionResult:
        result = create(self)
        self.eks_backend.clusters[self._get_param("name")].access_config = self._get_param("accessConfig")
        return result

    EKSResponse.create_cluster = create_with_access


def read_back_updates_of_node_groups() -> None:
    """The second plan sets aws_eks_node_group.this.update_config again."""
    create = EKSResponse.create_nodegroup

    def create_with_updates(self: EKSResponse) -> ActionResult:
        result = create(self)
        cluster = self.eks_backend.clusters[self._get_param("name")]
        cluster.nodegroups[self._get_param("nodegroupName")].update_config = self._get_param("updateConfig")
        return result

    EKSResponse.create_nodegroup = create_with_updates


def invent_no_ssh_key() -> None:
    """The second plan replaces aws_eks_node_group.this: moto invents remote_access { ec2_ssh_key = "eksKeypair" }."""
    eks.DEFAULT_REMOTE_ACCESS = None


PATCHES = (
    give_replication_groups_their_members,
    let_replication_groups_go,
    let_cache_subnet_groups_go,
    read_back_descriptions_of_rules,
    allow_an_hour_of_deregistration,
    read_back_private_link_rules,
    read_back_performance_insights,
    read_back_the_role_of_groups,
    read_back_access_of_eks,
    read_back_updates_of_node_groups,
    invent_no_ssh_key,
)

if __name__ == "__main__":
    host, port = sys.argv[1], sys.argv[2]
    if not ipaddress.ip_address(host).is_loopback:
        sys.exit(f"moto on {host}: loopback only")
    for patch in PATCHES:
        patch()
    main(["-H", host, "-p", port])
