output "bucket_names" {
  description = "Name of each bucket: models, artifacts, ingest, milvus, recordings, logs."
  value       = { for bucket, resource in aws_s3_bucket.this : bucket => resource.bucket }
}

output "bucket_arns" {
  description = "ARN of each bucket."
  value       = { for bucket, resource in aws_s3_bucket.this : bucket => resource.arn }
}

output "redis_address" {
  description = "Host and port of Redis, which accepts only TLS."
  value       = "${aws_elasticache_replication_group.redis.primary_endpoint_address}:6379"
}

output "redis_secret_arn" {
  description = "Secret that holds the AUTH token of Redis."
  value       = aws_secretsmanager_secret.redis.arn
}

output "redis_id" {
  description = "Replication group of Redis, for alarms."
  value       = aws_elasticache_replication_group.redis.replication_group_id
}

output "postgres_address" {
  description = "Host and port of PostgreSQL, which accepts only TLS."
  value       = "${aws_db_instance.postgres.address}:5432"
}

output "postgres_secret_arn" {
  description = "Secret created by RDS with user and password of PostgreSQL."
  value       = aws_db_instance.postgres.master_user_secret[0].secret_arn
}

output "postgres_id" {
  description = "PostgreSQL instance, for alarms."
  value       = aws_db_instance.postgres.identifier
}

output "repository_urls" {
  description = "Address of each image repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "milvus_volume" {
  description = "Disk of Milvus's metadata, and its zone."
  value       = { id = aws_ebs_volume.milvus.id, availability_zone = aws_ebs_volume.milvus.availability_zone }
}
