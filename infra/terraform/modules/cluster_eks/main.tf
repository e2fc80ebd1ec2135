# The same pools for companies on Kubernetes. The API server has a private address only. What runs in the cluster (KubeRay,
# device plugins, autoscaler, Voxray itself) is rendered as manifests beside this and applied from inside the VPC.

data "aws_partition" "this" {}

locals {
  partition = data.aws_partition.this.partition
  policies  = "arn:${local.partition}:iam::aws:policy"

  ami_types = { cpu = "AL2023_x86_64_STANDARD", nvidia = "AL2023_x86_64_NVIDIA", neuron = "AL2023_x86_64_NEURON" }
  taints = {
    cpu    = {}
    nvidia = { "nvidia.com/gpu" = "true" }
    neuron = { "aws.amazon.com/neuron" = "true" }
  }

  # Operators, DNS, the Ray head.
  system = {
    kind = "cpu", instance_type = var.system.instance_type, min = var.system.nodes, max = var.system.nodes + 1, disk_gib = 100, spot = false
  }
  groups = merge({ system = local.system }, var.pools)

  cluster_policies = toset(["AmazonEKSClusterPolicy"])
  node_policies    = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly"])
  addons           = toset(["vpc-cni", "kube-proxy", "coredns", "eks-pod-identity-agent"])
}

################################################################################
# Roles
################################################################################

data "aws_iam_policy_document" "assume" {
  for_each = { cluster = "eks.amazonaws.com", node = "ec2.amazonaws.com" }

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [each.value]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name                 = "${var.name}-eks"
  description          = "Control plane of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.assume["cluster"].json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy_attachment" "cluster" {
  for_each = local.cluster_policies

  role       = aws_iam_role.cluster.name
  policy_arn = "${local.policies}/${each.key}"
}

# Nodes have the rights of nodes only; pods get their workload's role by Pod Identity.
resource "aws_iam_role" "node" {
  name                 = "${var.name}-eks-node"
  description          = "Nodes of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.assume["node"].json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = local.node_policies

  role       = aws_iam_role.node.name
  policy_arn = "${local.policies}/${each.key}"
}

# Starts and ends nodes by the size that it gives to the node groups.
data "aws_iam_policy_document" "pods" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "scaler" {
  statement {
    sid = "See"
    actions = [
      "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags", "ec2:DescribeImages", "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements",
    ]
    resources = ["*"] # these actions know no resource
  }

  statement {
    sid       = "SeeNodeGroups"
    actions   = ["eks:DescribeNodegroup"]
    resources = [for group in aws_eks_node_group.this : group.arn]
  }

  statement {
    sid       = "Scale"
    actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = ["*"] # EKS names its groups itself; the tag says which are this cluster's

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/eks:cluster-name"
      values   = [var.name]
    }
  }
}

resource "aws_iam_role" "scaler" {
  name                 = "${var.name}-eks-scaler"
  description          = "Cluster autoscaler of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.pods.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "scaler" {
  name   = "scale"
  role   = aws_iam_role.scaler.id
  policy = data.aws_iam_policy_document.scaler.json
}

resource "aws_eks_pod_identity_association" "scaler" {
  cluster_name    = aws_eks_cluster.this.name
  namespace       = "kube-system"
  service_account = "cluster-autoscaler"
  role_arn        = aws_iam_role.scaler.arn
  tags            = var.tags
}

################################################################################
# Control plane
################################################################################

resource "aws_security_group" "api" {
  name        = "${var.name}-eks-api"
  description = "Kubernetes API"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-eks-api" })
}

resource "aws_vpc_security_group_ingress_rule" "api_from_nodes" {
  security_group_id            = aws_security_group.api.id
  description                  = "Kubernetes API for nodes"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "api_from_operators" {
  for_each = var.operator_cidrs

  security_group_id = aws_security_group.api.id
  description       = "kubectl"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "api_to_nodes" {
  security_group_id            = aws_security_group.api.id
  description                  = "Kubelets, webhooks"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "-1"
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "nodes_from_api" {
  security_group_id            = var.node_security_group_id
  description                  = "The control plane"
  referenced_security_group_id = aws_security_group.api.id
  ip_protocol                  = "-1"
  tags                         = var.tags
}

resource "aws_cloudwatch_log_group" "control_plane" {
  name              = "/aws/eks/${var.name}/cluster" # EKS fixes the name
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arns["logs"]
  tags              = var.tags
}

resource "aws_eks_cluster" "this" {
  name                          = var.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false
  tags                          = var.tags

  vpc_config {
    subnet_ids              = var.node_subnet_ids
    security_group_ids      = [aws_security_group.api.id]
    endpoint_private_access = true
    endpoint_public_access  = false
  }

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false # whoever runs Terraform is no administrator of the cluster
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = var.key_arns["secrets"]
    }
  }

  depends_on = [aws_cloudwatch_log_group.control_plane, aws_iam_role_policy_attachment.cluster]
}

resource "aws_eks_access_entry" "admin" {
  for_each = var.admin_role_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
  tags          = var.tags
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = var.admin_role_arns

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.admin[each.value].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

resource "aws_eks_addon" "this" {
  for_each = local.addons

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  resolve_conflicts_on_update = "OVERWRITE"
  tags                        = var.tags
}

resource "aws_eks_pod_identity_association" "workload" {
  for_each = var.workload_role_arns

  cluster_name    = aws_eks_cluster.this.name
  namespace       = var.namespace
  service_account = "voxray-${each.key}"
  role_arn        = each.value
  tags            = var.tags
}

################################################################################
# Nodes
################################################################################

resource "aws_launch_template" "node" {
  for_each = local.groups

  name                   = "${var.name}-eks-${each.key}"
  description            = "EKS ${each.key}"
  vpc_security_group_ids = [var.node_security_group_id]
  update_default_version = true

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # pods do not reach the node's own credentials
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = each.value.disk_gib
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = var.key_arns["volumes"]
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])

    content {
      resource_type = tag_specifications.value
      tags          = merge(var.tags, { Name = "${var.name}-eks-${each.key}", "voxray:pool" = each.key })
    }
  }
}

resource "aws_eks_node_group" "this" {
  for_each = local.groups

  cluster_name    = aws_eks_cluster.this.name
  node_group_name = each.key
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = var.node_subnet_ids
  ami_type        = local.ami_types[each.value.kind]
  capacity_type   = each.value.spot ? "SPOT" : "ON_DEMAND"
  instance_types  = [each.value.instance_type]
  labels          = { "voxray-pool" = each.key, "voxray-kind" = each.value.kind }
  tags            = merge(var.tags, { "voxray:pool" = each.key })

  launch_template {
    id      = aws_launch_template.node[each.key].id
    version = aws_launch_template.node[each.key].latest_version
  }

  scaling_config {
    min_size     = each.value.min
    max_size     = each.value.max
    desired_size = each.value.min
  }

  update_config {
    max_unavailable = 1
  }

  dynamic "taint" {
    for_each = local.taints[each.value.kind]

    content {
      key    = taint.key
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the cluster's autoscaler decides
  }

  depends_on = [aws_iam_role_policy_attachment.node]
}

# Nodes of pools that take calls stand behind the ingress, by a NodePort.
resource "aws_autoscaling_attachment" "calls" {
  #checkov:skip=CKV2_AWS_15: the group is EKS's own; it has the health checks of the kubelet
  for_each = toset([for name, pool in var.pools : name if pool.takes_calls])

  autoscaling_group_name = aws_eks_node_group.this[each.key].resources[0].autoscaling_groups[0].name
  lb_target_group_arn    = var.calls_target_group_arn
}
