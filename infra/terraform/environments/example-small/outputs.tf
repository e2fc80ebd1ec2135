output "ray_cluster" {
  description = "The input from which `voxray render ray-ec2` builds the Ray autoscaler's configuration (docs/terraform.md)."
  value       = module.cluster_ec2.ray_cluster
}

output "rendered_files_uri" {
  description = "URI to which the rendered files are copied: `aws s3 cp --recursive FOLDER URI`."
  value       = module.cluster_ec2.rendered_files_uri
}

output "services" {
  description = "YAML with the addresses, buckets and names of secrets that the product's configuration needs."
  value = yamlencode({
    call_address     = module.ingress.address
    idle_timeout_s   = module.ingress.idle_timeout_s
    head_address     = module.cluster_ec2.head_address
    redis            = { address = module.data.redis_address, secret_arn = module.data.redis_secret_arn }
    postgres         = { address = module.data.postgres_address, secret_arn = module.data.postgres_secret_arn }
    buckets          = module.data.bucket_names
    images           = { for kind in local.kinds : kind => "${module.data.repository_urls[kind]}:${var.image_tag}" }
    ray_token_secret = module.security.ray_token_secret_arn
    milvus_volume    = module.data.milvus_volume
    environment      = module.cluster_ec2.environment
  })
}
