# Redis, PostgreSQL, the disk of Milvus, and who may use them.

################################################################################
# Redis: session state, events, caches, and the state of Ray's head
################################################################################

resource "aws_elasticache_subnet_group" "redis" {
  name        = "${var.name}-redis"
  description = "Redis of ${var.name}"
  subnet_ids  = var.subnet_ids
  tags        = var.tags
}

resource "aws_security_group" "redis" {
  name        = "${var.name}-redis"
  description = "Redis"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-redis" })
}

resource "aws_vpc_security_group_ingress_rule" "redis" {
  for_each = var.client_security_group_ids

  security_group_id            = aws_security_group.redis.id
  description                  = "Redis for ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
  tags                         = var.tags
}

# ElastiCache takes its token by no write-only argument, so this first token is in the state (docs/terraform.md says how to
# rotate it, which Terraform then leaves alone).
data "aws_secretsmanager_random_password" "redis" {
  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "redis" {
  #checkov:skip=CKV2_AWS_57: rotation must restart the Ray head, so a person starts it (docs/terraform.md)
  name                    = "${var.name}/redis"
  description             = "AUTH token of Redis"
  kms_key_id              = var.key_arns["secrets"]
  recovery_window_in_days = var.secret_recovery_window_days
  tags                    = var.tags
}

resource "aws_secretsmanager_secret_version" "redis" {
  secret_id     = aws_secretsmanager_secret.redis.id
  secret_string = data.aws_secretsmanager_random_password.redis.random_password

  lifecycle {
    ignore_changes = [secret_string] # rotated outside of Terraform
  }
}

resource "aws_elasticache_replication_group" "redis" {
  #checkov:skip=CKV2_AWS_50: a variable; example-production has three nodes in three zones
  replication_group_id       = "${var.name}-redis"
  description                = "Calls, events, caches and Ray's cluster state"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = var.redis_node_type
  num_cache_clusters         = var.redis_nodes
  automatic_failover_enabled = var.redis_nodes > 1
  multi_az_enabled           = var.redis_nodes > 1
  port                       = 6379 # one shard: Ray's head cannot use cluster mode
  subnet_group_name          = aws_elasticache_subnet_group.redis.name
  security_group_ids         = [aws_security_group.redis.id]
  at_rest_encryption_enabled = true
  kms_key_id                 = var.key_arns["databases"]
  transit_encryption_enabled = true
  auth_token                 = data.aws_secretsmanager_random_password.redis.random_password
  snapshot_retention_limit   = var.redis_snapshot_days
  auto_minor_version_upgrade = true
  maintenance_window         = var.maintenance_window
  tags                       = merge(var.tags, { Name = "${var.name}-redis" })

  lifecycle {
    ignore_changes = [auth_token] # rotated outside of Terraform
  }
}

data "aws_iam_policy_document" "redis_use" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.redis.arn]
  }
}

resource "aws_iam_role_policy" "redis_use" {
  for_each = local.redis_workloads

  name   = "use-redis"
  role   = var.role_names[each.key]
  policy = data.aws_iam_policy_document.redis_use.json
}

################################################################################
# PostgreSQL: calls, turns, audit, agents, experiments
################################################################################

resource "aws_db_subnet_group" "postgres" {
  name        = "${var.name}-postgres"
  description = "PostgreSQL of ${var.name}"
  subnet_ids  = var.subnet_ids
  tags        = var.tags
}

resource "aws_security_group" "postgres" {
  name        = "${var.name}-postgres"
  description = "PostgreSQL"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-postgres" })
}

resource "aws_vpc_security_group_ingress_rule" "postgres" {
  for_each = var.client_security_group_ids

  security_group_id            = aws_security_group.postgres.id
  description                  = "PostgreSQL for ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  tags                         = var.tags
}

# rds.force_ssl is on by default from PostgreSQL 15, so there is no parameter group. Logs of statements are not exported:
# they would hold what callers said.
resource "aws_db_instance" "postgres" {
  #checkov:skip=CKV2_AWS_30: logged statements would hold what callers said
  #checkov:skip=CKV_AWS_129: the same: no log of statements leaves the database
  #checkov:skip=CKV_AWS_118: Performance Insights is on and shows what waits; per-second figures of the host are not worth a role more
  #checkov:skip=CKV_AWS_157: a variable; example-production sets it, a pilot does without
  #checkov:skip=CKV_AWS_293: a variable; on unless the environment is destroyable
  identifier                            = "${var.name}-postgres"
  engine                                = "postgres"
  engine_version                        = var.postgres_version
  instance_class                        = var.postgres_instance_class
  allocated_storage                     = var.postgres_storage_gib
  max_allocated_storage                 = var.postgres_storage_gib * 4
  storage_type                          = "gp3"
  storage_encrypted                     = true
  kms_key_id                            = var.key_arns["databases"]
  db_name                               = "voxray"
  username                              = "voxray"
  manage_master_user_password           = true # made, kept and rotated by RDS; Terraform never sees it
  master_user_secret_kms_key_id         = var.key_arns["secrets"]
  iam_database_authentication_enabled   = true
  db_subnet_group_name                  = aws_db_subnet_group.postgres.name
  vpc_security_group_ids                = [aws_security_group.postgres.id]
  publicly_accessible                   = false
  multi_az                              = var.postgres_multi_az
  backup_retention_period               = var.postgres_backup_days
  copy_tags_to_snapshot                 = true
  auto_minor_version_upgrade            = true
  maintenance_window                    = var.maintenance_window
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.key_arns["databases"]
  performance_insights_retention_period = 7
  deletion_protection                   = !var.destroyable
  skip_final_snapshot                   = var.destroyable
  final_snapshot_identifier             = var.destroyable ? null : "${var.name}-postgres-final"
  tags                                  = merge(var.tags, { Name = "${var.name}-postgres" })
}

data "aws_iam_policy_document" "postgres_use" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_db_instance.postgres.master_user_secret[0].secret_arn]
  }

  statement {
    actions   = ["kms:Decrypt"]
    resources = [var.key_arns["secrets"]]
  }
}

resource "aws_iam_role_policy" "postgres_use" {
  for_each = local.postgres_workloads

  name   = "use-postgres"
  role   = var.role_names[each.key]
  policy = data.aws_iam_policy_document.postgres_use.json
}

################################################################################
# Milvus: objects are in the bucket, this disk is for its metadata (etcd)
################################################################################

resource "aws_ebs_volume" "milvus" {
  availability_zone = var.availability_zones[0]
  size              = var.milvus_metadata_gib
  type              = "gp3"
  encrypted         = true
  kms_key_id        = var.key_arns["volumes"]
  tags              = merge(var.tags, { Name = "${var.name}-milvus", "voxray:use" = "milvus-metadata" })
}
