# Keys by class of data, one role per workload, and the secrets that no managed service makes by itself. What a role may do
# with a bucket or a database stands beside that bucket or database, in the module `data`.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name

  # Losing one key, or the right to use it, loses one class only.
  keys = {
    storage    = "models, compiled artifacts, business data and vectors in S3"
    recordings = "the vault of recorded calls"
    databases  = "Redis and PostgreSQL"
    secrets    = "Secrets Manager"
    volumes    = "disks of the machines"
    logs       = "CloudWatch logs, metrics and alarms"
  }

  workloads = {
    head    = "the Ray head: schedules, and starts and ends the other machines"
    gateway = "calls: sockets, recognition and speech on CPU"
    nvidia  = "engines on NVIDIA GPUs"
    neuron  = "engines on Inferentia"
    ingest  = "jobs that index business data, on spot machines"
    milvus  = "the vector store"
  }

  # AWS services that use a key on behalf of somebody. CloudWatch Logs and SNS name themselves; EBS and the databases come
  # with the caller's own rights (kms:ViaService), so they need no line.
  service_users = {
    logs = ["logs.${local.region}.amazonaws.com", "cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
  }
}

################################################################################
# Keys
################################################################################

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109: in the policy of a key, * is that key; without it nobody could administer it
  #checkov:skip=CKV_AWS_111: the same
  #checkov:skip=CKV_AWS_356: the same
  for_each = local.keys

  # In a key's policy the resource "*" is the key itself. Without this statement IAM policies cannot grant the key, and a
  # mistake in the policy could not be undone by anybody.
  statement {
    sid       = "AccountAdministers"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  dynamic "statement" {
    for_each = contains(keys(local.service_users), each.key) ? [local.service_users[each.key]] : []

    content {
      sid       = "ServicesUse"
      actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = statement.value
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  # CloudWatch Logs sends no aws:SourceAccount; it names the log group in the encryption context.
  dynamic "statement" {
    for_each = each.key == "logs" ? [1] : []

    content {
      sid       = "LogGroupsUse"
      actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = ["logs.${local.region}.amazonaws.com"]
      }

      condition {
        test     = "ArnLike"
        variable = "kms:EncryptionContext:aws:logs:arn"
        values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/voxray/${var.name}/*"]
      }
    }
  }

  # Groups of machines start them by their service-linked role, which has no rights on keys but by the key's policy.
  dynamic "statement" {
    for_each = each.key == "volumes" ? [1] : []

    content {
      sid       = "GroupsUse"
      actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = [aws_iam_service_linked_role.autoscaling.arn]
      }
    }
  }

  dynamic "statement" {
    for_each = each.key == "volumes" ? [1] : []

    content {
      sid       = "GroupsGrantToDisks"
      actions   = ["kms:CreateGrant"]
      resources = ["*"]

      principals {
        type        = "AWS"
        identifiers = [aws_iam_service_linked_role.autoscaling.arn]
      }

      condition {
        test     = "Bool"
        variable = "kms:GrantIsForAWSResource"
        values   = ["true"]
      }
    }
  }
}

resource "aws_kms_key" "this" {
  for_each = local.keys

  description             = "${var.name}: ${each.value}"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_window_days
  policy                  = data.aws_iam_policy_document.key[each.key].json
  tags                    = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_kms_alias" "this" {
  for_each = local.keys

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}

# With a suffix of its own, so that it neither clashes with the account's default role nor depends on it.
resource "aws_iam_service_linked_role" "autoscaling" {
  aws_service_name = "autoscaling.amazonaws.com"
  custom_suffix    = var.name
  description      = "Starts the machines of ${var.name}"
  tags             = var.tags
}

################################################################################
# Roles by workload
################################################################################

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }

  dynamic "statement" {
    for_each = var.kubernetes ? [1] : []

    content {
      actions = ["sts:AssumeRole", "sts:TagSession"]

      principals {
        type        = "Service"
        identifiers = ["pods.eks.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }
}

resource "aws_iam_role" "workload" {
  for_each = local.workloads

  name                 = "${var.name}-${each.key}"
  description          = "${var.name}: ${each.value}"
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_instance_profile" "workload" {
  for_each = local.workloads

  name = "${var.name}-${each.key}"
  role = aws_iam_role.workload[each.key].name
  tags = var.tags
}

# What every machine does: pull its image, write its log, join by the token, be reached by Session Manager (no SSH).
data "aws_iam_policy_document" "machine" {
  #checkov:skip=CKV_AWS_111: metrics are limited by namespace; Session Manager's actions know no resource
  #checkov:skip=CKV_AWS_356: the same, and the registry login
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid       = "ImagePull"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${local.partition}:ecr:${local.region}:${local.account}:repository/${var.name}/*"]
  }

  statement {
    sid       = "LogWrite"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/voxray/${var.name}/*"]
  }

  statement {
    sid       = "TokenRead"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.ray_token.arn]
  }

  statement {
    sid       = "TokenDecrypt"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this["secrets"].arn]
  }

  # Session Manager; these actions of the agent know no resource.
  statement {
    sid = "Sessions"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "MetricsWrite"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"] # limited by namespace instead

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["Voxray/${var.name}"]
    }
  }
}

resource "aws_iam_role_policy" "machine" {
  for_each = local.workloads

  name   = "machine"
  role   = aws_iam_role.workload[each.key].id
  policy = data.aws_iam_policy_document.machine.json
}

################################################################################
# Secrets
################################################################################

# Ephemeral and write-only: the token is in Secrets Manager and nowhere else, not in the state, not in a plan.
ephemeral "aws_secretsmanager_random_password" "ray_token" {
  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "ray_token" {
  #checkov:skip=CKV2_AWS_57: a new token needs every machine started anew, so a person starts it (ray_token_version)
  name                    = "${var.name}/ray-token"
  description             = "Whoever holds it may run code on the Ray cluster"
  kms_key_id              = aws_kms_key.this["secrets"].arn
  recovery_window_in_days = var.secret_recovery_window_days
  tags                    = var.tags
}

resource "aws_secretsmanager_secret_version" "ray_token" {
  secret_id                = aws_secretsmanager_secret.ray_token.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.ray_token.random_password
  secret_string_wo_version = var.ray_token_version
}
