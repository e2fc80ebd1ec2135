################################################################################
# What the head may do: start machines from these templates in these subnets, and end its own. Nothing else.
################################################################################

data "aws_iam_policy_document" "head" {
  statement {
    sid       = "See"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeImages"]
    resources = ["*"] # these actions know no resource
  }

  statement {
    sid     = "StartFromTemplates"
    actions = ["ec2:RunInstances"]
    resources = concat(
      ["${local.arn_ec2}:network-interface/*", "${local.arn_ec2}:volume/*", "${local.arn_ec2}:instance/*", "${local.arn_ec2}:security-group/${var.node_security_group_id}"],
      [for id in var.node_subnet_ids : "${local.arn_ec2}:subnet/${id}"],
      [for id in distinct(values(var.machine_images)) : "arn:${local.partition}:ec2:${local.region}::image/${id}"],
      [for template in aws_launch_template.this : template.arn],
    )

    condition {
      test     = "ArnEquals"
      variable = "ec2:LaunchTemplate"
      values   = [for template in aws_launch_template.this : template.arn]
    }
  }

  statement {
    sid       = "TagWhatItStarts"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.arn_ec2}:instance/*", "${local.arn_ec2}:volume/*", "${local.arn_ec2}:network-interface/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["RunInstances"]
    }
  }

  statement {
    sid       = "TagAndEndItsOwn"
    actions   = ["ec2:CreateTags", "ec2:TerminateInstances"]
    resources = ["${local.arn_ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/ray-cluster-name"
      values   = [var.name]
    }
  }

  statement {
    sid       = "GiveWorkersTheirRoles"
    actions   = ["iam:PassRole"]
    resources = [for workload in distinct([for pool in var.pools : pool.workload]) : var.role_arns[workload]]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }

  statement {
    sid       = "EncryptDisks"
    actions   = ["kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = [var.key_arns["volumes"]]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${local.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "GrantDisks"
    actions   = ["kms:CreateGrant"]
    resources = [var.key_arns["volumes"]]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

resource "aws_iam_role_policy" "head" {
  name   = "start-machines"
  role   = var.role_names["head"]
  policy = data.aws_iam_policy_document.head.json
}

# Machines with gateways put themselves behind the load balancer; AWS takes them out when they end.
data "aws_iam_policy_document" "takes_calls" {
  statement {
    actions   = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
    resources = [var.calls_target_group_arn]
  }
}

resource "aws_iam_role_policy" "takes_calls" {
  for_each = toset([for pool in var.pools : pool.workload if pool.takes_calls])

  name   = "take-calls"
  role   = var.role_names[each.key]
  policy = data.aws_iam_policy_document.takes_calls.json
}
