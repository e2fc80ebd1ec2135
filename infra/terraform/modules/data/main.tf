# What the cluster keeps: objects, shared state, records, images. Beside each store stands who may use it.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name

  # `days`: after which objects are deleted (0: never). `workloads`: who may do what; nobody else gets in.
  buckets = {
    models     = { key = "storage", days = 0, workloads = { head = "read", gateway = "read", nvidia = "read", neuron = "read", ingest = "read" } }
    artifacts  = { key = "storage", days = 0, workloads = { head = "read", gateway = "read", nvidia = "read", neuron = "read", ingest = "write" } }
    ingest     = { key = "storage", days = var.ingest_retention_days, workloads = { ingest = "write" } }
    milvus     = { key = "storage", days = 0, workloads = { milvus = "write" } }
    recordings = { key = "recordings", days = var.recording_retention_days + 1, workloads = { gateway = "add" } }
  }
  all_buckets  = concat(keys(local.buckets), ["logs"])
  bucket_names = { for bucket in local.all_buckets : bucket => "${var.name}-${bucket}-${local.account}-${local.region}" }

  actions = {
    read  = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]
    write = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    add   = ["s3:PutObject", "s3:AbortMultipartUpload"] # a recorder cannot read what it, or another, has recorded
  }
  key_actions = {
    read  = ["kms:Decrypt"]
    write = ["kms:Decrypt", "kms:GenerateDataKey"]
    add   = ["kms:Decrypt", "kms:GenerateDataKey"] # an upload in parts decrypts its own data key
  }
  grants = merge([
    for bucket, settings in local.buckets : {
      for workload, mode in settings.workloads : "${workload}-${bucket}" => { bucket = bucket, workload = workload, mode = mode, key = settings.key }
    }
  ]...)

  # Who uses Redis and PostgreSQL. `head` keeps Ray's cluster state in Redis.
  redis_workloads    = toset(["head", "gateway", "nvidia", "neuron", "ingest"])
  postgres_workloads = toset(["gateway", "ingest"])
}

################################################################################
# Buckets
################################################################################

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV2_AWS_62: nobody waits for events of these buckets
  #checkov:skip=CKV_AWS_144: recordings must not leave the region; the rest can be made again
  #checkov:skip=CKV_AWS_18: logged by aws_s3_bucket_logging.this, which checkov does not find through for_each; the logs bucket does not log itself
  for_each = local.bucket_names

  bucket              = each.value
  object_lock_enabled = each.key == "recordings"
  force_destroy       = var.destroyable && each.key != "recordings"
  tags                = merge(var.tags, { Name = each.value })
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      # S3's log delivery writes to the logs bucket, and cannot use a key of ours.
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : var.key_arns[local.buckets[each.key].key]
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket     = each.value.id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "leftovers"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
    noncurrent_version_expiration {
      noncurrent_days = each.key == "recordings" ? 1 : 30 # a locked version stays as long as its lock
    }
  }

  dynamic "rule" {
    for_each = try(local.buckets[each.key].days, var.log_retention_days) > 0 ? [try(local.buckets[each.key].days, var.log_retention_days)] : []

    content {
      id     = "age"
      status = "Enabled"
      filter {}
      expiration {
        days = rule.value
      }
    }
  }
}

resource "aws_s3_bucket_object_lock_configuration" "recordings" {
  bucket = aws_s3_bucket.this["recordings"].id
  rule {
    default_retention {
      mode = var.recording_lock_mode
      days = var.recording_retention_days
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.buckets

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/${each.key}/"
  depends_on    = [aws_s3_bucket_policy.this]
}

data "aws_iam_policy_document" "bucket" {
  for_each = aws_s3_bucket.this

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # Stolen credentials are worth nothing outside of the VPC. Objects only, so that Terraform runs from where it likes;
  # `object_principal_arns` are those who bring models and business data from outside.
  dynamic "statement" {
    for_each = each.key == "logs" ? [] : [1]

    content {
      sid       = "ObjectsInsideTheVpcOnly"
      effect    = "Deny"
      actions   = ["s3:GetObject*", "s3:PutObject*", "s3:DeleteObject*"]
      resources = ["${each.value.arn}/*"]

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }

      condition {
        test     = "StringNotEquals"
        variable = "aws:SourceVpce"
        values   = [var.s3_endpoint_id]
      }

      condition {
        test     = "ArnNotLike"
        variable = "aws:PrincipalArn"
        values   = each.key == "recordings" || length(var.object_principal_arns) == 0 ? ["arn:${local.partition}:iam::${local.account}:role/${var.name}-none"] : var.object_principal_arns
      }
    }
  }

  dynamic "statement" {
    for_each = each.key == "logs" ? [1] : []

    content {
      sid       = "LogDelivery"
      actions   = ["s3:PutObject"]
      resources = ["${each.value.arn}/*"]

      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  dynamic "statement" {
    for_each = each.key == "logs" ? [1] : []

    content {
      sid       = "LoadBalancerLogs"
      actions   = ["s3:PutObject"]
      resources = ["${each.value.arn}/calls/AWSLogs/${local.account}/*"]

      principals {
        type        = "Service"
        identifiers = ["delivery.logs.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  dynamic "statement" {
    for_each = each.key == "logs" ? [1] : []

    content {
      sid       = "LoadBalancerLogsAcl"
      actions   = ["s3:GetBucketAcl"]
      resources = [each.value.arn]

      principals {
        type        = "Service"
        identifiers = ["delivery.logs.amazonaws.com"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket     = each.value.id
  policy     = data.aws_iam_policy_document.bucket[each.key].json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

data "aws_iam_policy_document" "bucket_use" {
  for_each = local.grants

  statement {
    actions   = local.actions[each.value.mode]
    resources = [aws_s3_bucket.this[each.value.bucket].arn, "${aws_s3_bucket.this[each.value.bucket].arn}/*"]
  }

  statement {
    actions   = local.key_actions[each.value.mode]
    resources = [var.key_arns[each.value.key]]
  }
}

resource "aws_iam_role_policy" "bucket_use" {
  for_each = local.grants

  name   = "${each.value.mode}-${each.value.bucket}"
  role   = var.role_names[each.value.workload]
  policy = data.aws_iam_policy_document.bucket_use[each.key].json
}

################################################################################
# Images
################################################################################

resource "aws_ecr_repository" "this" {
  for_each = var.image_repositories

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.destroyable
  tags                 = var.tags

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.key_arns["storage"]
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the last thirty"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    }]
  })
}
