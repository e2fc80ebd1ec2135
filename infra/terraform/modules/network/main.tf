# A VPC without a way to or from the internet: no internet gateway, no NAT, no public address, no default route. The AWS
# services that the cluster calls are reached by endpoints inside the VPC.

data "aws_region" "this" {}
data "aws_partition" "this" {}

locals {
  zones     = { for index, zone in var.availability_zones : zone => index }
  region    = data.aws_region.this.name
  partition = data.aws_partition.this.partition

  # Machines get the large half: every Ray node, and on EKS every pod, has an address of its own.
  tiers = { nodes = { newbits = 3, first = 0 }, services = { newbits = 6, first = 32 } }
  subnets = merge([
    for tier, layout in local.tiers : {
      for zone, index in local.zones : "${tier}-${zone}" => {
        tier = tier
        zone = zone
        cidr = cidrsubnet(var.cidr, layout.newbits, layout.first + index)
      }
    }
  ]...)

  subnet_ids = {
    for tier, _ in local.tiers : tier => [for zone in var.availability_zones : aws_subnet.this["${tier}-${zone}"].id]
  }
}

################################################################################
# VPC and subnets
################################################################################

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # the endpoints' private names
  tags                 = merge(var.tags, { Name = var.name })
}

# Whatever is started without a security group can talk to nobody.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = "${var.name}-default-closed" })
}

resource "aws_subnet" "this" {
  for_each = local.subnets

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.value.zone
  cidr_block              = each.value.cidr
  map_public_ip_on_launch = false
  tags                    = merge(var.tags, { Name = "${var.name}-${each.key}" }, each.value.tier == "services" ? { "kubernetes.io/role/internal-elb" = "1" } : {})
}

# One table for all: no route but the VPC's own and those that the gateway endpoints add.
resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = "${var.name}-private" })
}

resource "aws_route_table_association" "this" {
  for_each = local.subnets

  subnet_id      = aws_subnet.this[each.key].id
  route_table_id = aws_route_table.this.id
}

################################################################################
# Endpoints
################################################################################

data "aws_iam_policy_document" "endpoint" {
  #checkov:skip=CKV_AWS_1: the policy of an endpoint narrows what IAM allows; it grants nothing, and is limited to our account
  #checkov:skip=CKV_AWS_49: the same
  #checkov:skip=CKV_AWS_283: the same: any principal, of our account only
  #checkov:skip=CKV_AWS_356: the same
  #checkov:skip=CKV_AWS_111: the same
  # By the endpoints nobody reaches another company's account with credentials brought from elsewhere.
  statement {
    sid       = "OwnAccountOnly"
    actions   = ["*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "s3_endpoint" {
  #checkov:skip=CKV_AWS_283: reading image layers of ECR, by signed addresses; grants nothing
  source_policy_documents = [data.aws_iam_policy_document.endpoint.json]

  # Image layers lie in a bucket of ECR's, and are fetched by signed addresses: the account in them is not ours.
  statement {
    sid       = "ImageLayers"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = toset(["s3", "dynamodb"])

  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  route_table_ids   = [aws_route_table.this.id]
  policy            = each.key == "s3" ? data.aws_iam_policy_document.s3_endpoint.json : data.aws_iam_policy_document.endpoint.json
  tags              = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.interface_services

  vpc_id              = aws_vpc.this.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  subnet_ids          = local.subnet_ids["services"]
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  policy              = contains(var.services_without_policy, each.key) ? null : data.aws_iam_policy_document.endpoint.json
  tags                = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "AWS services inside the VPC"
  vpc_id      = aws_vpc.this.id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from the VPC"
  cidr_ipv4         = aws_vpc.this.cidr_block
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

################################################################################
# The machines' security group
################################################################################

# Ray uses a dozen ports and picks worker ports itself, so nodes reach each other on all of them, by the token. Nothing
# else reaches them but what ingress and head load balancer let through.
resource "aws_security_group" "nodes" {
  #checkov:skip=CKV2_AWS_5: the launch templates of other modules attach it
  name        = "${var.name}-nodes"
  description = "Machines of the cluster"
  vpc_id      = aws_vpc.this.id
  tags        = merge(var.tags, { Name = "${var.name}-nodes" })
}

resource "aws_vpc_security_group_ingress_rule" "nodes_from_nodes" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "Ray: machines among themselves"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "-1"
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "nodes_to_vpc" {
  security_group_id = aws_security_group.nodes.id
  description       = "Inside the VPC only"
  cidr_ipv4         = aws_vpc.this.cidr_block
  ip_protocol       = "-1"
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "nodes_to_gateway_endpoints" {
  for_each = aws_vpc_endpoint.gateway

  security_group_id = aws_security_group.nodes.id
  description       = "HTTPS to ${each.key} by its gateway endpoint"
  prefix_list_id    = each.value.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

################################################################################
# Flow logs
################################################################################

resource "aws_cloudwatch_log_group" "flow" {
  name              = "/voxray/${var.name}/flow"
  retention_in_days = var.flow_log_retention_days
  kms_key_id        = var.logs_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "flow_assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "flow" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.flow.arn}:*"]
  }
}

resource "aws_iam_role" "flow" {
  name                 = "${var.name}-flow"
  description          = "Writes the flow logs of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.flow_assume.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "flow" {
  name   = "write"
  role   = aws_iam_role.flow.id
  policy = data.aws_iam_policy_document.flow.json
}

resource "aws_flow_log" "this" {
  vpc_id          = aws_vpc.this.id
  traffic_type    = "ALL"
  iam_role_arn    = aws_iam_role.flow.arn
  log_destination = aws_cloudwatch_log_group.flow.arn
  tags            = merge(var.tags, { Name = var.name })
}
