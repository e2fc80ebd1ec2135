mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_secretsmanager_random_password" {
    defaults = { random_password = "0123456789abcdef0123456789abcdef" }
  }
}

variables {
  name = "voxray-test"
  key_arns = {
    storage   = "arn:aws:kms:eu-central-1:123456789012:key/s", recordings = "arn:aws:kms:eu-central-1:123456789012:key/r"
    databases = "arn:aws:kms:eu-central-1:123456789012:key/d", secrets = "arn:aws:kms:eu-central-1:123456789012:key/x"
    volumes   = "arn:aws:kms:eu-central-1:123456789012:key/v", logs = "arn:aws:kms:eu-central-1:123456789012:key/l"
  }
  role_names                = { head = "h", gateway = "g", nvidia = "n", neuron = "e", ingest = "i", milvus = "m" }
  vpc_id                    = "vpc-1"
  subnet_ids                = ["subnet-1", "subnet-2"]
  availability_zones        = ["eu-central-1a", "eu-central-1b"]
  client_security_group_ids = { nodes = "sg-1" }
  s3_endpoint_id            = "vpce-1"
}

run "rights_on_buckets_are_the_least" {
  command = plan

  module {
    source = "./modules/data"
  }

  assert {
    condition     = [for key, grant in aws_iam_role_policy.bucket_use : key if endswith(key, "-recordings")] == ["gateway-recordings"] && aws_iam_role_policy.bucket_use["gateway-recordings"].name == "add-recordings"
    error_message = "Only the gateway touches recordings, and only to add."
  }

  assert {
    condition     = [for key, grant in aws_iam_role_policy.bucket_use : key if endswith(key, "-milvus")] == ["milvus-milvus"]
    error_message = "Only Milvus touches its bucket."
  }
}

run "nothing_is_deletable_by_default" {
  command = plan

  module {
    source = "./modules/data"
  }

  assert {
    condition     = aws_db_instance.postgres.deletion_protection && !aws_db_instance.postgres.skip_final_snapshot && aws_db_instance.postgres.final_snapshot_identifier == "voxray-test-postgres-final"
    error_message = "PostgreSQL could be lost."
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : !bucket.force_destroy]) && alltrue([for repository in aws_ecr_repository.this : !repository.force_delete])
    error_message = "A full bucket or repository could be lost."
  }
}

run "recordings_are_never_deletable" {
  command = plan

  module {
    source = "./modules/data"
  }

  variables {
    destroyable = true
  }

  assert {
    condition     = !aws_s3_bucket.this["recordings"].force_destroy && aws_s3_bucket.this["models"].force_destroy
    error_message = "Destroying a pilot would delete its recordings."
  }
}

run "several_redis_nodes_fail_over" {
  command = plan

  module {
    source = "./modules/data"
  }

  variables {
    redis_nodes = 2
  }

  assert {
    condition     = aws_elasticache_replication_group.redis.automatic_failover_enabled && aws_elasticache_replication_group.redis.multi_az_enabled
    error_message = "Two nodes that do not fail over are one."
  }
}

run "a_database_without_forced_tls_is_refused" {
  command = plan

  module {
    source = "./modules/data"
  }

  variables {
    postgres_version = "14.9"
  }

  expect_failures = [var.postgres_version]
}

run "unnamed_principals_are_refused" {
  command = plan

  module {
    source = "./modules/data"
  }

  variables {
    object_principal_arns = ["*"]
  }

  expect_failures = [var.object_principal_arns]
}
